"""The command among others in a shell: exit codes, pipes, interrupts, colours."""

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from saferun.cli import app, screen


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["policy"],
        ["polcy", "check", "production"],
        ["policy", "check"],
        ["policy", "check", "production", "--jsn"],
        ["policy", "check", "nowhere.yaml"],
        ["policy", "check", "nobody"],
        ["run", "list", "--limit", "0"],
        ["run", "list", "--store", "mysql://host/db"],
        ["run", "list", "--store", "sqlite:///nowhere.db"],
        ["run", "show", "r-unknown"],
        ["ledger", "verify", "--vkey", "nowhere.key"],
    ],
)
def test_what_cannot_be_done_exits_64_and_says_so_on_stderr_alone(saferun, history, wrong) -> None:
    result = saferun(*wrong)
    assert result.exit_code == 64
    assert result.stdout == ""
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_a_typo_in_a_command_names_what_was_meant(saferun) -> None:
    assert "Did you mean 'policy'?" in saferun("polcy").stderr


def test_a_configuration_that_cannot_be_read_is_one_sentence(saferun) -> None:
    Path("saferun.toml").write_text("store = [", encoding="utf-8")
    result = saferun("run", "list")
    assert result.exit_code == 64
    assert len(result.stderr.splitlines()) == 1


def test_a_fault_in_saferun_is_told_apart_from_what_a_command_found(saferun, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["saferun.cli.policy.check"], "policy_file", lambda *_: 1 // 0)
    result = saferun("policy", "check", "production")
    assert result.exit_code == 70
    assert "ZeroDivisionError" in result.stderr


def test_help_and_version_are_no_errors(saferun) -> None:
    assert saferun("--help").exit_code == 0
    assert saferun("ledger", "verify", "-h").exit_code == 0
    assert saferun("--version").stdout.startswith("saferun-sdk ")


def test_every_command_takes_a_store_and_json_but_the_demo(saferun) -> None:
    for command in ("init", "doctor", "policy check", "policy explain", "run list", "run show"):
        told = saferun(*command.split(), "--help").stdout
        assert "--store" in told
        assert "--json" in told
    for command in ("verify", "checkpoint", "vkey", "prove", "consistency"):
        told = saferun("ledger", command, "--help").stdout
        assert "--store" in told
        assert "--json" in told


def test_the_first_sentence_of_every_command_fits_its_line(saferun) -> None:
    for noun in ([], ["policy"], ["run"], ["approval"], ["ledger"]):
        assert "..." not in saferun(*noun, "--help").stdout.partition("Commands:")[2]


def test_exit_codes_reach_the_shell(shell, history) -> None:
    assert shell("--version").returncode == 0
    assert shell("ledger", "verify").returncode == 2
    assert shell("ledger", "verfy").returncode == 64


def test_a_pipe_gets_no_escape_sequences_and_at_most_80_columns(shell, history) -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    for command in (["run", "list"], ["run", "show", history], ["doctor"], ["ledger", "verify"]):
        said = shell(*command, env=environment).stdout.decode()
        assert said
        assert "\x1b" not in said
        assert max(map(len, said.splitlines())) <= 80


def _on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "saferun", *command],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        env={**os.environ, "TERM": "xterm", **environment},
    ):
        os.close(slave)
        said = b""
        try:
            while part := os.read(master, 65_536):
                said += part
        except OSError:
            pass  # Linux says EIO where a terminal's other side is gone
    os.close(master)
    return said.decode()


def test_a_terminal_gets_colours_unless_it_asks_for_none(history) -> None:
    red = "\x1b[31m"
    assert red in _on_a_terminal(["run", "list"], {})
    assert red not in _on_a_terminal(["run", "list"], {"NO_COLOR": "1"})


def test_an_encoding_without_icons_is_no_reason_to_fail(shell, history) -> None:
    result = shell("run", "list", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert b"\\u2715" in result.stdout


@pytest.mark.parametrize(
    "command", [["run", "list"], ["run", "list", "--json"], ["ledger", "vkey"]]
)
def test_a_reader_that_went_away_is_no_finding(history, command) -> None:
    end, start = os.pipe()
    os.close(end)
    process = subprocess.Popen(
        [sys.executable, "-m", "saferun", *command], stdout=start, stderr=subprocess.PIPE
    )
    os.close(start)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (74, b"")


def test_an_output_that_cannot_be_written_is_no_finding(history) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "saferun", "ledger", "verify"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", ["1", "2"])
@pytest.mark.parametrize("command", [("verify",), ("verify", "--json"), ("vkey",)])
def test_the_answer_is_the_same_where_an_output_is_closed(history, command, closed) -> None:
    script = f'exec "$@" {closed}>&-'
    call = ["sh", "-c", script, "sh", sys.executable, "-m", "saferun", "ledger", *command]
    done = subprocess.run(call, capture_output=True, check=False)
    assert done.returncode == (0 if command == ("vkey",) else 2)
    assert done.stderr == b""
    assert bool(done.stdout) is (closed == "2")


def test_an_interrupt_exits_130_quietly(policy) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "saferun", "policy", "explain", "production", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    # More than a pipe holds: once it is written, the command is reading.
    process.stdin.write(b" " * 1_000_000)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint.strip()) == (130, b"")


class Screen(Console):
    """A terminal that one can read."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO(), force_terminal=True, width=80)

    @property
    def said(self) -> str:
        assert isinstance(self.file, io.StringIO)
        return self.file.getvalue()


@pytest.mark.parametrize(("seconds", "bar"), [(0.5, False), (1.5, True)])
def test_a_person_sees_a_bar_only_where_work_takes_long(monkeypatch, seconds, bar) -> None:
    console, times = Screen(), iter([0.0, seconds])
    monkeypatch.setattr(screen, "screen", lambda **_: console)
    monkeypatch.setattr(screen, "monotonic", lambda: next(times))
    with screen.progress("verifying", 10_000) as done:
        done(4_096)
    assert ("verifying" in console.said) == bar


def test_a_program_sees_no_bar(capsys, monkeypatch) -> None:
    monkeypatch.setattr(screen, "PATIENCE", -1)
    with screen.progress("verifying", 10_000) as done:
        done(4_096)
    assert capsys.readouterr() == ("", "")


def test_help_loads_neither_a_drawing_library_nor_a_schema_compiler() -> None:
    code = (
        "import sys\n"
        "from saferun.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*(name for name in ('rich', 'jsonschema_rs', 'ruamel.yaml', 'cryptography')"
        " if name in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert said.stdout.splitlines()[-1] == ""


def test_the_app_is_what_the_console_script_calls() -> None:
    assert app.info.name == "saferun"


def test_a_sentence_on_a_terminal_is_broken_where_that_ends(tmp_path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "saferun", "ledger", "verify", "--store", "sqlite:///a/b.db"]
    subprocess.run(
        command, stderr=theirs, cwd=tmp_path, check=False, env={**environment, "TERM": "xterm"}
    )
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    lines = said.splitlines()
    assert len(lines) > 1
    assert lines[0].startswith("saferun: There is no store at")
    assert max(map(len, lines)) <= max(60, max(map(len, said.split())) + 9)
