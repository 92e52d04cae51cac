"""`saferun run export --html`: a preview of what goes out, and then the file or nothing."""

import json
import os
import pty
import stat
import sys
from pathlib import Path

import pytest

from cli.project import POLICY, lines, live
from saferun.store import Reader

FILE = Path("run.html")


def fields(result) -> dict[str, dict]:
    assert result.exit_code == 0, result.stderr
    [told] = lines(result)
    return {each["field"]: each for each in told["fields"]}


def test_a_run_goes_into_one_file_that_only_its_owner_reads(saferun, history) -> None:
    result = saferun("run", "export", "r-ref", "--html", str(FILE))
    assert result.exit_code == 0, result.stderr
    assert "For public: run r-refunds, 4 frames" in result.stdout
    assert "nothing: whoever has it can change it" in result.stdout
    page = FILE.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "maria" not in page
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600


def test_a_preview_counts_what_goes_out_and_writes_nothing(saferun, history, database) -> None:
    before = sorted(Path.cwd().iterdir())
    found = fields(saferun("run", "export", history, "--html", str(FILE), "--preview", "--json"))
    assert not FILE.exists()
    assert sorted(Path.cwd().iterdir()) == before
    order = found["args.order_id"]
    assert (order["values"], order["replaced"]) == (3, 3)
    assert order["sample"].startswith("value-")
    assert (found["output"]["hidden"], found["prompt"]["hidden"]) == (1, 1)
    assert "A-17" not in json.dumps(found)


def test_what_is_counted_is_the_same_with_and_without_a_file(saferun, history) -> None:
    preview = fields(saferun("run", "export", history, "--preview", "--json"))
    written = fields(saferun("run", "export", history, "--html", str(FILE), "--json"))
    assert preview == written


def test_parts_and_paths_are_chosen_and_hiding_wins(saferun, history) -> None:
    options = ("--for", "full", "--hide", "args.amount", "--show", "args.amount")
    options += ("--replace", "users")
    found = fields(saferun("run", "export", history, "--preview", "--json", *options))
    assert found["args.amount"]["hidden"] == 3
    assert found["args.order_id"]["kept"] == 3
    assert found["user.id"]["sample"] == "user-1"


def test_the_ledger_hears_nothing_of_it(saferun, history, database) -> None:
    def size() -> int:
        with Reader(database) as reader:
            return reader.head().size

    before = size()
    assert saferun("run", "export", history, "--html", str(FILE)).exit_code == 0
    assert size() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--html FILE or -o FILE.saferun, or --preview"),
        (("--html", "x.html", "--hide", "nonsense"), "neither a part"),
        (("--html", "no/such/folder/x.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(saferun, history, options, said) -> None:
    result = saferun("run", "export", history, *options)
    assert result.exit_code >= 64
    assert said in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_at_a_terminal_it_asks_first(history, answer, code) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "saferun", "run", "export", history, "--html", str(FILE)]
        os.execv(command[0], command)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 4096)
    assert not FILE.exists()
    os.write(terminal, answer)
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        # So a terminal ends on Linux.
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert FILE.exists() is (code == 0)
    os.close(terminal)


def test_sensitive_values_are_opened_only_if_asked_for(saferun, policy) -> None:
    sealing = POLICY.replace("    rules:", "    sensitive: [args.order_id]\n    rules:")
    policy.write_text(sealing, encoding="utf-8")
    live("r-1", order="quokka-4711")
    shown = ("run", "export", "r-1", "--html", str(FILE), "--for", "full")
    for options, found in (((), False), (("--sealed",), True)):
        assert saferun(*shown, *options).exit_code == 0
        assert ("quokka-4711" in FILE.read_text(encoding="utf-8")) is found
