"""Entries as CSV, for people and their spreadsheets."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.shelf import SAID, piece
from export.test_export_ocsf import EVERY
from saferun.call import PolicyRef, Reason
from saferun.export import sheet
from saferun.ledger import AnyEntry, DecisionEntry, UserEntry

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


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


@given(st.text(max_size=50))
def test_a_cell_says_what_was_said(said: str) -> None:
    assert row(UserEntry(text=said))["said"].removeprefix("'") == said.replace(
        "\0", "\ufffd"
    ).removeprefix("'")


def test_a_cell_is_never_longer_than_spreadsheets_take() -> None:
    assert len(row(UserEntry(text="=" * 60_000))["said"]) <= 32_767


def test_a_sealed_value_leaves_as_its_commitment() -> None:
    args: Any = {"to": {"$sealed": {"sha256": "ab" * 32}}}
    found = row(DecisionEntry(tool="mail", verdict="allow", args=args))
    assert found["arguments"] == '{"to":{"$sealed":{"sha256":"%s"}}}' % ("ab" * 32)
