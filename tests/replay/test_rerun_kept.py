"""What real agents do in a rerun, kept as a run: sync, async, parallel, with agents below."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guarding import approve, enforcing
from saferun import Diverged, Gate, guard, rerun
from saferun.replay import Difference, Playback, difference
from saferun.store import Reader
from saferun.store.index import Index


@pytest.fixture
def gate() -> Gate:
    return Gate()


def flushed(gate: Gate, run_id: str) -> str:
    gate.store.flush()
    return run_id


@contextlib.contextmanager
def played(path: Path, run_id: str) -> Iterator[Playback]:
    with Reader(path) as reader, Index(reader) as index:
        index.build()
        yield Playback(index, run_id, opens=True)


def compared(gate: Gate, run_id: str, folder: Path) -> Difference:
    with played(gate.store.path, run_id) as one, played(folder / "rerun.db", run_id) as other:
        return difference(one.outline, other.outline)


def test_what_goes_as_it_went_is_kept_whole(gate, tmp_path):
    @guard(gate=gate)
    def look(order: str) -> Any:
        return {"order": order}

    def main() -> str:
        with gate.run() as run:
            run.model("I look.")
            for number in range(3):
                look(f"A-{number}")
            return run.run_id

    run_id = main()
    with rerun(flushed(gate, run_id), keep=tmp_path / "kept"):
        main()
    found = compared(gate, run_id, tmp_path / "kept")
    assert (found.first, found.counts["same"]) == (None, 4)


async def test_parallel_tools_that_come_in_another_order_are_no_difference(gate, tmp_path):
    @guard(gate=gate)
    async def look(order: int) -> int:
        return order

    async def main(order: list[int]) -> str:
        done = [asyncio.Event() for _ in range(len(order) + 1)]
        done[0].set()

        async def one(place: int, number: int) -> None:
            await done[place].wait()
            await look(number)
            done[place + 1].set()

        async with gate.run() as run:
            run.model("All of them.")
            await asyncio.gather(*(one(place, number) for place, number in enumerate(order)))
            run.model("Done.")
            return run.run_id

    run_id = await main([0, 1, 2])
    async with rerun(flushed(gate, run_id), keep=tmp_path):
        await main([2, 0, 1])
    found = compared(gate, run_id, tmp_path)
    assert (found.first, found.counts["same"]) == (None, 5)


async def test_of_agents_below_each_is_kept_up_to_where_it_was_stopped(gate, tmp_path):
    @guard(gate=gate)
    async def look(order: str) -> str:
        return order

    async def below(order: str) -> str:
        async with gate.run(agent="helper", prompt=order) as run:
            await look(order)
            await look(f"{order}{now}")
            return run.run_id

    async def main() -> tuple[str, str, str]:
        async with gate.run(agent="top") as run:
            run.model("Both of them.")
            return run.run_id, await below("a"), await below("b")

    now = "-1"
    top, first, second = await main()
    now = "-2"
    with pytest.raises(Diverged):
        async with rerun(flushed(gate, top), keep=tmp_path):
            await main()
    assert compared(gate, first, tmp_path).pairs[1].differs == ("args",)
    with Reader(tmp_path / "rerun.db") as reader, Index(reader) as index:
        index.build()
        assert index.has("run", top)
        assert not index.has("run", second)


def test_a_call_that_people_were_asked_about_is_kept_with_their_answer(tmp_path):
    gate = enforcing("version: 1\nname: a\ndefault: ask\n", approve)

    @guard(gate=gate)
    def look(order: str) -> str:
        return order

    def main(more: str = "") -> str:
        with gate.run() as run:
            look("A-17")
            look(f"B{more}")
            return run.run_id

    run_id = main()
    with pytest.raises(Diverged), rerun(flushed(gate, run_id), keep=tmp_path):
        main("2")
    found = compared(gate, run_id, tmp_path)
    assert [pair.differs for pair in found.pairs] == [(), ("args",)]
    with played(tmp_path / "rerun.db", run_id) as kept:
        assert kept.outline.row(1).asked
        assert kept.frame(2).frame.decision is None


def test_another_error_at_the_end_is_where_the_two_part(gate, tmp_path):
    @guard(gate=gate)
    def look(order: str) -> str:
        return order

    def main(problem: type[Exception] | None) -> str:
        run = gate.run()
        with contextlib.suppress(ValueError, KeyError), run:
            look("A-17")
            if problem is not None:
                raise problem("no such order")
        return run.run_id

    run_id = main(ValueError)
    for now, name in ((KeyError, "KeyError"), (None, None)):
        with pytest.raises(Diverged), rerun(flushed(gate, run_id), keep=tmp_path):
            main(now)
        found = compared(gate, run_id, tmp_path)
        assert (found.first, found.ends, found.part) == (None, ("ValueError", name), True)
    with rerun(run_id, keep=tmp_path):
        main(ValueError)
    assert not compared(gate, run_id, tmp_path).part


def test_what_was_sealed_is_kept_in_no_other_form(tmp_path):
    gate = enforcing(
        "version: 1\nname: a\ntools:\n  look: {effect: read, args: any, sensitive: [args.email]}\n"
    )

    @guard(gate=gate)
    def look(email: str, page: int) -> str:
        return "found"

    def main(email: str) -> str:
        with gate.run() as run:
            look(email, 1)
            return run.run_id

    run_id = main("maria@example.com")
    with pytest.raises(Diverged), rerun(flushed(gate, run_id), keep=tmp_path / "kept"):
        main("mallory@example.com")
    data = b"".join(each.read_bytes() for each in (tmp_path / "kept").iterdir())
    assert b"mallory@example.com" not in data
    assert b"maria@example.com" not in data
    assert b"[sealed]" in data


def test_a_step_that_is_too_long_is_kept_as_one_that_is_too_long(gate, tmp_path):
    @guard(gate=gate)
    def look(text: str) -> int:
        return len(text)

    def main(text: str) -> str:
        with gate.run() as run:
            look(text)
            return run.run_id

    run_id = main("short")
    with pytest.raises(Diverged), rerun(flushed(gate, run_id), keep=tmp_path):
        main("x" * 200_000)
    assert compared(gate, run_id, tmp_path).pairs[0].differs == ("args",)


def test_where_nothing_can_be_kept_nothing_is_made(gate, tmp_path):
    called = []

    @guard(gate=gate)
    def look() -> None:
        called.append(1)

    with gate.run() as run:
        look()
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(Exception, match="Nothing can be kept in"),
        rerun(flushed(gate, run.run_id), keep=tmp_path / "file"),
    ):
        look()
    assert called == [1]


def test_the_one_before_goes_and_nothing_that_only_begins_with_its_name(gate, tmp_path):
    with gate.run(run_id="r-1") as run:
        run.model("hello")
    gate.store.flush()
    for _ in range(2):
        with rerun("r-1", keep=tmp_path / "kept"), gate.run(run_id="r-1") as run:
            run.model("hello")
        compared(gate, "r-1", tmp_path / "kept")
        (tmp_path / "kept" / "rerun.db.notes").write_text("mine", encoding="utf-8")
    with rerun("r-1", keep=tmp_path / "kept"), gate.run(run_id="r-1") as run:
        run.model("hello")
    names = {each.name for each in (tmp_path / "kept").iterdir()}
    assert names == {"rerun.db", "rerun.db.notes"}


def test_what_a_tool_did_by_itself_is_kept_with_it(gate, tmp_path):
    @guard(gate=gate)
    def look(order: str) -> str:
        return order

    @guard(gate=gate)
    def delegate(order: str) -> str:
        with gate.run(agent="worker", run_id="r-worker"):
            look(order)
        return look(order)

    def main() -> str:
        with gate.run() as run:
            delegate("A-1")
            run.model("Done.")
            return run.run_id

    run_id = main()
    with rerun(flushed(gate, run_id), keep=tmp_path):
        main()
    assert compared(gate, run_id, tmp_path).counts["same"] == 3
    assert compared(gate, "r-worker", tmp_path).counts["same"] == 1
