"""The demo with a person at the keyboard: a pseudo-terminal that is the session's own."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

from demo.playing import DEMO, ENVIRONMENT, Played


def play_and_answer(where: Path, answer: bytes) -> Played:
    """The demo in a terminal of 80 columns, and `answer` typed once the question stands there."""
    person, program = pty.openpty()
    try:
        fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        demo = subprocess.Popen(
            DEMO,
            cwd=where,
            env={**ENVIRONMENT, "TERM": "xterm"},
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(program)
        said = b""
        # Linux ends with an error here and macOS with nothing, once the program has gone.
        try:
            while part := os.read(person, 65536):
                asked, said = b"[y/n]" in said, said + part
                if b"[y/n]" in said and not asked:
                    os.write(person, answer + b"\n")
        except OSError:
            pass
        return Played(demo.wait(timeout=120), said.decode(), where / "demo-out")
    finally:
        os.close(person)


def test_a_yes_at_the_terminal_lets_the_refund_through(tmp_path):
    played = play_and_answer(tmp_path, b"y")
    assert played.code == 0, played.said
    assert "✓ approved" in played.said
    assert played.refunds == [("A-1017", 4_000), ("A-1031", 25_000)]


def test_a_no_at_the_terminal_stops_the_refund_and_nothing_else(tmp_path):
    played = play_and_answer(tmp_path, b"n")
    assert played.code == 0, played.said
    assert "A person was asked and said no." in played.said
    assert played.refunds == [("A-1017", 4_000)]
    assert len(played.mails) == 12


def test_at_a_terminal_decisions_are_drawn_in_colour(tmp_path):
    played = play_and_answer(tmp_path, b"n")
    for word, colour in (("✓ allowed", 32), ("? asked", 33), ("✕ denied", 31)):
        assert f"\x1b[{colour}m{word}" in played.said
