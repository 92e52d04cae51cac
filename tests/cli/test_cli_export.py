"""`saferun ledger export`: the history taken elsewhere."""

import csv
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from typer.testing import Result

from cli.project import lines, live
from saferun.store import Store
from storing import shelve

Run = Callable[..., Result]


def export(saferun: Run, form: str, path: str, *args: str) -> Result:
    return saferun("ledger", "export", "--format", form, path, *args)


def documents(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


def test_jsonl_is_the_ledger_to_the_byte_with_a_checkpoint(saferun: Run, history: str) -> None:
    result = export(saferun, "jsonl", "out.jsonl")
    assert result.exit_code == 0
    assert "12 entries new in out.jsonl" in result.stdout
    assert [each["seq"] for each in documents("out.jsonl")] == list(range(12))
    assert Path("out.jsonl.checkpoint").read_bytes() == saferun("ledger", "checkpoint").stdout_bytes


def test_the_same_command_again_adds_what_is_new(saferun: Run, history: str) -> None:
    for form in ("jsonl", "tiles", "ocsf", "csv"):
        export(saferun, form, form)
    live("r-second")
    for form in ("jsonl", "tiles", "ocsf", "csv"):
        [told] = lines(export(saferun, form, form, "--json"))
        assert told == {
            "format": form,
            "path": form,
            "upto": 23,
            "new": 11,
            "verifiable": form in ("jsonl", "tiles"),
        }
        assert "Nothing new for" in export(saferun, form, form).stdout


def test_tiles_are_what_any_reader_of_a_tiled_log_reads(saferun: Run, history: str) -> None:
    assert export(saferun, "tiles", "log").exit_code == 0
    reader = TilesReader(LocalBackend(Path("log")))
    assert reader.get_checkpoint().root_hash == reader.calculate_root_hash()
    assert json.loads(reader.get_entry(5))["verdict"] == "deny"


def test_ocsf_is_one_event_a_line(saferun: Run, history: str) -> None:
    export(saferun, "ocsf", "out.ocsf")
    events = documents("out.ocsf")
    assert [event["unmapped"]["seq"] for event in events] == list(range(12))
    [blocked] = [event for event in events if event.get("disposition") == "Blocked"]
    assert blocked["api"]["operation"] == "refund"


def test_csv_has_a_head_and_a_row_for_each_entry(saferun: Run, history: str) -> None:
    export(saferun, "csv", "out.csv")
    with Path("out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["entry"] for row in rows] == [str(seq) for seq in range(12)]
    assert rows[5]["rules"] == "refund.args"


def test_a_choice_is_exported_and_vouched_for_by_nothing(saferun: Run, history: str) -> None:
    result = export(saferun, "jsonl", "out.jsonl", "--verdict", "deny", "--text", "refund")
    assert "vouched for  by nothing" in result.stdout
    assert [each["seq"] for each in documents("out.jsonl")] == [5]
    assert not Path("out.jsonl.checkpoint").exists()
    live("r-second")
    [told] = lines(
        export(saferun, "jsonl", "out.jsonl", "--verdict", "deny", "--text", "refund", "--json")
    )
    assert (told["new"], told["verifiable"]) == (1, False)
    other = export(saferun, "jsonl", "out.jsonl", "--verdict", "ask")
    assert (other.exit_code, "something else" in other.stderr) == (64, True)


def test_tiles_of_a_choice_are_refused(saferun: Run, history: str) -> None:
    result = export(saferun, "tiles", "log", "--agent", "support")
    assert result.exit_code == 64
    assert not Path("log").exists()


@pytest.mark.parametrize("form", ["jsonl", "tiles", "ocsf", "csv"])
def test_archived_entries_are_named(saferun: Run, history: str, database: Path, form: str) -> None:
    with closing(Store(f"sqlite:///{database}")) as store:
        shelve(store, 8)
    result = export(saferun, form, "out")
    assert result.exit_code == 64
    assert "The entries 1 to 7 lie in an archive" in result.stderr


@pytest.mark.parametrize("form", ["jsonl", "tiles", "ocsf", "csv"])
def test_a_changed_entry_ends_an_export(
    saferun: Run, history: str, database: Path, form: str
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE entry SET body = CAST('{}' AS BLOB) WHERE seq = 5")
    connection.close()
    result = export(saferun, form, "out")
    assert result.exit_code == 64
    assert "Entry 5 was changed" in result.stderr


def test_without_the_signing_key_the_last_checkpoint_is_as_far_as_it_goes(
    saferun: Run, history: str, database: Path
) -> None:
    saferun("ledger", "checkpoint")
    next(database.parent.glob("keys/*.signing.key")).unlink()
    live("r-second")
    [told] = lines(export(saferun, "jsonl", "out.jsonl", "--json"))
    assert told["upto"] == 12


@pytest.mark.parametrize("form", ["jsonl", "tiles", "ocsf", "csv"])
def test_what_cannot_be_written_is_told_in_one_sentence(
    saferun: Run, history: str, form: str
) -> None:
    Path("file").write_bytes(b"")
    result = export(saferun, form, "file/out")
    assert result.exit_code == 64
    assert "file/out cannot be written: Not a directory; see to that" in result.stderr
    assert "Errno" not in result.stderr


@pytest.mark.parametrize(
    ("form", "pipe"), [("jsonl", "out.state"), ("csv", "out.state"), ("tiles", "out/checkpoint")]
)
def test_a_pipe_in_the_place_of_what_an_export_goes_on_from_is_not_waited_for(
    shell: Callable[..., Any], history: str, form: str, pipe: str
) -> None:
    assert shell("ledger", "export", "--format", form, "out").returncode == 0
    Path(pipe).unlink()
    os.mkfifo(pipe)
    again = shell("ledger", "export", "--format", form, "out")
    assert (again.returncode, again.stdout) == (64, b"")
    assert b"it is not an ordinary file" in again.stderr


@pytest.mark.parametrize("form", ["jsonl", "ocsf", "csv"])
def test_a_folder_that_is_not_there_is_not_made_for_a_file(
    saferun: Run, history: str, form: str
) -> None:
    result = export(saferun, form, "missing/out")
    assert result.exit_code == 64
    assert "missing/out cannot be written: No such file or directory" in result.stderr
