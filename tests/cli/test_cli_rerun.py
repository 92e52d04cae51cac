"""`saferun run rerun`: a program of its own, made again under the order of the command."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from guarding import observing
from saferun import ConfigError, guard
from saferun import rerun as saferun_rerun
from saferun import run as named_run
from saferun.rerun import VARIABLE, enlist

AGENT = """\
import os, sys
import saferun
from saferun import guard

saw = []
if "LOOK" in os.environ:
    # What SafeRun refuses is refused before this hears of it; this is a witness of the test's own.
    def look(event, args):
        if event.startswith("socket.connect") or event == "subprocess.Popen":
            saw.append(event)
        elif event == "open" and isinstance(args[1], str) and set("wax+") & set(args[1]):
            if os.environ["TMPDIR"] not in str(args[0]):
                saw.append(f"open {args[0]}")
    sys.addaudithook(look)


def look_up(order: str) -> dict:
    with open("called.txt", "a") as file:
        file.write(order)
    return {"order": order}


safe = guard(look_up)


def main() -> None:
    with saferun.run(agent="support", prompt="Look.", run_id="ticket-1"):
        for number in range(int(sys.argv[1])):
            safe(f"A-{number}")
    EXTRA


main()
if "LOOK" in os.environ:
    print("saw", saw)
"""

WORLDLY = """
acts = [
    "import socket; socket.create_connection(('127.0.0.1', 9), 1)",
    "import socket; socket.getaddrinfo('localhost', 80)",
    "import subprocess; subprocess.run(['true'])",
    "import os; os.system('true')",
    "import os; os.fork()",
    "open('called.txt', 'w')",
    "import os; os.open('called.txt', os.O_CREAT | os.O_WRONLY)",
    "import os; os.remove('agent.py')",
    "import os; os.rename('agent.py', os.environ['TMPDIR'] + '/agent.py')",
    "import pathlib; pathlib.Path('made').mkdir()",
    "import sqlite3; sqlite3.connect('.saferun/saferun.db')",
]
met = 0
for act in acts:
    try:
        exec(act)
    except PermissionError as problem:
        met += "A rerun does nothing to the world" in str(problem)
