"""Database files that somebody made or changed to do harm, and what the commands make of them.

Each says in one sentence what is wrong, with an exit status of its own, in bounded time and
memory; none fails by a fault of its own.
"""

import contextlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.project import lines, live
from saferun import GateUnavailable
from saferun.cli import app
from saferun.store import shared, sqlite

READING = (
    ("ledger", "verify"),
    ("ledger", "prove", "2"),
    ("doctor",),
    ("run", "list"),
    ("run", "show", "r-refunds"),
    ("ledger", "search", "refund"),
    ("ledger", "export", "--format", "csv", "out.csv"),
)

ENDLESS = (
    "CREATE VIEW {0} AS WITH RECURSIVE c (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM c)"
    " SELECT seq, x'' AS body, zeroblob(32) AS leaf FROM c"
)


def run(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


CHANGES = {
    "a view in the place of a table": (
        ("ALTER TABLE entry RENAME TO entry0", ENDLESS.format("entry")),
        "it has lost its table entry",
    ),
    "one more view": ((ENDLESS.format("more"),), "its view 'more' is none"),
    "a trigger": (
        ("CREATE TRIGGER t AFTER UPDATE ON head BEGIN DELETE FROM entry; END",),
        "its trigger 't' is none",
    ),
    "a virtual table": (
        ("DROP TABLE node", "CREATE VIRTUAL TABLE node USING fts5(level, place, hash)"),
        "its table 'node' is none",
    ),
    "a generated column": (
        (
            "DROP TABLE landmark",
            "CREATE TABLE landmark (seq INTEGER PRIMARY KEY, x AS (hex(zeroblob(100000000))))",
        ),
        "its table 'landmark' is none",
    ),
    "a table that is gone": (("DROP TABLE checkpoint",), "it has lost its table checkpoint"),
    "a version that never was": (("PRAGMA user_version = -1",), "of no version that there was"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_file_with_another_schema_than_a_stores_is_refused(
    saferun, history, database, command, change
) -> None:
    statements, sentence = CHANGES[change]
    run(database, *statements)
    result = saferun(*command)
    said = " ".join((result.stdout + result.stderr).split())
    assert result.exit_code == (1 if command == ("doctor",) else 64)
    assert sentence in said


@pytest.mark.parametrize("change", CHANGES)
def test_no_call_is_let_through_by_a_store_with_another_schema(history, database, change) -> None:
    run(database, *CHANGES[change][0])
    with pytest.raises(GateUnavailable):
        live("r-later")


def test_what_is_left_behind_by_an_analysis_of_the_file_does_no_harm(
    saferun, history, database
) -> None:
    run(database, "ANALYZE")
    assert saferun("ledger", "verify").exit_code == 2


def test_an_index_with_another_schema_is_made_anew(saferun, history, database) -> None:
    assert saferun("ledger", "search", "refund").exit_code == 0
    index = database.with_name("saferun.db.index")
    run(index, "DROP TABLE posting", ENDLESS.format("posting"))
    assert saferun("ledger", "search", "refund").exit_code == 0


def test_what_is_none_of_a_stores_tables_is_not_salvaged(saferun, history, database) -> None:
    run(
        database,
        "ALTER TABLE approval RENAME TO approval0",
        "CREATE VIEW approval AS WITH RECURSIVE c (id) AS (SELECT 1 UNION ALL SELECT id + 1"
        " FROM c) SELECT id, 'approved' AS state, NULL AS call, x'' AS binding, id AS deadline,"
        " x'' AS request, NULL AS by, NULL AS reason, '' AS overrides FROM c",
    )
    result = saferun("ledger", "recover", "--salvage", "new.db", "--json")
    [told] = lines(result)
    assert (result.exit_code, told["lost_entries"]) == (1, 0)
    assert {"name": "approval", "saved": 0, "whole": False} in told["tables"]


TOO_MUCH = f"zeroblob({sqlite.MAX_CELL + 1})"

HEADS = (
    "size = 'x'",
    "size = NULL",
    "size = -1",
    "size = 1e300",
    "frontier = 12",
    "frontier = x''",
)


@pytest.mark.parametrize("head", [*HEADS, f"frontier = {TOO_MUCH}"])
def test_a_rewritten_head_is_tampering(saferun, history, database, head) -> None:
    run(database, f"UPDATE head SET {head} WHERE seq = -1")
    [told] = lines(saferun("ledger", "verify", "--json"))
    assert told["state"] == "tampered"
    assert saferun("ledger", "verify").exit_code == 1


@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE entry SET body = {TOO_MUCH} WHERE seq = 5",
        f"UPDATE entry SET leaf = {TOO_MUCH} WHERE seq = 5",
        f"UPDATE checkpoint SET note = {TOO_MUCH}",
        f"UPDATE meta SET value = CAST({TOO_MUCH} AS TEXT) WHERE name = 'origin'",
    ],
)
def test_a_value_of_more_than_a_store_would_write_is_tampering(
    saferun, history, database, change
) -> None:
    saferun("ledger", "checkpoint")
    run(database, change)
    result = saferun("ledger", "verify")
    assert (result.exit_code, result.stdout.startswith("✕ Tampered: ")) == (1, True)


# Cells at random.

CELLS: tuple[Any, ...] = (
    *(None, "x", b"x", 0, -1, 7, 1e300, (1 << 63) - 1, -(1 << 63), "", b"", "9" * 40, "\x1b[2J"),
    *(b"\xff" * 40, "[]", "{}", '{"a":1}', "[" * 5_000, bytes(32), b"\x00" * 70_000),
)


@pytest.fixture
def whole(saferun, history, database, tmp_path) -> Path:
    """A folder with a store that has a bit of everything, to be copied and changed."""
    live("r-second", parent=None)
    saferun("ledger", "checkpoint")
    saferun("ledger", "search", "refund")
    saferun("control", "stop", "--run", "r-second", "--reason", "enough")
    return database.parent


def cells(database: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            " AND name NOT LIKE 'said%'"
        ).fetchall()
        return [
            (table, column[1])
            for (table,) in tables
            for column in connection.execute(f"PRAGMA table_info({table})")
        ]


def put(database: Path, table: str, column: str, value: Any, place: int) -> None:
    """Write a cell as whoever owns the file can: past what the schema asks for, which stays."""
    asked = "UPDATE sqlite_schema SET sql = ? WHERE name = ?"
    with closing(sqlite3.connect(database)) as connection:
        was = "SELECT sql FROM sqlite_schema WHERE name = ?"
        [sql] = connection.execute(was, (table,)).fetchone()
        with connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(asked, (sql.replace(" NOT NULL", ""), table))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        info = connection.execute(f"PRAGMA table_info({table})").fetchall()
        key = next((row[1] for row in info if row[5] == 1), "rowid")
        # The key of a table keeps its type, whoever writes.
        with contextlib.suppress(sqlite3.IntegrityError), connection:
            connection.execute(
                f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {key} = (SELECT {key} FROM"
                f" {table} LIMIT 1 OFFSET ? % max(1, (SELECT count(*) FROM {table})))",
                (value, place),
            )
        with connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(asked, (sql, table))


@pytest.mark.parametrize("file", ["saferun.db", "saferun.db.index"])
def test_no_cell_that_was_changed_is_a_fault_of_ours(whole, file, tmp_path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(whole, kept)

    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shutil.rmtree(whole)
        shutil.copytree(kept, whole)
        cell = st.tuples(
            st.sampled_from(cells(whole / file)), st.sampled_from(CELLS), st.integers(0, 50)
        )
        for (table, column), value, place in data.draw(st.lists(cell, min_size=1, max_size=3)):
            put(whole / file, table, column, value, place)
        for command in READING:
            Path("out.csv").unlink(missing_ok=True)
            Path("out.csv.state").unlink(missing_ok=True)
            result = CliRunner().invoke(app, list(command))
            assert result.exit_code in {0, 1, 2, 64}, (command, result.stdout, result.stderr)
            assert "Traceback" not in result.stderr

    holds()


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ("UPDATE head SET frontier = 'x' WHERE seq = -1", ("restart", "--reason", "x", "--yes")),
        ("UPDATE head SET size = 'x' WHERE seq = -1", ("restart", "--reason", "x", "--yes")),
        ("UPDATE head SET time = 'x' WHERE seq = -1", ("restart", "--reason", "x", "--yes")),
        ("UPDATE entry SET body = 'x' WHERE seq = 5", ("archive", "old", "--keep", "7d")),
    ],
)
def test_a_head_or_an_entry_of_another_kind_is_named_and_no_fault(
    saferun, history, database, change, command
) -> None:
    assert saferun("login", "dana", "--new").exit_code == 0
    for store in list(shared._stores.values()):
        store.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(change)
    result = saferun("ledger", *command, "--as", "dana")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "saferun ledger verify" in result.stderr.replace("\n", " ")
