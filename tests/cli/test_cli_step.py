"""`saferun run step` at a terminal, which is a pseudo one of 80 columns."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from cli.project import lines, live

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class At:
    """Somebody at a terminal: what stands on their screen, and what they press."""

    def __init__(self, fd: int, process: subprocess.Popen) -> None:
        self._fd, self.process = fd, process
        self.sent = b""
        self.screen = ""

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def sees(self, text: str, within: float = 20) -> str:
        """The newest screen, once it has that text."""
        end = time.monotonic() + within
        while text not in self.screen:
            ready, _, _ = select.select([self._fd], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} is not on\n{self.screen}"
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                raise AssertionError(f"it ended, with\n{self.screen}") from None
            self.sent += data
            drawn = self.sent.decode("utf-8", "ignore").rsplit("\x1b[H", 1)
            if len(drawn) > 1 and "\x1b[J" in drawn[1]:
                self.screen = ESCAPES.sub("", drawn[1].split("\x1b[J")[0]).replace("\r", "")
        return self.screen

    def gets(self, data: bytes) -> None:
        """Wait until the terminal was sent that."""
        while data not in self.sent:
            ready, _, _ = select.select([self._fd], [], [], 20)
            assert ready, f"{data!r} was not sent"
            self.sent += os.read(self._fd, 65536)

    def forget(self) -> None:
        self.screen = ""

    def ends(self) -> int:
        # What it still has to say has to be read, or it waits for that.
        with contextlib.suppress(OSError):
            while data := os.read(self._fd, 65536):
                self.sent += data
        return self.process.wait(timeout=20)


@contextlib.contextmanager
def at(*args: str, rows: int = 24, columns: int = 80, **environment: str) -> Iterator[At]:
    person, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "saferun", "run", "step", *args],
        stdin=program,
        stdout=program,
        stderr=program,
        env={**plain, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(program)
    try:
        yield At(person, process)
    finally:
        process.kill()
        process.wait()
        os.close(person)


def test_one_steps_through_a_run_by_keys(history) -> None:
    with at(history) as person:
        assert "I will refund it." in person.sees("1 / 4")
        person.press("j")
        assert "amount=4000" in person.sees("2 / 4")
        person.press("n")
        screen = person.sees("3 / 4")
        assert "amount may be at most 100000" in screen
        assert "amount  4000 → 450000" in screen
        person.press("n")
        assert "approved by dana" in person.sees("4 / 4")
        person.press("q")
        assert person.ends() == 0
    # The screen that was there before is given back.
    assert person.sent.rstrip().endswith(b"\x1b[?1049l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_by_a_signal_gets_the_terminal_back(history, number) -> None:
    with at(history) as person:
        person.sees("1 / 4")
        person.process.send_signal(number)
        assert person.ends() == 128 + number
    assert person.sent.endswith(b"\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize("rows", [24, 0])
def test_while_it_is_stopped_the_terminal_is_given_back(history, rows) -> None:
    with at(history, rows=rows, columns=80 if rows else 0) as person:
        person.gets(b"\x1b[J")
        person.process.send_signal(signal.SIGTSTP)
        # In a session where nobody could have it go on it is not kept, and goes on at once.
        person.gets(b"\x1b[?25h\x1b[?1049l\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H")
        person.press("q")
        assert person.ends() == 0


def test_help_find_and_go_to_work_at_the_terminal(history) -> None:
    with at(history) as person:
        person.sees("1 / 4")
        person.press("?")
        assert "hold another run beside" in person.sees("Any key goes back.")
        person.press(" g3\r")
        person.sees("3 / 4")
        person.press("/customer\r")
        person.sees("4 / 4")
        person.press("nn")
        person.sees("nothing else was denied or asked")


def test_another_run_is_held_beside(history) -> None:
    live("r-other", order="B-2")
    with at(history, "--frame", "2") as person:
        person.sees("2 / 4")
        person.press("dr-other\r")
        screen = person.sees("beside run r-other")
        assert 'order_id  "A-17" → "B-2"' in screen


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_line_fits_the_screen(history, columns) -> None:
    with at(history, columns=columns) as person:
        for number in range(1, 5):
            screen = person.sees(f"{number} / 4")
            assert all(len(line) <= columns for line in screen.split("\n"))
            # How to leave and how to learn more are never what is cut.
            assert "? help · q leave" in screen
            assert len(screen.split("\n")) <= 24
            person.press("j")


def test_a_terminal_that_changes_its_size_is_drawn_anew(history) -> None:
    with at(history) as person:
        assert max(map(len, person.sees("1 / 4").split("\n"))) == 80
        person.forget()
        person.resize(12, 50)
        screen = person.sees("1 / 4")
        assert max(map(len, screen.split("\n"))) == 50
        assert len(screen.split("\n")) <= 12


def test_without_colour_the_screen_says_the_same(history) -> None:
    with at(history, NO_COLOR="1") as person:
        person.sees("1 / 4")
        person.press("nn")
        assert "✕ refund  denied" in person.sees("4 / 4")
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", person.sent)


def test_a_run_that_goes_on_is_followed_until_one_moves(policy) -> None:
    from guarding import Yes
    from saferun import Gate, guard

    gate = Gate(policy="production", approvals=Yes("desk"))
    safe = guard(refund, gate=gate)
    with gate.run(run_id="r-live", agent="support") as run:
        run.model("first")
        gate.store.flush()
        with at("r-live", "--follow") as person:
            person.sees("● live  1 / 1")
            safe("A-1", 10, "EUR")
            gate.store.flush()
            person.sees("● live  2 / 2")
            person.press("k")
            person.sees("1 / 2")
            run.model("third")
            gate.store.flush()
            person.sees("+1 new  1 / 3")
    gate.close()


def refund(order_id: str, amount: int, currency: str = "USD") -> str:
    return "done"


def test_hostile_values_cannot_control_the_terminal(policy) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\u202eyned\u202c \x9b1m"
    live("r-hostile", order=hostile, result=hostile)
    with at("r-hostile") as person:
        person.sees("1 / 4")
        person.press("j")
        person.sees("2 / 4")
    said = person.sent.decode("utf-8", "ignore")
    assert "owned" in said
    assert not {"\x07", "\u202e", "\u202c", "\x9b"} & set(said)
    assert "\x1b]" not in said
    assert said.count("\x1b[2J") == 1


def test_where_there_is_no_terminal_it_says_what_to_use(saferun, history) -> None:
    result = saferun("run", "step", history)
    assert result.exit_code == 64
    assert "run step needs a terminal" in result.stderr


def test_for_programs_it_has_each_frame_on_a_line(saferun, history) -> None:
    frames = lines(saferun("run", "step", history, "--json", "--frame", "2"))
    assert [frame["number"] for frame in frames] == [2, 3, 4]
    assert frames[1]["grounds"]["refund.args"]
    assert frames[2]["near"] == ["approved", "retried"]
    assert {frame["standing"] for frame in frames} <= {"signed", "unsigned"}
