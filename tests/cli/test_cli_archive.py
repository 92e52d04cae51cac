"""`saferun ledger archive`, and what other commands say of entries that are archived."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.project import lines, live
from saferun.store import Store

DAY = 86_400_000_000


@pytest.fixture
def dana(
    saferun: Callable[..., Result],
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:
    """The command, for Dana, in a project with one run of a hundred days ago and one of today."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    with monkeypatch.context() as patched:
        now = time.time_ns()
        patched.setattr("saferun.store.clock.time.time_ns", lambda: now - 100 * DAY * 1000)
        live("r-old", prompt="Refund the duplicate charge on A-17.")
    live("r-new")
    assert saferun("login", "dana", "--new").exit_code == 0
    return saferun


def archive(dana: Callable[..., Result], *options: str) -> Result:
    return dana("ledger", "archive", "old", "--by", "all", *options)


def segment() -> Path:
    [found] = Path("old").iterdir()
    return found


def test_old_entries_are_archived_and_the_rest_stays(dana) -> None:
    result = archive(dana, "--keep", "30d")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("✓ archived  12 entries in 1 segment at old\n")
    assert "reusable" in result.stdout
    again = archive(dana, "--keep", "30d")
    assert (again.exit_code, again.stdout) == (0, "! nothing is that old and still here\n")


def test_archiving_for_programs_is_one_document(dana) -> None:
    [told] = lines(archive(dana, "--keep", "30d", "--json"))
    [made] = told["segments"]
    assert (made["name"], made["entries"], told["emptied"], told["held"]) == ("0-12", 12, 11, None)
    assert Path(made["folder"]).is_dir()


def test_a_dry_run_says_what_would_go_and_changes_nothing(dana, database) -> None:
    before = database.read_bytes()
    result = archive(dana, "--keep", "30d", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("12 entries would go to old:\n  0-12  12 entries, ")
    assert not Path("old").exists()
    assert database.read_bytes() == before
    [told] = lines(archive(dana, "--keep", "30d", "--dry-run", "--json"))
    assert [each["name"] for each in told["segments"]] == ["0-12"]


def test_what_holds_old_entries_back_is_named(dana) -> None:
    live("r-old", prompt="Refund the duplicate charge on A-17.")
    result = archive(dana, "--keep", "30d", "--dry-run")
    assert "! what came after is kept: run r-old goes on" in result.stdout


def test_the_first_key_is_enough_for_what_was_archived_after_a_rotation(dana) -> None:
    Path("first.vkey").write_bytes(dana("ledger", "vkey").stdout_bytes)
    dana("ledger", "rotate")
    archive(dana, "--keep", "30d")
    for folder in ("old", str(segment())):
        result = dana("ledger", "archive", folder, "--check", "--vkey", "first.vkey")
        assert (result.exit_code, result.stderr) == (0, "")


def test_what_lies_in_a_segment_is_no_checkpoint(dana) -> None:
    dana("ledger", "rotate")
    archive(dana, "--keep", "30d")
    for file in segment().iterdir():
        if file.is_file():
            result = dana("ledger", "verify", "--checkpoint", str(file))
            assert (result.exit_code, result.stdout) == (64, "")
            assert "holds no signed checkpoint" in result.stderr


def test_months_are_archived_whole(dana) -> None:
    cut = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 99 * 86_400))
    [told] = lines(dana("ledger", "archive", "old", "--before", cut, "--dry-run", "--json"))
    # Ninety-nine days ago the month of the run was over only if it ended in that very night.
    assert len(told["segments"]) in ((1,) if cut.endswith("-01") else (0,))
    [told] = lines(dana("ledger", "archive", "old", "--keep", "60d", "--dry-run", "--json"))
    assert [each["name"] for each in told["segments"]] == ["0-12"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Say what is old: one of --before DATE and --keep SPAN."),
        (("--keep", "30d", "--before", "2026-01-01"), "Say what is old"),
        (("--keep", "soon"), "--keep 'soon' is no span"),
        (("--before", "soon"), "--before 'soon' is no date"),
        (("--keep", "30d", "--vkey", "f"), "--vkey goes with --check."),
        (("--check", "--keep", "30d"), "--check looks at the folder alone"),
        (("--check",), "There is no folder old."),
    ],
)
def test_what_cannot_be_meant_is_told(dana, options: tuple[str, ...], sentence: str) -> None:
    result = archive(dana, *options)
    assert result.exit_code == 64
    assert sentence in result.stderr
    assert not Path("old").exists()


