"""`saferun run export -o`, `run verify`, `open`, and incident files where a store is named."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.project import lines, live
from saferun.store import Store

Run = Callable[..., Result]
FILE = "incident.saferun"
FULL = ("--for", "full")


@pytest.fixture
def exported(saferun: Run, history: str) -> str:
    """The incident file of a run, and beside it KEY, with the ledger's key."""
    assert saferun("run", "export", history, "-o", FILE, *FULL).exit_code == 0
    Path("KEY").write_bytes(saferun("ledger", "vkey").stdout_bytes)
    return FILE


def test_a_run_is_exported_by_the_beginning_of_its_id(saferun: Run, history: str) -> None:
    result = saferun("run", "export", "r-ref", "-o", FILE, *FULL)
    assert result.exit_code == 0
    assert f"Written: {FILE} has run {history} in 12 entries" in result.stdout
    assert "1 version that decided" in result.stdout
    assert "saferun run verify" in result.stdout


def test_what_was_written_is_told_to_programs(saferun: Run, history: str) -> None:
    [told] = lines(saferun("run", "export", history, "-o", FILE, *FULL, "--json"))
    assert told["run"] == history
    assert (told["entries"], told["policies"], told["signed"], told["vouched"]) == (
        12,
        1,
        True,
        True,
    )
    assert told["bytes"] == Path(FILE).stat().st_size


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ((), "Say what to write"),
        (("-o", "incident.saferun", "--html", "run.html"), "one at a time"),
        (("-o", "incident.saferun"), "Say for whom the file is: --for full has all"),
        (("-o", "incident.saferun", "--yes", "--hide", "args.amount"), "Say for whom"),
        (("-o", "incident.saferun", *FULL, "--sealed"), "what is sealed stays sealed"),
        (("-o", "incident.saferun", *FULL, "--hide", "nonsense"), "neither a part"),
        (("-o", "incident.saferun", *FULL, "--hide", "ids"), "--replace ids"),
        (("-o", "incident.zip"), "named NAME.saferun"),
        (
            ("-o", "nowhere/incident.saferun", *FULL),
            "saferun: nowhere/incident.saferun cannot be written: No such file or directory.",
        ),
    ],
)
def test_what_cannot_be_written_is_said(
    saferun: Run, history: str, args: tuple[str, ...], why: str
) -> None:
    result = saferun("run", "export", history, *args)
    assert result.exit_code >= 64
    assert why in result.stderr


def test_a_preview_says_what_goes_out_and_what_that_costs(saferun: Run, history: str) -> None:
    before = sorted(Path.cwd().iterdir())
    options = ("-o", FILE, "--for", "team", "--hide", "args.order_id", "--preview")
    result = saferun("run", "export", history, *options)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert f"For team: run {history}, 12 entries" in said
    assert "11 entries say less than in the ledger, of 12" in said
    assert "cannot be run again with this file" in said
    assert "Written" not in said
    [told] = lines(saferun("run", "export", history, *options, "--json"))
    assert (told["for"], told["path"], told["reruns"], told["redacted"]) == (
        "team",
        None,
        False,
        11,
    )
    fields = {each["field"]: each for each in told["fields"]}
    order = fields["args.order_id"]
    assert order["hidden"] == order["values"] > 0
    assert fields["user"]["sample"] == "user-1"
    assert "A-17" not in json.dumps(told)
    assert sorted(Path.cwd().iterdir()) == before


def test_what_is_counted_is_the_same_with_and_without_an_incident_file(
    saferun: Run, history: str
) -> None:
    options = ("run", "export", history, "-o", FILE, "--for", "public", "--json")
    [weighed] = lines(saferun(*options, "--preview"))
    [written] = lines(saferun(*options))
    assert {**weighed, "path": FILE} == {
        name: each for name, each in written.items() if name not in ("bytes", "vouched", "signed")
    }


