"""A call that was left in one process and resumed in another: which steps each program owes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recording import played
from saferun import ApprovalPending, Diverged, Rejected, rerun, resume
from saferun.cli.run.as_test import text_of
from saferun.replay import difference

SHOP = '''
import sys

import saferun
from guarding import enforcing
from saferun import ApprovalPending, Rejected, guard
from saferun.approval import Vote

POLICY = """
version: 1
name: shop
tools:
  look: {effect: read, args: {order: {type: string}}}
  tell: {effect: read, args: {text: {type: string}}}
  refund:
    effect: write
    args: {order: {type: string}}
    rules: [{id: people, ask: [finance]}]
"""

approved = sys.argv[1:2] != ["no"]
gate = enforcing(POLICY, lambda _: Vote(approved=approved, by="dana", reason="too much"))


@guard(gate=gate)
def look(order):
    return "paid"


@guard(gate=gate)
def tell(text):
    return "told"


@guard(gate=gate, on_ask="suspend")
def refund(order):
    return "refunded"


def begun(prompt=None):
    return gate.run(run_id="t", agent="support", user="maria", prompt=prompt)


def first():
    with begun("Refund A-17.") as run:
        look("A-17")
        run.model("I refund it.")
        refund("A-17")


def second(request):
    with begun() as run:
        try:
            text = saferun.resume(request, refund)
        except Rejected:
            text = "no"
        run.model("I tell her.")
        tell(text)


def both():
    try:
        first()
    except ApprovalPending as left:
        second(left.approval_id)


if __name__ == "__main__":
    try:
        first() if len(sys.argv) < 3 else second(sys.argv[2])
    except ApprovalPending as left:
        print(left.approval_id)
    gate.close()
'''


def recorded(folder: Path, answer: str) -> str:
    """Have two processes make the run, one after the other. Returns the id of the request."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    (folder / "saferun.toml").write_text(
        '[people.dana]\n[groups]\nfinance = ["dana"]\n', encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def program(*args: str) -> str:
        command = [sys.executable, "shop.py", answer, *args]
        done = subprocess.run(
            command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    request = program()
    program(request)
    return request


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Two stores: one where people said yes to the call that was left, and one where no."""
    found = {}
    for answer in ("yes", "no"):
        folder = tmp_path_factory.mktemp(answer)
        found[answer] = (folder, recorded(folder, answer))
    return found


@pytest.fixture
def world(
    worlds: dict[str, tuple[Path, str]], request: pytest.FixtureRequest
) -> Iterator[tuple[ModuleType, str]]:
    """The agent's module, in a copy of such a world, and the request that was left."""
    folder, left = worlds[getattr(request, "param", "yes")]
    shutil.copytree(folder, Path.cwd(), dirs_exist_ok=True)
    spec = importlib.util.spec_from_file_location("shop", Path.cwd() / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    shop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    yield shop, left
    shop.gate.close()


def test_the_first_program_ends_well_where_it_left_the_call(world):
    shop, _ = world
    with rerun("t") as again, pytest.raises(ApprovalPending):
        shop.first()
    assert again.frames == 3
    [left] = again.left
    assert left == (
        "Frame 3 of run t was resumed by another program later: what came of it, and 2 frames "
        "after it, are left."
    )


def test_the_program_that_resumed_it_is_made_again_by_itself(world):
    shop, request = world
    with rerun("t") as again:
        shop.second(request)
    assert again.frames == 3
    assert again.left == [
        "Frame 3 of run t was left by another program: 2 frames of that one stay out of this."
    ]


def test_a_program_that_only_resumes_it_owes_what_came_after(world):
    shop, request = world
    with (
        pytest.raises(Diverged, match=r"frame 4 .*\n.*a turn of"),
        rerun("t"),
        shop.begun(),
    ):
        resume(request, shop.refund)


def test_code_that_resumes_the_call_itself_goes_on_to_the_end(world):
    shop, _ = world
    with rerun("t") as again:
        shop.both()
    assert (again.frames, again.left) == (5, [])


def test_code_that_resumes_it_and_goes_on_otherwise_parts_there(world):
    shop, _ = world

    def other(request: str) -> None:
        with shop.begun() as run:
            resume(request, shop.refund)
            run.model("I say nothing.")

    shop.second = other
    with pytest.raises(Diverged, match="frame 4") as caught, rerun("t"):
        shop.both()
    assert caught.value.recorded["output"] == "I tell her."


def test_code_that_does_something_else_before_it_leaves_the_call_parts_there(world):
    shop, _ = world
    with pytest.raises(Diverged, match="frame 1"), rerun("t"), shop.begun("Refund A-17."):
        shop.look("B-99")


def test_the_first_program_owes_the_call_that_it_left(world):
    shop, _ = world

    def main() -> None:
        with shop.begun("Refund A-17.") as run:
            shop.look("A-17")
            run.model("I refund it.")

    with pytest.raises(Diverged, match="frame 3") as caught, rerun("t"):
        main()
    assert caught.value.now == {"kind": "ends", "error": None}


def test_what_the_first_program_goes_on_with_of_its_own_is_nowhere_in_the_record(world):
    shop, _ = world

    def main() -> None:
        with shop.begun("Refund A-17.") as run:
            shop.look("A-17")
            run.model("I refund it.")
            with pytest.raises(ApprovalPending):
                shop.refund("A-17")
            shop.tell("refunded")

    with pytest.raises(Diverged) as caught, rerun("t"):
        main()
    assert caught.value.recorded == {"kind": "ends", "error": "ApprovalPending"}


@pytest.mark.parametrize("world", ["no"], indirect=True)
def test_a_call_that_was_left_and_told_no_is_told_no_again(world):
    shop, request = world
    with rerun("t") as first, pytest.raises(ApprovalPending):
        shop.first()
    assert [each.split(":")[0] for each in first.left] == [
        "Frame 3 of run t was resumed by another program later"
    ]
    with rerun("t") as whole:
        shop.both()
    assert (whole.frames, whole.left) == (5, [])
    with pytest.raises(Rejected, match="too much"), rerun("t"):
        resume(request, shop.refund)


def test_what_the_first_program_did_is_kept_without_what_came_after(world, tmp_path):
    shop, _ = world
    with rerun("t", keep=tmp_path / "kept"), pytest.raises(ApprovalPending):
        shop.first()
    store = Path(".saferun/saferun.db")
    with played(store, "t") as one, played(tmp_path / "kept" / "rerun.db", "t") as other:
        found = difference(one.outline, other.outline)
        last: Any = other.frame(3).frame
    assert found.counts == {"same": 2, "differ": 1, "only_one": 2, "only_other": 0}
    assert last.outcome is None
    assert last.decision["verdict"] == "ask"


def test_a_test_that_is_written_of_it_is_of_the_program_that_began_it(world):
    options = {"agent": None, "archive": None, "store": None}
    written = text_of("t", Path("test_t.py"), stops=["3"], **options)
    assert '"t#3": "refund: allow, asked",' in written
    assert "t#5" not in written
