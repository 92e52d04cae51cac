"""`again.make(code)`: all of a run in one call, and what was decided in it."""

import pytest

from guarding import approve, enforcing
from saferun import Denied, Diverged, Gate, guard, rerun

POLICY = """
version: 1
name: a
tools:
  look: {effect: read, args: any}
  refund: {effect: write, args: any, rules: [{id: who, ask: true, when: args.amount > 5}]}
"""


@pytest.fixture
def gate() -> Gate:
    return enforcing(POLICY, approve)


def test_what_the_code_returns_is_given_and_decisions_are_told_by_their_frames(gate):
    @guard(gate=gate)
    def look(order):
        return order

    @guard(gate=gate)
    def refund(amount):
        return amount

    @guard(gate=gate)
    def erase():
        return None

    def main():
        with gate.run(run_id="r-1") as run:
            run.model("I look.")
            look("A-17")
            with pytest.raises(Denied):
                erase()
            return refund(9)

    main()
    gate.store.flush()
    with rerun("r-1") as again:
        assert again.make(main) == 9
    assert again.decisions == {
        "r-1#2": "look: allow",
        "r-1#3": "erase: deny",
        "r-1#4": "refund: allow, asked",
    }


async def recorded(gate):
    @guard(gate=gate)
    async def look(order):
        return order

    async def main():
        async with gate.run(run_id="r-1"):
            return [await look("a"), await look("b")]

    return await main()


def test_a_coroutine_function_is_awaited(gate):
    import asyncio

    asyncio.run(recorded(gate))
    gate.store.flush()
    with rerun("r-1") as again:
        assert again.make(lambda: recorded(gate)) == ["a", "b"]


def test_what_is_left_undone_is_told_there_and_not_once_more_at_the_end(gate):
    @guard(gate=gate)
    def look(order):
        return order

    def main(orders):
        with gate.run(run_id="r-1"):
            for order in orders:
                look(order)

    main("ab")
    gate.store.flush()
    told = []
    with rerun("r-1") as again:
        try:
            again.make(lambda: main("a"))
        except Diverged as stop:
            told.append(stop.frame)
    assert told == [2]


def test_an_error_that_ended_the_run_then_ends_it_again_and_no_other_is_hidden(gate):
    @guard(gate=gate)
    def look(order):
        raise ConnectionError(order)

    def main():
        with gate.run(run_id="r-1"):
            look("a")

    with pytest.raises(ConnectionError):
        main()
    gate.store.flush()
    with rerun("r-1") as again:
        assert again.make(main) is None
    with pytest.raises(ZeroDivisionError), rerun("r-1") as again:
        again.make(lambda: 1 / 0)