def test_a_file_for_an_audience_verifies_and_says_that_it_cannot_be_rerun(
    saferun: Run, history: str
) -> None:
    result = saferun("run", "export", history, "-o", FILE, "--for", "team")
    assert result.exit_code == 0, result.stderr
    with zipfile.ZipFile(FILE) as unpacked:
        assert b"maria" not in unpacked.read("entries.jsonl")
    Path("KEY").write_bytes(saferun("ledger", "vkey").stdout_bytes)
    result = saferun("run", "verify", FILE, "--vkey", "KEY")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "11 of them are redacted: that they are there is proven" in said
    assert "whose words the file's signature alone vouches for" in said
    assert "to rerun not with this file" in said
    assert lines(saferun("run", "verify", FILE, "--json"))[0]["reruns"] is False


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_at_a_terminal_all_of_a_run_goes_out_once_somebody_has_agreed(
    history: str, answer: bytes, code: int
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "saferun", "run", "export", history, "-o", FILE]
        os.execv(command[0], command)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 4096)
    assert b"For full" in said
    assert not Path(FILE).exists()
    os.write(terminal, answer)
    with contextlib.suppress(OSError):
        # So a terminal ends on Linux.
        while os.read(terminal, 4096):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert Path(FILE).exists() is (code == 0)
    os.close(terminal)


def test_without_the_ledgers_key_nobody_has_signed(saferun: Run, history: str) -> None:
    [own] = [each for each in Path(".saferun/keys").iterdir() if "sign" in each.name]
    own.unlink()
    result = saferun("run", "export", history, "-o", FILE, *FULL)
    assert result.exit_code == 0
    assert "nobody: the ledger's key is not here" in result.stdout


def test_a_key_from_outside_verifies_it(saferun: Run, exported: str) -> None:
    result = saferun("run", "verify", exported, "--vkey", "KEY")
    assert result.exit_code == 0
    assert "Verified: 12 entries of" in result.stdout
    assert "not proven" in result.stdout


def test_without_one_it_is_whole_and_no_more(saferun: Run, exported: str) -> None:
    result = saferun("run", "verify", exported)
    assert result.exit_code == 2
    assert "Whole: 12 entries" in result.stdout
    assert "by another way than this file came by" in " ".join(result.stdout.split())
    [told] = lines(saferun("run", "verify", exported, "--json"))
    assert (told["state"], told["proven"], told["key"], told["file"]) == ("whole", 12, None, FILE)


def test_one_that_was_changed_is_refused(saferun: Run, exported: str) -> None:
    data = bytearray(Path(exported).read_bytes())
    data[100] ^= 1
    Path(exported).write_bytes(data)
    result = saferun("run", "verify", exported)
    assert result.exit_code == 1
    assert "Refused: " in result.stdout
    [told] = lines(saferun("run", "verify", exported, "--json"))
    assert told["state"] == "refused"
    assert saferun("open", exported).exit_code >= 64
    assert saferun("run", "list", "--store", exported).exit_code >= 64


def test_another_ledgers_key_refuses_it(saferun: Run, exported: str, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path}/other/saferun.db", durability="process")
    Path("OTHER").write_text(other.signer().vkey() + "\n", encoding="utf-8")
    other.close()
    assert saferun("run", "verify", exported, "--vkey", "OTHER").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("show", "r-1", "--store", "nobody.saferun"),
        ("list", "--store", "nobody.saferun"),
        ("diff", "nobody.saferun", "r-1"),
        ("import", "nobody.saferun"),
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_is_not_there_is_named_and_taken_for_nothing_else(
    saferun: Run, history: str, words: tuple[str, ...]
) -> None:
    result = saferun("run", *words)
    assert result.exit_code == 64
    assert "nobody.saferun is not there" in result.stderr


def test_of_a_file_that_nobody_signed_it_is_said_what_may_be_missing(
    saferun: Run, exported: str, history: str
) -> None:
    [own] = [each for each in Path(".saferun/keys").iterdir() if "sign" in each.name]
    own.unlink()
    assert saferun("run", "export", history, "-o", "bare.saferun", *FULL).exit_code == 0
    result = saferun("run", "verify", "bare.saferun", "--vkey", "KEY")
    assert result.exit_code == 2
    assert "may have taken entries out of it, or the signature" in " ".join(result.stdout.split())


def test_a_file_that_is_not_there_is_a_mistake_and_no_forgery(saferun: Run) -> None:
    assert saferun("run", "verify", "nothing.saferun").exit_code == 64


