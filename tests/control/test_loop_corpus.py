"""The corpus: loops that are caught, and work that goes on undisturbed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

NOT_CAUGHT = {
    # Each step brings something new, or cannot be told from a batch: docs/explanation/loops.md.
    "novelty/alternating prices",
    "novelty/junk argument",
    "rewording/with new thoughts between",
    "rewording/the same page each time",
}


KNOWN = {
    # Work that is refused, and loops that are not seen: likewise.
    "at once/thirty the same": None,
    "batch/lookups that find nothing": "barren",
    "batch/notify, always the same": "lifetime",
    "browsing/click and read": "lifetime",
    "denied/by a limit, between other work": None,
    "denied/by a rule": None,
    "editing/tests that pass, for hours": "lifetime",
    "paging/next page, without arguments": "changing",
    "paging/read on, without arguments": "changing",
    "polling/undeclared, every two seconds": "same_result",
    "polling/undeclared, thirteen looks": "spaced_result",
    "retries/with growing waits, five tries": "retries",
}


def played(*asked: str) -> str:
    command = [sys.executable, "-m", "benchmarks.loops", *asked]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    return [json.loads(line) for line in played("--json").splitlines()]


@pytest.fixture(scope="module")
def corpus(everything: list) -> list[dict[str, Any]]:
    return [each for each in everything if each["half"] != "known-limits"]


def test_there_are_more_than_sixty_sequences_of_each_kind_and_halves(corpus: list) -> None:
    sizes = Counter((each["kind"], each["half"]) for each in corpus)
    for kind in ("loop", "work"):
        assert sizes[kind, "tuned-on"] + sizes[kind, "held-out"] > 60
        assert abs(sizes[kind, "tuned-on"] - sizes[kind, "held-out"]) <= 1
    assert len({(each["kind"], each["name"]) for each in corpus}) == len(corpus)


def test_what_is_known_to_go_wrong_still_does_and_has_a_file_of_its_own(everything: list) -> None:
    """What has come to go right moves to a half, and from the limits in docs/explanation/loops.md.

    What is refused is work, and what is not seen a loop: neither would be a limit otherwise.
    """
    known = [each for each in everything if each["half"] == "known-limits"]
    assert {each["name"]: each["refused_by"] for each in known} == KNOWN
    assert {each["kind"] for each in known if each["refused_by"] is None} == {"loop"}
    assert {each["kind"] for each in known if each["refused_by"] is not None} == {"work"}


def test_what_is_known_to_go_wrong_is_counted_apart() -> None:
    halves, _, known = played().partition("known limits: ")
    assert known.startswith("9/9 of work refused, 3/3 loops not seen\n")
    for name in KNOWN:
        assert name in known
        assert name not in halves


def test_no_work_hears_a_word_more_than_twice(corpus: list) -> None:
    heard = {each["name"]: each["nudges"] for each in corpus if each["kind"] == "work"}
    assert max(heard.values()) <= 2


def test_no_work_is_refused(corpus: list) -> None:
    refused = {each["name"]: each["refused_by"] for each in corpus if each["kind"] == "work"}
    assert {name: signal for name, signal in refused.items() if signal is not None} == {}


def test_every_loop_is_caught_but_for_those_that_are_named(corpus: list) -> None:
    loops = [each for each in corpus if each["kind"] == "loop"]
    assert {each["name"] for each in loops if each["refused_by"] is None} == NOT_CAUGHT


def test_each_signal_catches_some_loop_of_the_corpus(corpus: list) -> None:
    from saferun.control.loop import Loops

    signals = set(Loops.__struct_fields__) - {"denials", "asks"}
    caught = {each["refused_by"] for each in corpus} - {None}
    assert caught == signals
