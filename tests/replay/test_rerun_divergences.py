"""Code that was changed since it was recorded: each change is named at the frame where it shows."""

from collections.abc import Callable
from typing import Any

import pytest

from saferun import Denied, Diverged, Gate, guard, rerun
from saferun.policy import loads

POLICY = """
version: 1
name: shop
default: allow
tools:
  refund:
    effect: write
    args:
      order: {type: string, maxLength: 100}
      amount: {type: integer}
    rules:
      - id: large
        deny: true
        args: {amount: {minimum: 1000}}
        message: No refund above 1000.
"""


def agent(
    gate: Gate,
    *,
    prompt: str = "Refund A-17.",
    user: str = "maria",
    name: str = "support",
    tool: str = "lookup",
    order: str = "A-17",
    amount: int = 10,
    large: int = 5_000,
    model: str = "small",
    says: str = "I will refund it.",
    given: str = "Where is A-17?",
    told: str = "Thank you.",
    between: Callable[[], Any] = lambda: None,
    swapped: bool = False,
    looks: bool = True,
    refunds: bool = True,
    asks_again: bool = True,
    helper: str = "helper",
    helps: int = 1,
    note: str = "late",
    fails: bool = False,
    extra: bool = False,
) -> str:
    """Frames: 1 model, 2 lookup, 3 mail, 4 refund denied, 5 user, 6 model, 7 refund, 8 broken."""

    def mail(text: str) -> str:
        return "sent"

    def refund(order: str, amount: int) -> str:
        return "refunded"

    def broken() -> None:
        raise ValueError("out of order")

    def noted(text: str) -> None:
        return None

    ways = {each.__name__: guard(each, gate=gate) for each in (mail, refund, broken, noted)}
    lookup = guard(lambda order: {"order": order}, gate=gate, name=tool)
    with gate.run(agent=name, prompt=prompt, user=user) as run:
        messages = [{"role": "user", "content": given}]
        run.model(says, model=model, messages=messages)
        first = [lambda: lookup(order), lambda: ways["mail"]("It is late.")]
        if not looks:
            first = first[1:]
        for each in reversed(first) if swapped else first:
            each()
        between()
        with pytest.raises(Denied):
            ways["refund"](order, large)
        run.user(told)
        messages += [{"role": "assistant", "content": says}]
        if asks_again:
            run.model("Less, then.", model=model, messages=messages)
        if refunds:
            ways["refund"](order, amount)
        with pytest.raises(ValueError, match="out of order"):
            ways["broken"]()
        for _ in range(helps):
            with gate.run(agent=helper):
                ways["noted"](note)
        if extra:
            ways["mail"]("Done.")
        if fails:
            raise RuntimeError("the code has changed")
    return run.run_id


@pytest.fixture
def gate() -> Gate:
    return Gate(policy=loads(POLICY))


@pytest.fixture
def recorded(gate: Gate) -> str:
    run_id = agent(gate)
    gate.store.flush()
    return run_id


def test_code_that_was_not_changed_does_not_diverge(gate, recorded):
    with rerun(recorded) as again:
        assert agent(gate) == recorded
    assert again.frames == 9
    assert again.stopped is None


CHANGES = {
    "another prompt": ({"prompt": "Refund A-18."}, 1),
    "another user": ({"user": "eve"}, 1),
    "another agent": ({"name": "sales"}, 1),
    "another model text": ({"says": "I will not."}, 1),
    "another model": ({"model": "large"}, 1),
    "other messages to the model": ({"given": "Where is A-18?"}, 1),
    "another argument": ({"order": "A-18"}, 2),
    "a renamed tool": ({"tool": "find"}, 2),
    "a call less": ({"looks": False}, 2),
    "calls in another order": ({"swapped": True}, 2),
    "another argument of a denied call": ({"large": 6_000}, 4),
    "other words of the user": ({"told": "No."}, 5),
    "a turn less": ({"asks_again": False}, 6),
    "another amount": ({"amount": 11}, 7),
    "a number of another type": ({"amount": 10.0}, 7),
    "a write less": ({"refunds": False}, 7),
    "another agent below": ({"helper": "clerk"}, 1),
    "another argument below": ({"note": "early"}, 1),
    "a run below less": ({"helps": 0}, 1),
    "a run below more": ({"helps": 2}, 9),
    "a call more at the end": ({"extra": True}, 9),
    "an error at the end": ({"fails": True}, 9),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_code_is_named_at_the_frame_where_it_shows(gate, recorded, change):
    options, frame = CHANGES[change]
    below = "below" in change and "more" not in change
    with pytest.raises(Diverged) as caught, rerun(recorded):
        agent(gate, **options)
    assert caught.value.frame == frame
    assert (caught.value.run == recorded) is not below
    assert "parts from the record" in str(caught.value)


def test_a_call_more_in_the_middle_is_named_where_the_record_has_something_else(gate, recorded):
    mail = guard(lambda text: "sent", gate=gate, name="mail")
    with pytest.raises(Diverged) as caught, rerun(recorded):
        agent(gate, between=lambda: mail("It is late."))
    assert caught.value.frame == 4
    assert caught.value.recorded["tool"] == "refund"
    assert caught.value.now == {"kind": "call", "tool": "mail", "args": {"text": "It is late."}}


def test_the_difference_can_be_read(gate, recorded):
    with pytest.raises(Diverged) as caught, rerun(recorded):
        agent(gate, amount=11)
    assert str(caught.value).splitlines()[1:] == [
        '  recorded  refund(amount=10, order="A-17")',
        '  now       refund(amount=11, order="A-17")',
        "  args.amount  10 → 11",
    ]


def test_an_agent_that_swallows_everything_is_stopped_all_the_same(gate, recorded):
    refund = guard(lambda order, amount: "refunded", gate=gate, name="refund")
    met = []

    def swallows() -> None:
        with rerun(recorded), gate.run(agent="support", prompt="Refund A-17.", user="maria"):
            for amount in (1, 2):
                try:
                    refund("A-17", amount)
                except Exception:
                    met.append("an exception")
                except BaseException as stop:
                    met.append(stop)

    with pytest.raises(Diverged) as caught:
        swallows()
    assert met == [caught.value, caught.value]


def test_a_run_within_that_fails_by_now_is_named_there_and_not_by_what_follows(gate):
    @guard(gate=gate)
    def tell(what: str) -> None: ...

    def main(*, fails: bool) -> None:
        with gate.run(run_id="r-1"):
            try:
                with gate.run(run_id="r-2", agent="helper"):
                    tell("begins")
                    if fails:
                        raise LookupError
                    tell("goes on")
            except LookupError:
                tell("failed")
            tell("ends")

    main(fails=False)
    gate.store.flush()
    with pytest.raises(Diverged) as found, rerun("r-1"):
        main(fails=True)
    assert (found.value.run, found.value.frame) == ("r-2", 2)
    assert found.value.recorded["args"] == {"what": "goes on"}
    assert found.value.now == {"kind": "ends", "error": "LookupError"}
