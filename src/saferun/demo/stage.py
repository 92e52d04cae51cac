"""What the user watches: one row a call, drawn the moment it is decided.

Plain lines from top to bottom and no more than 80 columns, so that a terminal, a pipe and a
log show the same. Nothing that a model or a tool said is taken for markup or for a control
sequence; `inert` makes it visible and cuts it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from saferun.approval import inert
from saferun.call import Decision, Verdict
from saferun.demo.proof import Verified
from saferun.demo.transcript import Message
from saferun.demo.world import State

WIDTH = 80

_ALLOWED = ("✓ allowed", "green")
_APPROVED = ("✓ approved", "green")
_ASKED = ("? asked", "yellow")
_DENIED = ("✕ denied", "red")
_FAILED = ("! failed", "magenta")
_MODEL = ("◇ model", "dim")

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "allow": _ALLOWED,
    "ask": _ASKED,
    "deny": _DENIED,
    "defer": _ASKED,
}


class Stage:
    """Draws one demo on one console. Methods are called in the order of what happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(WIDTH, console.width)
        self._calls = 0
        self._last: Decision | None = None
        self._folded = 0
        self._unsaid: str | None = None

    # The session.

    def opens(self, *about: tuple[str, str]) -> None:
        """The title, whom and what it is about, and the head of the table of calls."""
        self._print()
        self._print(Text("An agent at work, and SafeRun in front of its tools", style="bold"))
        self._print()
        self._facts(*about)
        self._print()
        self._row("#", ("decision", ""), "tool", "asked for", style="dim")
        self._print(Rule(characters="─", style="dim"))

    def speaks(self, turn: Message) -> None:
        """A turn of the model's, before the calls that it asks for are made."""
        if self._unsaid is not None:
            self._unfold()
        self._unsaid = turn.content
        # What may turn out to be one more of the same is kept back until that is decided.
        if not self._may_repeat(turn):
            self._unfold()

    def decided(self, decision: Decision) -> None:
        """A call that has been decided on, before it runs."""
        self._calls += 1
        if self._repeats(decision):
            self._unsaid = None
            self._folded += 1
            return
        self._unfold()
        self._last = decision
        asked = decision.approval_id is not None
        word = _ASKED if asked else _VERDICTS[decision.verdict]
        self._row(
            str(self._calls), word, decision.tool, described(decision.tool, decision.args)
        )
        if asked and decision.verdict == "allow":
            self._line(_APPROVED, _reason(decision, "ask"))
        elif asked:
            self._line(_DENIED, _reason(decision, decision.verdict))
        elif decision.verdict != "allow":
            self._line(("", ""), _reason(decision, decision.verdict))

    def failed(self, tool: str, problem: Exception) -> None:
        """A tool that was let through and broke."""
        self._line(_FAILED, Text(inert(f"{tool}: {problem}", 200)))

    def _may_repeat(self, turn: Message) -> bool:
        last = self._last
        return (
            last is not None
            and last.tool == "send_email"
            and [call.name for call in turn.tool_calls] == [last.tool]
        )

    def _repeats(self, decision: Decision) -> bool:
        last = self._last
        return (
            last is not None
            and self._unsaid is not None
            and last.verdict == decision.verdict == "allow"
            and last.args.get("to") == decision.args.get("to")
        )

    def _unfold(self) -> None:
        """Draw what was kept back."""
        if self._folded:
            more = f"× {self._folded} more to the same lead, each worded differently"
            self._line(_ALLOWED, Text(more, style="dim"))
        self._folded = 0
        if self._unsaid:
            self._line(_MODEL, Text(inert(self._unsaid, 400), style="dim"))
        self._unsaid = None

    # What came of it.

    def shows(self, state: State) -> None:
        """What database, mailbox and folder say themselves."""
        self._unfold()
        self._heading("What the tools have really done")
        refunds = " · ".join(f"{dollars(amount)} on {order}" for order, amount in state.refunds)
        leads = ", ".join(sorted(set(state.mails)))
        self._facts(
            ("orders.db", f"{_counted(len(state.refunds), 'refund')}: {refunds or 'nothing'}"),
            ("mail", f"{_counted(len(state.mails), 'mail')}, to {leads or 'nobody'}"),
            ("files", f"{_counted(len(state.files), 'file')}: {', '.join(state.files) or 'none'}"),
        )

    def verified(self, command: Sequence[str], verified: Verified) -> None:
        """The command that verified the ledger, what it said and how it exited."""
        self._heading("What the ledger proves, by a checkpoint that was kept outside")
        self._command(command, style="bold", prompt="$ ")
        for line in verified.said.splitlines()[:12]:
            self._print(Text(inert(line, 400), style="green" if verified.code == 0 else "red"))
        self._print(Text(f"exit {verified.code}", style="dim"))

    def closes(self, places: Sequence[tuple[str, str]], commands: Sequence[Sequence[str]]) -> None:
        """Where everything lies, and what to try next."""
        self._heading("Where everything lies")
        self._facts(*places)
        self._heading("Try next")
        for command in commands:
            self._command(command)

    def differs(self, differences: Sequence[str]) -> None:
        """Why the demo has failed."""
        self._print()
        for difference in differences:
            self._line(_FAILED, Text(inert(difference, 400)))

    # Lines.

    def _row(
        self, number: str, word: tuple[str, str], tool: str, what: str, style: str = ""
    ) -> None:
        row = Table.grid(padding=(0, 2, 0, 0), expand=True)
        row.add_column(width=3, justify="right")
        row.add_column(width=10)
        row.add_column(width=13, no_wrap=True, overflow="ellipsis")
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        row.add_row(
            Text(number, style=style or "dim"),
            Text(word[0], style=style or word[1]),
            Text(inert(tool, 40), style=style),
            Text(what, style=style),
        )
        self._print(row)

    def _line(self, word: tuple[str, str], said: Text) -> None:
        line = Table.grid(padding=(0, 2, 0, 0), expand=True)
        line.add_column(width=3)
        line.add_column(width=10)
        line.add_column(ratio=1, overflow="fold")
        line.add_row("", Text(word[0], style=word[1]), said)
        self._print(line)

    def _heading(self, title: str) -> None:
        self._print()
        self._print(Text(title, style="bold"))

    def _facts(self, *facts: tuple[str, str]) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, said in facts:
            table.add_row(Text(label), Text(inert(said, 600)))
        self._print(table)

    def _command(self, words: Sequence[str], style: str = "", prompt: str = "") -> None:
        """A command to copy: broken before an option where it would not fit on a line."""
        line, lines = prompt, []
        for at, word in enumerate(words):
            starts = word.startswith("--")
            ahead = len(" ".join(words[at : at + 2] if starts else [word]))
            if starts and len(line) + ahead + 3 > self._width - 2:
                lines.append(f"{line} \\")
                line = " " * (len(prompt) + 4) + word
            else:
                line += word if line == prompt else f" {word}"
        for each in (*lines, line):
            self._print(Text(each, style=style, overflow="fold"))

    def _print(self, what: Any = "") -> None:
        self._console.print(Padding(what, (0, 0, 0, 1)), width=self._width, highlight=False)