def test_runs_are_looked_at_with_a_file_in_the_place_of_a_store(
    saferun: Run, exported: str, history: str
) -> None:
    [listed] = lines(saferun("run", "list", "--store", exported, "--json"))
    assert listed["run_id"] == history
    here = saferun("run", "show", history, "--store", exported, "--json")
    there = saferun("run", "show", history, "--json")
    assert json.loads(here.stdout) == json.loads(there.stdout)
    assert "Whole: 12 entries" in here.stderr
    frame = json.loads(
        saferun("run", "show", history, "--store", exported, "--frame", "2", "--json").stdout
    )
    assert frame["standing"] == "signed"
    assert "refund" in saferun("ledger", "search", "refund", "--store", exported).stdout


@pytest.mark.parametrize(
    "command",
    ["control status", "ledger checkpoint", "ledger vkey"],
)
def test_what_needs_a_store_says_how_to_get_to_one(
    saferun: Run, exported: str, command: str
) -> None:
    result = saferun(*command.split(), "--store", exported)
    assert result.exit_code >= 64
    assert "is an incident file and no store; saferun run import" in result.stderr


def test_a_policy_is_backtested_on_it_as_on_the_store(saferun: Run, exported: str) -> None:
    told = lines(saferun("policy", "backtest", "production", "--json"))
    result = saferun("policy", "backtest", "production", "--store", exported, "--json")
    assert lines(result) == told
    assert told[-1]["summary"]["calls"] == 3
    assert f"{exported}: " in result.stderr


def test_what_a_file_does_not_show_its_audience_nobody_can_decide(
    saferun: Run, history: str
) -> None:
    assert saferun("run", "export", history, "-o", FILE, "--for", "public").exit_code == 0
    *calls, _ = lines(saferun("policy", "backtest", "production", "--store", FILE, "--json"))
    assert {each["verdict"] for each in calls} == {"unknown"}
    assert all("args" in each["missing"] for each in calls)


@pytest.mark.parametrize(
    "command", ["ledger verify", "ledger prove 1", "ledger export all --format jsonl"]
)
def test_what_needs_a_whole_ledger_says_that_it_is_none(
    saferun: Run, exported: str, command: str
) -> None:
    result = saferun(*command.split(), "--store", exported)
    assert result.exit_code >= 64
    assert "holds a run and no whole ledger" in result.stderr


def test_it_is_brought_in_as_an_imported_run(saferun: Run, exported: str, history: str) -> None:
    live("r-more")
    [told] = lines(saferun("run", "import", exported, "--json"))
    assert (told["runs"], told["calls"], told["known"]) == (1, 3, 0)
    [again] = lines(saferun("run", "import", exported, "--json"))
    assert (again["runs"], again["known"]) == (0, 1)
    listed = lines(saferun("run", "list", "--json"))
    [brought] = [each for each in listed if str(each).count("import/")]
    # Nothing that was decided elsewhere is taken for a decision here.
    assert brought["denied"] == 0
    assert brought["imported"]
    assert saferun("ledger", "verify").exit_code == 2


@contextlib.contextmanager
def stopped(command: list[str]) -> "Iterator[subprocess.Popen[str]]":
    """A process that is told to stop at the end of the block, and ends well."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


def test_open_shows_the_console_until_it_is_told_to_stop(exported: str) -> None:
    command = [sys.executable, "-m", "saferun", "open", exported, "--vkey", "KEY", "--json"]
    with stopped(command) as running:
        assert running.stdout is not None
        told: dict[str, Any] = json.loads(running.stdout.readline())
        assert told["state"] == "verified"
        address, _, code = told["url"].partition("#")
        assert code
        with urllib.request.urlopen(address) as answer:
            assert "Come in" in answer.read().decode()


def test_a_link_that_leads_in_goes_into_no_log(exported: str) -> None:
    command = [sys.executable, "-m", "saferun", "open", exported]
    with stopped(command) as running:
        assert running.stdout is not None
        said = ""
        while "--print-link" not in said:
            said += running.stdout.readline()
        assert "#" not in said