def test_another_persons_secret_archives_nothing(dana, tmp_path) -> None:
    (tmp_path / "login" / "dana.secret").write_text("another", encoding="utf-8")
    result = archive(dana, "--keep", "30d")
    assert result.exit_code == 1
    assert "not dana's" in result.stderr
    assert not Path("old").exists()


def test_a_run_that_is_archived_says_so_and_is_shown_again_with_the_archive(dana) -> None:
    before = dana("run", "show", "r-old").stdout
    archive(dana, "--keep", "30d")
    result = dana("run", "show", "r-old")
    assert result.exit_code == 0
    assert "11 entries lie in an archive" in result.stdout
    assert "--archive FOLDER" in result.stdout
    assert "cannot be read" not in result.stdout
    assert dana("run", "show", "r-old", "--archive", "old").stdout == before
    listed = dana("run", "list")
    assert "11 entries lie in an archive" in listed.stdout
    assert "maria" in dana("run", "list", "--archive", "old").stdout.splitlines()[-1]
    [told] = lines(dana("run", "show", "r-old", "--json"))
    assert (told["archived"], told["unreadable"]) == (list(range(1, 12)), [])


def test_the_ledger_verifies_with_the_archive_up_to_a_checkpoint(dana) -> None:
    archive(dana, "--keep", "30d")
    Path("kept.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    result = dana("ledger", "verify", "--archive", "old", "--checkpoint", "kept.note")
    assert result.exit_code == 0, result.stdout


def _changed() -> None:
    file = segment() / "entries.jsonl"
    file.write_bytes(file.read_bytes().replace(b"A-17", b"A-18", 1))


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (lambda: shutil.rmtree(segment()), "The archive segment 0-12 is missing from old."),
        (lambda: (segment() / "manifest.json").unlink(), "no manifest.json that can be read"),
        (_changed, "The archive segment 0-12 was changed"),
    ],
)
def test_an_archive_that_is_dropped_or_changed_is_found(
    dana, attack: Callable[[], Any], sentence: str
) -> None:
    archive(dana, "--keep", "30d")
    Path("kept.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    attack()
    [told] = lines(dana("ledger", "archive", "old", "--check", "--vkey", "kept.key", "--json"))
    assert (told["state"], told["summary"][:9]) == ("changed", "Changed: ")
    said = dana("ledger", "archive", "old", "--check", "--vkey", "kept.key").stdout
    assert said.startswith("✕ Changed: ")
    assert "before it  0 whole segments, " in said
    result = dana("ledger", "verify", "--archive", "old", "--json")
    assert result.exit_code == 1
    [told] = lines(result)
    # What else it finds by that may come first.
    assert sentence in told["problem"]["sentence"] or "Entry" in told["problem"]["sentence"]


def test_an_archive_entry_that_was_rewritten_is_an_answer_and_no_error(dana, database) -> None:
    archive(dana, "--keep", "30d")
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '\"size\":12', '\"size\":11')"
            " AS BLOB) WHERE seq = (SELECT seq FROM archive)"
        )
    connection.close()
    assert dana("ledger", "verify", "--archive", "old").exit_code == 1


def test_an_archive_verifies_by_itself_with_the_key_alone(dana) -> None:
    archive(dana, "--keep", "30d")
    Path("kept.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    shutil.rmtree(".saferun")
    result = dana("ledger", "archive", "old", "--check", "--vkey", "kept.key")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.startswith("✓ Verified: the entries 0 to 11 are those that")
    assert dana("ledger", "archive", "old", "--check").exit_code == 2
    other = Store("sqlite:///other/saferun.db")
    Path("other.key").write_text(other.signer().vkey(), encoding="utf-8")
    other.close()
    assert dana("ledger", "archive", "old", "--check", "--vkey", "other.key").exit_code == 1


def test_doctor_says_what_is_archived(dana) -> None:
    archive(dana, "--keep", "30d")
    [told] = lines(dana("doctor", "--json"))
    [growth] = [each for each in told["checks"] if each["name"] == "growth"]
    assert "12 entries archived" in growth["found"]
    assert growth["state"] == "ok"


def test_a_backtest_says_what_it_left_out_and_has_it_with_the_archive(dana) -> None:
    archive(dana, "--keep", "30d")
    without = dana("policy", "backtest", "production", "--json")
    assert "11 entries lie in an archive and were left out" in without.stderr
    whole = dana("policy", "backtest", "production", "--archive", "old", "--json")
    assert whole.stderr == ""
    assert len(lines(whole)) == 2 * len(lines(without)) - 1
