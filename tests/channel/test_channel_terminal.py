"""The terminal channel, on a real pseudo-terminal, as the process in front of it would be."""

import os
import pty
import re
import select
import sys
from pathlib import Path

import pytest

from saferun.approval import inert
from saferun.channel.terminal import Terminal

CHILD = """
import msgspec
from saferun.approval import Question, Request
from saferun.call import Demand, Measure, Reason, RunRef
from saferun.channel.terminal import Terminal

class Desk:
    # Says what it is told, and lets go of the question after so many looks.
    def __init__(self, looks=10**9):
        self.looks = looks

    def stands(self, id):
        self.looks -= 1
        return asked if self.looks > 0 else msgspec.structs.replace(asked, **becomes)

    def vote(self, id, **said):
        print(said)
        return Answered(msgspec.structs.replace(asked, state="approved"))

class Answered:
    counted, why = True, None

    def __init__(self, request):
        self.request = request

def ask(args, measure=None, looks=10**9, channels=("terminal",), **then):
    global asked, becomes
    becomes = then or {"state": "expired"}
    question = Question(
        id="a-1", tool="refund", args=args, effect="write", channels=channels,
        demands=(Demand(rule="big", of=("finance",)),),
        run=RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"}),
        reasons=(
            Reason(id="big", effect="ask", source="rule", message="Above $200.", measure=measure),
        ),
    )
    asked = Request(question=question, state="pending")
    print(Terminal().bring(asked, Desk(looks), None))
"""


def talk(script: str, *typed: bytes) -> str:
    """Run a script with a controlling terminal, typing a line at each prompt; its screen."""
    child, screen = pty.fork()
    if child == 0:  # pragma: no cover - the child's own process
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-c", CHILD + script])
    shown = b""
    answers = list(typed)
    while True:
        ready, _, _ = select.select([screen], [], [], 60)
        assert ready, f"the terminal fell silent after {shown!r}"
        try:
            more = os.read(screen, 65_536)
        except OSError:
            break
        if not more:
            break
        shown += more
        if answers and shown.endswith(b"[y/n] "):
            os.write(screen, answers.pop(0))
    os.waitpid(child, 0)
    os.close(screen)
    return shown.decode()


def test_a_person_sees_the_whole_call_and_says_yes() -> None:
    script = "ask({'order_id': 'A-17', 'amount': 25000})"
    shown = talk(script, b"y\n")
    for part in ("refund", "support for maria", "A-17", "25000", "Above $200. (big)", "finance"):
        assert part in shown
    assert "'approved': True" in shown


def test_a_person_sees_how_the_control_stood_beneath_what_it_says() -> None:
    script = (
        "stood = Measure(control='budget', scope='tenant \x1b[2Jacme', used='$4.50', max='$5',"
        " wants='$1')\n"
        "ask({}, measure=stood)"
    )
    shown = talk(script, b"n\n")
    said, below = shown[shown.index("Above $200. (big)") :].splitlines()[:2]
    assert "budget" not in said
    assert "budget, tenant \\x1b[2Jacme: $4.50 of $5, wants $1" in below
    assert "\x1b[2J" not in shown


def test_anything_but_yes_or_no_is_asked_again_and_no_is_no() -> None:
    shown = talk("ask({})", b"maybe\n", b"\n", b"no\n")
    assert shown.count("[y/n]") == 3
    assert "'approved': False" in shown


def test_what_was_typed_before_the_question_is_no_answer() -> None:
    script = (
        "import sys, termios\n"
        "print('type [y/n] ', end='', flush=True)\n"
        "import select; select.select([0], [], [])\n"
        "ask({})"
    )
    shown = talk(script, b"y\n", b"n\n")
    assert "'approved': False" in shown


def test_a_question_expires_without_an_answer() -> None:
    shown = talk("ask({}, looks=2)")
    assert "Too late" in shown
    assert "'approved'" not in shown


def test_a_question_that_was_changed_elsewhere_is_said_to_be_and_asked_anew() -> None:
    script = (
        "ask({'amount': 40}, looks=2, revision=1)\n"
        "question = msgspec.structs.replace(asked.question, args={'amount': 30})\n"
        "asked = msgspec.structs.replace(asked, question=question, revision=1)\n"
        "receipt = Terminal().bring(asked, Desk(), 'asked 0')\n"
        "print(Terminal().bring(asked, Desk(), receipt))"
    )
    # The first is never answered: what is typed goes to the one that says what it is now.
    shown = talk(script, b"", b"y\n")
    assert "were changed meanwhile" in shown
    assert "Too late" not in shown
    assert shown.index("30") < shown.index("'approved': True")
    assert "'revision': 1" in shown
    assert shown.count("[y/n]") == 2


def test_a_question_that_was_withdrawn_is_said_to_be() -> None:
    assert "withdrawn" in talk("ask({}, looks=2, state='cancelled')")


def test_what_another_channel_can_show_whole_is_not_said_no_to_by_nobody() -> None:
    shown = talk("ask({'body': 'x' * 3000}, channels=('terminal', 'console'))")
    assert "'approved'" not in shown
    assert "asked about by console too" in shown


def test_an_argument_too_long_to_show_cannot_be_approved() -> None:
    shown = talk("ask({'body': 'x' * 3000})")
    assert "'approved': False" in shown
    assert "[y/n]" not in shown


def test_more_arguments_than_anybody_reads_cannot_be_approved() -> None:
    shown = talk("ask({f'a{n}': n for n in range(101)})")
    assert "'approved': False" in shown
    assert "[y/n]" not in shown


def test_a_text_and_a_number_are_asked_about_as_two_things() -> None:
    shown = talk("ask({'text': '5', 'number': 5, 'none': None, 'word': 'null'})", b"n\n")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    rows = dict(re.findall(r"(text|number|none|word) +(\S+)", plain))
    assert rows == {"text": '"5"', "number": "5", "none": "null", "word": '"null"'}


def test_hostile_text_cannot_write_to_the_screen() -> None:
    script = (
        "ask({'note': '\\x1b[2J\\x1b[H approved', 'to': '\\u202efdp.exe', 'm': '[bold]x[/bold]'})"
    )
    shown = talk(script, b"n\n")
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "\\u001b[2J" in shown
    assert "[bold]x[/bold]" in shown


def test_without_a_terminal_nobody_can_be_asked(tmp_path: Path) -> None:
    file = tmp_path / "no-terminal"
    file.write_text("")
    assert Terminal(str(file)).unreachable() == "this process has no terminal to ask in"
    assert Terminal(str(tmp_path / "absent")).unreachable() is not None


def test_a_process_in_the_background_does_not_ask() -> None:
    # A job in the background that reads its terminal is stopped by the kernel.
    script = (
        "import os\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.setpgid(0, 0)\n"
        "    print(Terminal().unreachable(), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    assert "not in the foreground" in talk(script)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode ✓ 漢字", "plain text, ünïcode ✓ 漢字"),
        ("a\nb\tc", "a⏎b⇥c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\u2066isolate", "\\u2066isolate"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_inert_text_shows_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_inert_text_says_how_much_was_cut() -> None:
    assert inert("x" * 1_500, 3) == "xxx… (1,497 more characters)"
