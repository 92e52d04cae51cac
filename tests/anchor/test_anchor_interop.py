"""The client against a witness that others wrote, as a process of its own."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.offering import SIGNER, Tree, bodies, offered, take
from saferun.anchor import AnchorError, RefusedError
from saferun.anchor.witness import WitnessPlace
from saferun.ledger import Signer, cosignatures

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aics_witness") is None,
    reason="aics-witness is not installed; it needs Python 3.12",
)


class Theirs(NamedTuple):
    folder: Path
    place: WitnessPlace
    process: "subprocess.Popen[str]"


def call(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "aics_witness", *args]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Theirs]:
    folder = tmp_path / "witness"
    folder.mkdir()
    said = call(folder, "init", "--name", "witness.test/theirs", "--listen", "127.0.0.1:0")
    vkey = re.search(r"witness\.test/theirs\+[0-9a-f]{8}\+\S+", said)
    assert vkey is not None
    call(folder, "add-log", "--origin", SIGNER.name, "--vkey", SIGNER.vkey())
    process = subprocess.Popen(
        [sys.executable, "-m", "aics_witness", "serve"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            url = None
            while url is None:
                line = process.stdout.readline()
                assert line, "the witness has ended"
                url = re.search(r"http://127\.0\.0\.1:\d+|127\.0\.0\.1:\d+", line)
            address = url[0].removeprefix("http://")
            place = WitnessPlace("theirs", f"http://{address}", vkey[0])
            yield Theirs(folder, place, process)
        finally:
            process.kill()


def test_a_ledger_that_grows_is_cosigned(theirs: Theirs) -> None:
    for calls in (1, 2, 3, 5, 8, 13, 31, 64):
        what = offered(bodies(calls))
        [said] = cosignatures(take(theirs.place, what), [theirs.place.witness])
        assert said.checkpoint == what.checkpoint


def test_a_cut_a_rollback_and_rewrites_are_refused(theirs: Theirs) -> None:
    def forged(calls: int) -> list[bytes]:
        return [body.replace(b"support", b"finance") for body in bodies(calls)]

    take(theirs.place, offered(bodies(5)))
    for ledger, last, history in (
        (bodies(3), 12, None),
        (bodies(3), 8, None),
        (forged(5), 12, None),
        (forged(9), 12, None),
        (forged(9), 12, Tree(bodies(9))),
    ):
        with pytest.raises(RefusedError):
            take(theirs.place, offered(ledger, history=history), last=last)
    take(theirs.place, offered(bodies(9)), last=12)


def test_an_unknown_key_and_an_unknown_ledger_are_no_evidence(theirs: Theirs) -> None:
    for signer in (Signer(SIGNER.name, b"x" * 32), Signer("another/ledger", b"s" * 32)):
        with pytest.raises(AnchorError, match="does not know") as told:
            take(theirs.place, offered(bodies(1), signer))
        assert not isinstance(told.value, RefusedError)


def test_every_step_of_growth_is_taken(theirs: Theirs) -> None:
    whole = bodies(40)

    @given(st.lists(st.integers(1, len(whole)), min_size=1, max_size=4))
    def steps(sizes: list[int]) -> None:
        for size in sizes:
            seen = theirs_size[0]
            if size < seen:
                with pytest.raises(RefusedError):
                    take(theirs.place, offered(whole[:size]))
            else:
                take(theirs.place, offered(whole[:size]))
                theirs_size[0] = size

    theirs_size = [0]
    steps()
