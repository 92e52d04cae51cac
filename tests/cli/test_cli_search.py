"""`saferun ledger search`: entries found again."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import Result

from cli.project import lines, live
from saferun.cli.ledger.filters import when
from saferun.cli.options import CannotError
from saferun.ledger import UserEntry, encode
from saferun.store import Append, Store
from storing import shelve

Run = Callable[..., Result]


def seqs(result: Result) -> list[int]:
    return [found["seq"] for found in lines(result)]


def said(database: Path, *texts: str) -> None:
    store = Store(f"sqlite:///{database}", durability="process")
    entries = [encode(UserEntry(text=text, agent=text[:100], user=text[:40])) for text in texts]
    store.commit(Append(entries=entries, boot=store.boot))
    store.close()


def test_the_newest_entries_come_first(saferun: Run, history: str) -> None:
    result = saferun("ledger", "search", "--json")
    assert result.exit_code == 0
    assert seqs(result) == list(range(11, -1, -1))
    assert seqs(saferun("ledger", "search", "--oldest", "-n", "3", "--json")) == [0, 1, 2]


def test_it_finds_by_who_what_and_words(saferun: Run, history: str) -> None:
    denied = saferun("ledger", "search", "--agent", "support", "--verdict", "deny", "--json")
    assert seqs(denied) == [5]
    both = ("--verdict", "deny", "--verdict", "ask", "--kind", "decision")
    assert seqs(saferun("ledger", "search", *both, "--json")) == [6, 5]
    assert seqs(saferun("ledger", "search", '"good customer"', "--json")) == [8]
    assert seqs(saferun("ledger", "search", "--person", "dana", "--json")) == [8]
    assert seqs(saferun("ledger", "search", "--rule", "big-refund", "--kind", "decision", "--json"))


def test_an_entry_in_json_has_its_fields_and_its_leaf(saferun: Run, history: str) -> None:
    [found] = lines(saferun("ledger", "search", "--verdict", "deny", "--json"))
    assert found["kind"] == "decision"
    assert found["args"]["amount"] == 450_000
    assert len(bytes.fromhex(found["leaf"])) == 32


def test_a_table_fits_80_columns(saferun: Run, history: str) -> None:
    result = saferun("ledger", "search", "refund")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["entry", "when", "agent", "user", "tool", "what"]
    assert "✕ denied" in result.stdout
    assert max(map(len, (head, *rows))) <= 80
    assert rows[-1] == "10 entries of 12"


def test_more_than_are_shown_are_spoken_of(saferun: Run, history: str) -> None:
    page = saferun("ledger", "search", "-n", "2").stdout
    assert page.endswith("2 entries of 12; more with --limit\n")


def test_nothing_found_is_an_answer(saferun: Run, history: str) -> None:
    result = saferun("ledger", "search", "--agent", "suport")
    assert result.exit_code == 1
    assert result.stdout == "Nothing is found among 12 entries.\n"
    assert "No entry has the agent 'suport'; did you mean 'support'?" in result.stderr
    empty = saferun("ledger", "search", "zebra", "--json")
    assert (empty.exit_code, empty.stdout) == (1, "")


@pytest.mark.parametrize(
    "args", [["?!"], ["word " * 40], ["--since", "yesterday"], ["--until", "2026-13-01"]]
)
def test_what_cannot_be_looked_for_is_no_answer(
    saferun: Run, history: str, args: list[str]
) -> None:
    result = saferun("ledger", "search", *args)
    assert (result.exit_code, result.stdout) == (64, "")
    assert result.stderr.startswith("saferun: ")


def test_where_there_is_no_store_that_is_said(saferun: Run) -> None:
    result = saferun("ledger", "search", "x")
    assert result.exit_code == 64
    assert "no store" in result.stderr


NOW = 1_777_888_999_123_456


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90s", NOW - 90_000_000),
        ("2h", NOW - 7_200_000_000),
        ("7d", NOW - 7 * 86_400_000_000),
        ("1w", NOW - 7 * 86_400_000_000),
        ("2026-05-04T10:00:00Z", 1_777_888_800_000_000),
        ("2026-05-04T12:00:00.000001+02:00", 1_777_888_800_000_001),
    ],
)
def test_a_time_is_a_span_or_a_date(given: str, expected: int) -> None:
    assert when(given, NOW) == expected


def test_a_date_alone_is_its_day_in_this_zone() -> None:
    begins = int(datetime(2026, 5, 4).astimezone().timestamp() * 1_000_000)
    ends = int(datetime(2026, 5, 5).astimezone().timestamp() * 1_000_000)
    assert when("2026-05-04", NOW) == begins
    assert when("2026-05-04", NOW, end=True) == ends
    assert when("2026-05-04T00:00", NOW, end=True) == begins


@pytest.mark.parametrize(
    "given", ["", "h", "0h", "1y", "-2h", "2h ago", "99999999d", "today", "1e3", "٢h", "2026-05"]
)
def test_what_is_no_time_is_told(given: str) -> None:
    with pytest.raises(CannotError):
        when(given, NOW)


def test_entries_are_found_by_time(saferun: Run, history: str) -> None:
    assert len(lines(saferun("ledger", "search", "--since", "1h", "--json"))) == 12
    today = datetime.now(UTC).astimezone().strftime("%Y-%m-%d")
    assert len(lines(saferun("ledger", "search", "--until", today, "--json"))) == 12
    assert saferun("ledger", "search", "--until", "2020-01-01").exit_code == 1


HOSTILE = ("\x1b[31mred\x1b]0;title\x07", "\u202edrawkcab", "a\nb\rc", "a\0b", "[bold]x[/bold]")


def test_what_a_model_said_cannot_touch_the_screen(
    saferun: Run, history: str, database: Path
) -> None:
    said(database, *HOSTILE)
    page = saferun("ledger", "search", "--kind", "user").stdout
    rows = page.splitlines()
    assert len(rows) == len(HOSTILE) + 3
    assert all(char.isprintable() for char in page.replace("\n", ""))
    assert "[bold]x[/bold]" in page
    out = saferun("ledger", "search", "--kind", "user", "--json").stdout
    assert out.isascii()
    assert [json.loads(line)["text"] for line in out.splitlines()] == list(reversed(HOSTILE))


def test_a_changed_entry_is_not_shown_and_verification_says_why(
    saferun: Run, history: str, database: Path
) -> None:
    saferun("ledger", "search")
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '450000', '450') AS BLOB)"
        )
    connection.close()
    assert saferun("ledger", "search", "--verdict", "deny").exit_code == 1
    assert saferun("ledger", "verify").exit_code == 1


def test_an_archived_entry_is_found_by_what_the_index_knew(
    saferun: Run, history: str, database: Path
) -> None:
    [before] = lines(saferun("ledger", "search", "--verdict", "deny", "--json"))
    with closing(Store(f"sqlite:///{database}")) as store:
        shelve(store, 8)
    result = saferun("ledger", "search", "--verdict", "deny")
    assert result.exit_code == 0
    assert "↓ archived" in result.stdout
    [found] = lines(saferun("ledger", "search", "--verdict", "deny", "--json"))
    assert found["archived"] is True
    names = ("seq", "time", "kind", "run", "agent", "tool", "verdict")
    assert [found[name] for name in names] == [before[name] for name in names]


def test_entries_that_were_never_indexed_are_counted(
    saferun: Run, history: str, database: Path
) -> None:
    with closing(Store(f"sqlite:///{database}")) as store:
        shelve(store, 8)
    result = saferun("ledger", "search", "--kind", "run")
    assert "7 entries could not be searched" in result.stderr


def test_runs_are_found_in_the_same_index(saferun: Run, history: str, database: Path) -> None:
    live("r-second")
    assert [run["run_id"] for run in lines(saferun("run", "list", "--json"))] == [
        "r-second",
        "r-refunds",
    ]
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    connection.close()
    assert "frame" not in tables
    assert database.with_name("saferun.db.index").exists()