open('out/it.txt', 'w').write('x')
open(os.environ['TMPDIR'] + '/it.txt', 'w').write('x')
open(os.devnull, 'w').write('x')
import datetime
now = datetime.datetime.now(datetime.UTC).timestamp()
print("refused", met == len(acts), "pinned", now < BEFORE)
"""


def write(extra: str = "pass") -> None:
    extra = "\n    ".join(extra.splitlines())
    Path("agent.py").write_text(AGENT.replace("EXTRA", extra), encoding="utf-8")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write()
    monkeypatch.setattr(sys, "argv", ["agent.py", "2"])
    runpy.run_path("agent.py", run_name="__main__")
    observing().store.flush()
    assert Path("called.txt").read_text() == "A-0A-1"
    Path("called.txt").unlink()
    return [sys.executable, "agent.py"]


@pytest.fixture
def again(saferun: Callable[..., Result]) -> Callable[..., Result]:
    return lambda *rest: saferun("run", "rerun", *rest)


def test_a_program_that_was_not_changed_exits_0_and_does_nothing_to_the_world(
    program, again, capfd, monkeypatch
):
    monkeypatch.setenv("LOOK", "1")
    before = set(Path().rglob("*"))
    result = again("ticket-1", "--", *program, "2")
    told = capfd.readouterr()
    assert result.exit_code == 0, told.err
    assert "✓ No divergence: 2 frames of run ticket-1." in result.stdout
    assert "saw []" in told.out
    assert "RERUN of run ticket-1: no tool is called" in told.err
    # The search index of the store, which every command that looks at runs makes.
    left = {each.name for each in set(Path().rglob("*")) - before}
    assert all(each.startswith("saferun.db.index") for each in left)


def test_a_divergence_exits_1_and_is_one_document(program, again):
    result = again("ticket-1", "--json", "--", *program, "1")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["divergence"] == {
        "run": "ticket-1",
        "frame": 2,
        "recorded": {"kind": "call", "tool": "look_up", "args": {"order": "A-1"}},
        "now": {"kind": "ends", "error": None},
    }


def test_a_divergence_is_told_with_where_the_code_was(program, again, capfd):
    result = again("ticket-1", "--", *program, "3")
    assert result.exit_code == 1
    assert "✕ The code parts from the record at frame 3 of run ticket-1." in result.stdout
    assert '  now       look_up(order="A-2")' in result.stdout
    assert 'safe(f"A-{number}")' in capfd.readouterr().err


def test_what_a_program_does_to_the_world_is_refused_but_where_it_may_write(program, again, capfd):
    Path("out").mkdir()
    write(WORLDLY.replace("BEFORE", f"{Path('agent.py').stat().st_mtime + 1}"))
    given = ("--writes", "out", "--pin", "time,ids", "--json")
    result = again("ticket-1", *given, "--", *program, "2")
    assert "refused True pinned True" in capfd.readouterr().err
    assert result.exit_code == 0
    refused = json.loads(result.stdout)["refused"]
    assert [each.split()[0] for each in refused] == [
        *("socket.getaddrinfo", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork"),
        *("open", "open", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect"),
    ]
    assert Path("out/it.txt").read_text() == "x"
    assert Path("agent.py").exists()
    assert not Path("called.txt").exists()
    assert not Path("made").exists()


def test_a_program_that_never_comes_to_saferun_says_nothing(program, again):
    result = again("ticket-1", "--", "true")
    assert result.exit_code == 64
    assert "never imported saferun" in result.stderr


def test_what_cannot_be_made_again_is_a_mistake(program, again):
    assert again("ticket-2", "--", *program, "2").exit_code == 64
    assert again("ticket-1", "--", "./no-such-program").exit_code == 64
    assert again("it.saferun", "--", *program, "2").exit_code == 64
    assert again("ticket-1", "--pin", "luck", "--", *program, "2").exit_code == 64


def test_an_incident_file_is_made_again_as_the_run_is(program, again, saferun, monkeypatch):
    assert saferun("run", "export", "ticket-1", "-o", "it.saferun", "--for", "full").exit_code == 0
    Path(".saferun").rename("gone")
    result = again("it.saferun", "--", *program, "2")
    assert result.exit_code == 0, result.stderr
    assert "✓ No divergence: 2 frames of run ticket-1." in result.stdout
    assert "Whole: " in result.stderr
    assert again("it.saferun", "--", *program, "1").exit_code == 1
    assert not Path("called.txt").exists()
    assert not Path(".saferun").exists()
    safe = guard(look_up)
    with (
        saferun_rerun(Path("it.saferun")) as made,
        named_run(agent="support", prompt="Look.", run_id="ticket-1"),
    ):
        assert [safe(f"A-{number}") for number in range(2)] == [{"order": "A-0"}, {"order": "A-1"}]
    assert made.frames == 2


def look_up(order: str) -> dict:
    raise AssertionError(order)


def test_what_was_not_kept_exits_2_and_says_where(program, again, monkeypatch):
    with open("saferun.toml", "a", encoding="utf-8") as file:
        file.write('\n[record]\nresults = "off"\n')
    from saferun import gate

    gate.configured.cache_clear()
    Path("agent.py").write_text(Path("agent.py").read_text().replace("ticket-1", "ticket-2"))
    monkeypatch.setattr(sys, "argv", ["agent.py", "1"])
    runpy.run_path("agent.py", run_name="__main__")
    result = again("ticket-2", "--json", "--", *program, "1")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["unanswered"]["frame"] == 1


# Whoever can set the environment of an agent.


def test_an_environment_that_orders_nonsense_ends_the_program(program):
    done = subprocess.run(
        [*program, "2"],
        env={**os.environ, VARIABLE: str(Path("saferun.toml").absolute())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "is no order of saferun run rerun" in done.stderr
    assert not Path("called.txt").exists()


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("{}", 0o600, "is no order"),
        (None, 0o600, "cannot be read"),
        ("{}", 0o666, "others may have written"),
        ("{}", 0o620, "others may have written"),
    ],
)
def test_an_order_is_followed_only_if_this_user_alone_can_have_written_it(
    tmp_path, monkeypatch, text, mode, why
):
    path = tmp_path / "order.json"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(ConfigError, match=why):
        enlist()
