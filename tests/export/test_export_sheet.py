"""Entries as CSV, for people and their spreadsheets."""

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.shelf import SAID, piece
from export.test_export_ocsf import EVERY
from saferun.call import PolicyRef, Reason
from saferun.export import sheet
from saferun.ledger import AnyEntry, DecisionEntry, UserEntry

FORMULAS = (
    *("=", "+", "-", "@", "|", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\uff5c"),
    *("\ufe66", "\ufe62", "\ufe63", "\ufe6b", "\u2212"),
)
HOSTILE = (
    "\0",
    "\x1b",
    "\x7f",
    "\x9b",
    "\u200b",
    "\u200e",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\U000e0041",
)


def row(entry: AnyEntry) -> dict[str, str]:
    text = (sheet.head() + sheet.line(piece(entry))).decode()
    [found] = csv.DictReader(io.StringIO(text, newline=""))
    return found


def test_a_row_says_who_what_when_and_why() -> None:
    reason = Reason(id="big", effect="deny", source="rule", message="Too much.")
    found = row(
        DecisionEntry(
            run="r-1",
            agent="support",
            user="maria",
            tool="refund",
            verdict="deny",
            args={"amount": 4000},
            reasons=(reason,),
            policy=PolicyRef(name="shop", version="v" * 64),
        )
    )
    said = {key: value for key, value in found.items() if value}
    assert len(said.pop("leaf")) == 64
    assert said == {
        "entry": "7",
        "time": "2026-05-04T10:03:19.123456Z",
        "kind": "decision",
        "run": "r-1",
        "agent": "support",
        "user": "maria",
        "tool": "refund",
        "host": "host-1",
        "verdict": "deny",
        "rules": "big",
        "policy": "shop",
        "version": "v" * 64,
        "arguments": '{"amount":4000}',
    }


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: type(entry).__name__)
def test_every_kind_of_entry_is_one_row(entry: AnyEntry) -> None:
    assert row(entry)["entry"] == "7"


@given(st.sampled_from(SAID) | st.builds(str.__add__, st.sampled_from(FORMULAS), st.text()))
def test_no_cell_is_a_formula(said: str) -> None:
    found = row(UserEntry(text=said, agent=said, run=said))
    for cell in found.values():
        assert not cell.lstrip(" ").startswith(FORMULAS)


@pytest.mark.parametrize("between", ["\n", ";", "%0A", "%0d", '; "', "\n  ", "%0a "])
@pytest.mark.parametrize("begin", FORMULAS)
def test_no_formula_begins_within_a_cell_that_is_parted(between: str, begin: str) -> None:
    cell = row(UserEntry(text=f"two{between}{begin}cmd"))["said"]
    for part in re.split(r"\n|;|%0[AD]", cell, flags=re.IGNORECASE):
        assert not part.lstrip(' "').startswith(FORMULAS)


@pytest.mark.parametrize(
    "said", ["=1", " =1", "|cmd", "%0A-3+3+cmd|' /C calc'!D2", "a%0da", '"=1', "a%0A=1"]
)
def test_a_cell_that_may_be_a_formula_begins_with_an_apostrophe(said: str) -> None:
    assert row(UserEntry(text=said))["said"].startswith("'")


@pytest.mark.parametrize(
    "said", ["a-b", "a|b", "1 - 2 = -1", "'=1", "A-17; B-18", "50%", "Zoë 東京"]
)
def test_a_cell_that_is_no_formula_is_left_as_it_is(said: str) -> None:
    assert row(UserEntry(text=said))["said"] == said


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_cell_holds_what_is_not_seen_for_what_it_is(hostile: str) -> None:
    said = f"a{hostile}b"
    found = row(DecisionEntry(tool=said, verdict="allow", run=said, args={"to": said}))
    assert found["tool"] == found["run"] == repr(said)[1:-1]
    assert hostile not in found["arguments"]
    assert found["arguments"].isascii()
    assert json.loads(found["arguments"]) == {"to": said}


SEEN = st.characters(
    categories=("L", "N", "P", "S", "M"), exclude_characters=";%\u115f\u1160\u2800\u3164\uffa0"
)


@given(st.text(SEEN | st.sampled_from(" \n"), max_size=50))
def test_a_cell_says_what_was_said(said: str) -> None:
    cell = row(UserEntry(text=said))["said"]
    assert re.sub(r"(^|\n)'", r"\1", cell) == re.sub(r"(^|\n)'", r"\1", said)


@given(st.text(max_size=50))
def test_a_row_can_be_written_whatever_was_said(said: str) -> None:
    assert row(UserEntry(text=said))["entry"] == "7"


def test_a_cell_is_never_longer_than_spreadsheets_take() -> None:
    assert len(row(UserEntry(text="=" * 60_000))["said"]) <= 32_767
    assert len(row(UserEntry(text="\x7f" * 40_000))["said"]) <= 32_767


def test_a_sealed_value_leaves_as_its_commitment() -> None:
    args: Any = {"to": {"$sealed": {"sha256": "ab" * 32}}}
    found = row(DecisionEntry(tool="mail", verdict="allow", args=args))
    assert found["arguments"] == '{"to":{"$sealed":{"sha256":"%s"}}}' % ("ab" * 32)