def described(tool: str, args: Mapping[str, Any]) -> str:
    """A call's arguments in short, as a colleague would say them."""
    match tool, dict(args):
        case "look_up_order", {"order_id": str(order), **rest}:
            said = order
        case "refund", {"order_id": str(order), "amount": int(amount), **rest}:
            rest.pop("reason", None)
            said = f"{dollars(amount)} on {order}"
        case "send_email", {"to": str(to), "subject": str(subject), **rest}:
            rest.pop("body", None)
            said = f"{to}: {subject}"
        case "save_file", {"name": str(name), **rest}:
            rest.pop("text", None)
            said = name
        case _, rest:
            said = ""
    also = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in rest.items()]
    return inert(", ".join(part for part in (said, *also) if part), 200)


def dollars(cents: int) -> str:
    return f"${cents / 100:,.2f}"


def _reason(decision: Decision, effect: Verdict) -> Text:
    """What spoke for the verdict first, and where in the policy it stands."""
    for reason in decision.reasons:
        if reason.effect == effect:
            message = reason.message.rstrip(".")
            said = Text(f"{inert(message[:1].upper() + message[1:], 300)}.")
            return said.append(f" {reason.id}", style="dim")
    return Text("")


def _counted(many: int, one: str) -> str:
    return f"{many} {one}" if many == 1 else f"{many} {one}s"


def shown(path: Path) -> str:
    """A path as a user would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
