"""A command keeps a checkpoint when it exits with 0; it runs without a shell and within bounds."""

import contextlib
import os
import select
import sys
from pathlib import Path

import pytest

from anchor.offering import bodies, offered, take
from saferun.anchor import AnchorError, Patience, RefusedError
from saferun.anchor.command import CommandPlace
from saferun.errors import ConfigError
from saferun.ledger import Signer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "saferun.toml"
    path.parent.mkdir(mode=0o755)
    path.write_text("", "utf-8")
    path.chmod(0o644)
    return path


def python(file: Path, script: str, *args: str, seconds: float = 30.0) -> CommandPlace:
    return CommandPlace("bucket", [sys.executable, "-c", script, *args], seconds, file)


def test_the_note_comes_on_standard_input_to_the_byte(file, tmp_path) -> None:
    what = offered(bodies(1))
    out = tmp_path / "kept"
    script = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    assert take(python(file, script, str(out)), what) == what.note
    assert out.read_bytes() == what.note


def test_size_and_ledger_stand_in_for_themselves_and_nothing_else_is_read(file, tmp_path) -> None:
    out = tmp_path / "kept"
    script = "import sys; open(sys.argv[1], 'w').write('|'.join(sys.argv[2:]))"
    place = python(file, script, str(out), "a/{ledger}/{size}", "$HOME; `id` {0} {x}")
    take(place, offered(bodies(1)))
    assert out.read_text() == "a/saferun-local-default/4|$HOME; `id` {0} {x}"


def test_a_ledgers_name_is_never_an_option_or_a_path(file, tmp_path) -> None:
    out = tmp_path / "kept"
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    take(
        python(file, script, str(out), "{ledger}"), offered(bodies(1), Signer("--../x", b"s" * 32))
    )
    assert out.read_text() == "x"


def test_a_checkpoint_that_was_kept_is_not_brought_again(file, tmp_path) -> None:
    script = "import sys; open(sys.argv[1], 'a').write('x')"
    place = python(file, script, str(tmp_path / "kept"))
    for last in (0, 4, 4):
        take(place, offered(bodies(1)), last=last)
    assert (tmp_path / "kept").read_text() == "x"


def test_a_ledger_behind_what_the_command_has_kept_is_refused(file, tmp_path) -> None:
    script = "import sys; open(sys.argv[1], 'a').write('x')"
    with pytest.raises(RefusedError, match="kept a checkpoint over 6 entries, and this ledger has"):
        take(python(file, script, str(tmp_path / "kept")), offered(bodies(1)), last=6)
    assert not (tmp_path / "kept").exists()


def test_a_command_that_fails_is_told_with_its_last_words(file) -> None:
    script = "import sys; print('x\\nbucket is gone', file=sys.stderr); sys.exit(3)"
    with pytest.raises(AnchorError, match=r"ended with 3: bucket is gone\."):
        take(python(file, script), offered(bodies(1)))
    with pytest.raises(AnchorError, match=r"ended with 4, and said nothing\."):
        take(python(file, "raise SystemExit(4)"), offered(bodies(1)))


def test_a_command_that_says_very_much_neither_hangs_nor_fills_memory(file) -> None:
    script = "import sys; sys.stderr.write('x' * 5_000_000); sys.stdout.write('y' * 5_000_000)"
    take(python(file, script), offered(bodies(1)))


def test_a_command_that_does_not_read_is_no_failure(file) -> None:
    take(python(file, "pass"), offered(bodies(1)))


def test_a_command_that_hangs_is_ended_with_all_that_it_started(file, tmp_path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, sys, subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
        "time.sleep(600)\n"
    )

    class UntilStarted(Patience):
        def left(self) -> float:
            return 0.0 if pids.exists() else 30.0

    place = python(file, script, str(pids))
    with pytest.raises(AnchorError, match="took longer than it may"):
        place.take(offered(bodies(1)), 0, UntilStarted(30))
    for pid in map(int, pids.read_text().split()):
        with contextlib.suppress(ProcessLookupError):
            # Killed, though it may take a moment until it is seen to be.
            ended = os.pidfd_open(pid)
            assert select.select([ended], [], [], 30)[0]
            os.close(ended)


def test_a_command_that_is_not_there_is_told(file) -> None:
    for named, said in (("nowhere-at-all", "no command 'nowhere-at-all'"), ("./x", "be started")):
        with pytest.raises(AnchorError, match=said):
            take(CommandPlace("bucket", [named], 5, file), offered(bodies(1)))


def test_a_program_is_never_looked_for_in_the_working_folder(file, tmp_path, monkeypatch) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "keep-it").write_text("#!/bin/sh\ntouch caught\n", "utf-8")
    (trap / "keep-it").chmod(0o755)
    monkeypatch.chdir(trap)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    with pytest.raises(AnchorError, match="no command 'keep-it'"):
        take(CommandPlace("bucket", ["keep-it"], 5, file), offered(bodies(1)))
    assert not (trap / "caught").exists()


def test_a_path_is_meant_from_the_configurations_folder(file, tmp_path, monkeypatch) -> None:
    script = file.parent / "keep.sh"
    script.write_text("#!/bin/sh\ncat > kept\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    what = offered(bodies(1))
    take(CommandPlace("bucket", ["./keep.sh"], 30, file), what)
    assert (file.parent / "kept").read_bytes() == what.note


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_configuration_that_others_may_write_has_no_commands(file, mode) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match=r"others may write it; .* chmod go-w"):
        CommandPlace("bucket", ["true"], 5, file)


def test_a_configuration_in_a_folder_that_others_may_write_has_no_commands(file) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write its folder"):
        CommandPlace("bucket", ["true"], 5, file)
