"""What commands make of entries that lie in an archive, with it at hand and without."""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from typer.testing import Result

from cli.project import lines, live
from dying import paying

Run = Callable[..., Result]

DAY_NS = 86_400 * 10**9


@pytest.fixture
def dana(
    saferun: Run, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The command, for Dana, in a project with one run of a hundred days ago and one of today."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    with monkeypatch.context() as patched:
        now = time.time_ns()
        patched.setattr("saferun.store.clock.time.time_ns", lambda: now - 100 * DAY_NS)
        live("r-old", prompt="Refund the duplicate charge on A-17.")
    live("r-new")
    assert saferun("login", "dana", "--new").exit_code == 0
    return saferun


def archive(dana: Run, keep: str = "30d") -> None:
    result = dana("ledger", "archive", "old", "--by", "all", "--keep", keep)
    assert result.exit_code == 0, result.stderr
    assert "archived" in result.stdout


def files(path: str) -> dict[str, bytes]:
    """What was exported, without what it is vouched for by and goes on from."""
    whole = Path(path)
    found = [whole] if whole.is_file() else [each for each in whole.rglob("*") if each.is_file()]
    return {
        str(each.relative_to(whole)): each.read_bytes()
        for each in found
        if not each.name.startswith(".") and each.name != "checkpoint"
    }


# Exports.


CHOICE = ("--run", "r-old")


@pytest.mark.parametrize(
    ("form", "choice"),
    [("jsonl", CHOICE), ("csv", CHOICE), ("ocsf", CHOICE), ("jsonl", ("--text", "duplicate"))],
)
def test_a_choice_is_exported_the_same_after_archiving(
    dana: Run, form: str, choice: tuple[str, str]
) -> None:
    assert dana("ledger", "export", "--format", form, "before", *choice).exit_code == 0
    archive(dana)
    whole = ("ledger", "export", "--format", form, "after", *choice)
    result = dana(*whole)
    assert result.exit_code == 64
    assert "in an archive" in result.stderr
    assert "--archive FOLDER" in result.stderr
    assert dana(*whole, "--archive", "old").exit_code == 0
    assert files("before")["."]
    assert files("after") == files("before")


@pytest.mark.parametrize("form", ["jsonl", "tiles", "ocsf", "csv"])
def test_the_whole_is_exported_the_same_before_and_after_archiving(dana: Run, form: str) -> None:
    def export(path: str, *options: str) -> Result:
        return dana("ledger", "export", "--format", form, path, *options)

    assert export("grown").exit_code == 0
    archive(dana)
    result = export("anew")
    assert result.exit_code == 64
    assert "The entries 1 to 11 lie in an archive" in result.stderr
    assert export("anew", "--archive", "old").exit_code == 0
    assert export("grown", "--archive", "old").exit_code == 0
    grown = files("grown")
    # What stood for tiles that were not full yet stays a while, for whoever is reading them.
    assert files("anew") == {name: grown[name] for name in files("anew")}
    assert form == "tiles" or len(grown) == 1


@pytest.mark.parametrize("form", ["jsonl", "tiles", "ocsf", "csv"])
def test_what_was_exported_before_archiving_goes_on_without_the_archive(
    dana: Run, form: str
) -> None:
    def export(path: str, *options: str) -> Result:
        return dana("ledger", "export", "--format", form, path, *options)

    assert export("grown").exit_code == 0
    archive(dana)
    result = export("grown")
    assert result.exit_code == 0, result.stderr
    assert export("anew", "--archive", "old").exit_code == 0
    grown = files("grown")
    assert files("anew") == {name: grown[name] for name in files("anew")}


def test_an_export_with_an_archive_that_was_changed_says_which_segment(dana: Run) -> None:
    archive(dana)
    file = Path("old/0-12/entries.jsonl")
    file.write_bytes(file.read_bytes().replace(b"A-17", b"A-18", 1))
    result = dana("ledger", "export", "--format", "jsonl", "out", "--archive", "old")
    assert result.exit_code == 64
    assert "The archive segment 0-12 was changed" in result.stderr


# Receipts.


def test_a_receipt_of_an_archived_entry_verifies_offline(dana: Run) -> None:
    Path("kept.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    dana("ledger", "checkpoint")
    archive(dana)
    result = dana("ledger", "prove", "5")
    assert result.exit_code == 64
    assert "Entry 5 lies in an archive; name its folder with --archive FOLDER." in result.stderr
    assert dana("ledger", "prove", "5", "-o", "five", "--archive", "old").exit_code == 0
    shutil.rmtree(".saferun")
    shutil.rmtree("old")
    [told] = lines(dana("ledger", "check", "five", "--vkey", "kept.key", "--json"))
    assert (told["proven"], told["seq"]) == (True, 5)


# Searches.


def test_a_search_finds_archived_entries_in_full_with_the_archive(dana: Run) -> None:
    search = ("ledger", "search", "--run", "r-old", "--oldest")
    before, table = lines(dana(*search, "--json")), dana(*search).stdout
    archive(dana)
    result = dana(*search)
    assert result.stdout.count("↓ archived") == len(before)
    assert max(map(len, result.stdout.splitlines())) <= 80
    told = lines(dana(*search, "--json"))
    assert all(each["archived"] for each in told)
    for name in ("seq", "time", "kind"):
        assert [each[name] for each in told] == [each[name] for each in before]
    for name in ("tool", "agent", "verdict"):
        said = [(each["seq"], each[name]) for each in before if each.get(name)]
        assert said
        assert set(said) <= {(each["seq"], each.get(name)) for each in told}
    assert lines(dana(*search, "--json", "--archive", "old")) == before
    with_it = dana(*search, "--archive", "old")
    head = [line for line in table.splitlines() if " of " not in line]
    assert [line for line in with_it.stdout.splitlines() if " of " not in line] == head


def test_an_index_that_is_lost_is_made_anew_from_the_archive(dana: Run, database: Path) -> None:
    search = ("ledger", "search", "duplicate", "--json")
    [before] = lines(dana(*search))
    archive(dana)
    database.with_name(database.name + ".index").unlink()
    without = dana(*search)
    assert (without.exit_code, lines(without)) == (1, [])
    assert "11 entries could not be searched" in without.stderr
    assert "--archive FOLDER" in without.stderr
    whole = dana(*search, "--archive", "old")
    assert (lines(whole), whole.stderr) == ([before], "")
    # From then on it knows them, and finds them without the archive too.
    [found] = lines(dana(*search))
    assert (found["seq"], found["archived"]) == (before["seq"], True)


def test_a_search_says_what_is_wrong_with_the_archive(dana: Run) -> None:
    dana("ledger", "search")
    archive(dana)
    (Path("old/0-12/manifest.json")).unlink()
    result = dana("ledger", "search", "--run", "r-old", "--archive", "old")
    assert result.exit_code == 0
    assert "0-12 has no manifest.json" in result.stderr


# Runs, where the index was lost: with a backup that was put back, say.


def lose_index(database: Path) -> None:
    for ending in (".index", ".index-wal", ".index-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)


def test_a_run_that_no_index_knows_is_refused_and_not_shown_empty(
    dana: Run, database: Path
) -> None:
    archive(dana)
    lose_index(database)
    for options in ((), ("--json",)):
        result = dana("run", "show", "r-old", *options)
        assert (result.exit_code, result.stdout) == (64, "")
        said = " ".join(result.stderr.split())
        assert "Run 'r-old' lies in an archive; name its folder with --archive FOLDER." in said
    assert "4 frames" in dana("run", "show", "r-new").stdout


def test_a_run_that_no_index_knows_is_shown_from_the_archive_at_once(
    dana: Run, database: Path
) -> None:
    before = dana("run", "show", "r-old").stdout
    archive(dana)
    lose_index(database)
    assert dana("run", "show", "r-old", "--archive", "old").stdout == before


def test_an_index_that_was_made_without_the_archive_takes_up_what_it_lacks(
    dana: Run, database: Path
) -> None:
    before = dana("run", "show", "r-old").stdout
    archive(dana)
    lose_index(database)
    dana("ledger", "search")
    result = dana("run", "show", "r-old", "--archive", "old")
    assert (result.stdout, result.stderr) == (before, "")
    assert dana("run", "show", "r-old").exit_code == 0


def test_a_list_counts_nothing_of_runs_that_no_index_knows(dana: Run, database: Path) -> None:
    archive(dana)
    lose_index(database)
    result = dana("run", "list")
    assert result.exit_code == 0
    [row] = [line for line in result.stdout.splitlines() if line.startswith("r-old")]
    assert row.split() == ["r-old", "archived"]
    said = " ".join(result.stdout.split())
    assert "1 run lies in an archive, whole or in part; name its folder with --archive" in said
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_list_for_programs_has_no_counts_of_runs_that_no_index_knows(
    dana: Run, database: Path
) -> None:
    archive(dana)
    lose_index(database)
    result = dana("run", "list", "--json")
    new, old = lines(result)
    assert [old[name] for name in ("run_id", "frames", "denied", "cost")] == ["r-old", *[None] * 3]
    assert new["frames"] == 4
    assert "1 run lies in an archive" in result.stderr


def test_an_archive_that_has_not_got_the_run_says_what_is_missing(
    dana: Run, database: Path
) -> None:
    archive(dana)
    lose_index(database)
    shutil.move("old/0-12", "elsewhere")
    result = dana("run", "show", "r-old", "--archive", "old")
    assert result.exit_code == 64
    said = " ".join(result.stderr.split())
    assert "Run 'r-old' lies in an archive and not in old:" in said
    assert "no segment in old has it" in said


def test_a_name_that_no_run_has_may_be_that_of_one_in_an_archive(dana: Run, database: Path) -> None:
    archive(dana)
    lose_index(database)
    result = dana("run", "show", "r-older")
    assert result.exit_code == 64
    assert "the rest lies in an archive" in " ".join(result.stderr.split())
    assert "did you mean" in dana("run", "show", "r-older", "--archive", "old").stderr


def test_a_backup_that_was_put_back_shows_its_archived_runs_with_the_archive(
    dana: Run, database: Path
) -> None:
    before = dana("run", "show", "r-old").stdout
    archive(dana)
    assert dana("ledger", "backup", "copy.db").exit_code == 0
    lose_index(database)
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    shutil.copy("copy.db", database)
    assert dana("run", "show", "r-old").exit_code == 64
    assert dana("run", "show", "r-old", "--archive", "old").stdout == before


def test_an_index_of_an_older_form_is_made_anew_and_says_what_it_lacks(
    dana: Run, database: Path
) -> None:
    archive(dana)
    with contextlib.closing(sqlite3.connect(f"{database}.index")) as connection:
        connection.execute("PRAGMA user_version = 1")
    result = dana("run", "show", "r-old")
    assert result.exit_code == 64
    assert "--archive FOLDER" in result.stderr


def test_a_choice_is_not_exported_from_an_index_that_lacks_what_is_archived(
    dana: Run, database: Path
) -> None:
    export = ("ledger", "export", "--format", "jsonl")
    assert dana(*export, "before", *CHOICE).exit_code == 0
    archive(dana)
    lose_index(database)
    result = dana(*export, "after", *CHOICE)
    assert result.exit_code == 64
    assert "entries 1 to 11 lie in an archive" in " ".join(result.stderr.split())
    assert dana(*export, "after", *CHOICE, "--archive", "old").exit_code == 0
    assert files("after")["."] == files("before")["."]


# Calls of which nobody knows the end.


POLICY = """
version: 1
name: desk
tools:
  pay:
    effect: write
    args: {x: {type: integer}}
    redact: [result.card]
"""


@pytest.fixture
def unknown(dana: Run, database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The number of a call of which nobody knows the end, and whose decision is archived."""
    paying(database.absolute(), ({"x": 4}, "c-1"), policy=POLICY)
    [told] = lines(dana("ledger", "recover", "--json"))
    [call] = told["unknown"]
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + 100 * DAY_NS)
    archive(dana)
    return str(call["seq"])


def test_an_unknown_call_that_is_archived_says_so_and_is_shown_with_the_archive(
    dana: Run, unknown: str
) -> None:
    said = " ".join(dana("ledger", "recover").stdout.split())
    assert "the decision lies in an archive; name its folder with --archive FOLDER" in said
    [told] = lines(dana("ledger", "recover", "--json"))
    assert (told["unknown"][0]["args"], told["unknown"][0]["archived"]) == (None, True)
    [told] = lines(dana("ledger", "recover", "--json", "--archive", "old"))
    [call] = told["unknown"]
    assert (call["args"], call["run"], call["archived"]) == ({"x": 4}, "r-1", False)


def test_an_unknown_call_that_is_archived_is_settled_without_its_result(
    dana: Run, unknown: str
) -> None:
    settle = ("ledger", "recover", unknown, "--outcome", "happened", "--reason", "I saw it")
    refused = dana(*settle, "--result", '{"card": "4111"}')
    assert refused.exit_code == 64
    assert "lies in an archive" in refused.stderr
    assert dana(*settle).exit_code == 0


def test_with_the_archive_its_result_is_redacted_as_its_policy_says(
    dana: Run, unknown: str
) -> None:
    settle = ("ledger", "recover", unknown, "--outcome", "happened", "--reason", "I saw it")
    result = '{"card": "no-secret-by-itself", "ok": true}'
    done = lines(dana(*settle, "--result", result, "--json", "--archive", "old"))
    assert done[0]["settled"]
    entry = lines(dana("ledger", "search", "--person", "dana", "--kind", "outcome", "--json"))[0]
    assert entry["result"]["ok"] is True
    assert "no-secret" not in str(entry)


# Keys and names that change.


def verified(dana: Run) -> None:
    """Both the store with the archive, and the archive alone, with the keys of the ledger."""
    Path("kept.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    result = dana("ledger", "verify", "--archive", "old", "--checkpoint", "kept.note")
    assert result.exit_code == 0, result.stdout
    Path("all.keys").write_bytes(dana("ledger", "vkey", "--all").stdout_bytes)
    result = dana("ledger", "archive", "old", "--check", "--vkey", "all.keys")
    assert result.exit_code == 0, result.stdout
    assert dana("ledger", "verify").exit_code == 2


def test_what_is_archived_after_a_rotation_verifies(dana: Run) -> None:
    assert dana("ledger", "rotate").exit_code == 0
    archive(dana)
    verified(dana)


def test_archives_of_before_and_after_a_rotation_verify_together(
    dana: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("first.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    archive(dana)
    assert dana("ledger", "rotate").exit_code == 0
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + 100 * DAY_NS)
    archive(dana)
    assert len(list(Path("old").iterdir())) == 2
    verified(dana)
    # The first key is enough: the newer one is named in the archive, and vouched for.
    result = dana("ledger", "archive", "old", "--check", "--vkey", "first.key")
    assert result.exit_code == 0, result.stdout


def _lost(dana: Run, database: Path) -> None:
    """Put an older copy back, and go on with it."""
    assert dana("ledger", "backup", "copy.db").exit_code == 0
    live("r-lost")
    dana("ledger", "checkpoint")
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    shutil.copy("copy.db", database)
    result = dana("ledger", "restart", "--reason", "the disk", "--yes")
    assert result.exit_code == 0, result.stderr


def test_what_is_archived_after_a_restart_verifies(dana: Run, database: Path) -> None:
    _lost(dana, database)
    archive(dana)
    verified(dana)
    assert dana("ledger", "prove", "5", "-o", "five", "--archive", "old").exit_code == 0


def test_archives_of_before_and_after_a_restart_verify_together(
    dana: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(dana)
    _lost(dana, database)
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + 100 * DAY_NS)
    archive(dana)
    assert len(list(Path("old").iterdir())) == 2
    verified(dana)


@pytest.fixture
def archived(dana: Run, shell: Callable[..., CompletedProcess[bytes]]) -> Run:
    """The command, where a process that has ended has archived the old run."""
    assert shell("ledger", "archive", "old", "--by", "all", "--keep", "30d").returncode == 0
    return dana


def test_salvage_has_archived_runs_again_from_the_archive(archived: Run, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM run")
    result = archived("ledger", "recover", "--salvage", "new.db")
    assert "save again with --archive FOLDER" in " ".join(result.stdout.split())
    saved = ("run", "list", "--store", "sqlite:///new.db", "--archive", "old")
    assert "r-old" not in archived(*saved[:4]).stdout
    Path("new.db").unlink()
    result = archived("ledger", "recover", "--salvage", "new.db", "--archive", "old")
    assert (result.exit_code, "--archive" in result.stdout) == (0, False)
    assert "r-old" in archived(*saved).stdout


def test_salvage_has_archived_runs_again_from_the_store_where_that_can_be_read(
    archived: Run,
) -> None:
    assert archived("ledger", "recover", "--salvage", "new.db").exit_code == 0
    assert (
        "r-old" in archived("run", "list", "--store", "sqlite:///new.db", "--archive", "old").stdout
    )
