"""What the user watches: one row a call, drawn the moment it is decided.

Plain lines from top to bottom and no more than 80 columns, so that a terminal, a pipe and a
log show the same. Nothing that a model or a tool said is taken for markup or for a control
sequence: `inert` makes both visible, and cuts what is long.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from saferun.approval import inert
from saferun.call import Decision, Verdict
from saferun.demo.proof import Verified
from saferun.demo.transcript import Message
from saferun.demo.world import State, World

WIDTH = 80

_MAX_SAID = 12
"""Lines of a command's output that are shown."""

_ALLOWED = ("✓ allowed", "green")
_APPROVED = ("✓ approved", "green")
_ASKED = ("? asked", "yellow")
_DEFERRED = ("? deferred", "yellow")
_DENIED = ("✕ denied", "red")
_FAILED = ("! failed", "magenta")
_MODEL = ("◇ model", "dim")
_NOTHING = ("", "")

_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "allow": _ALLOWED,
    "ask": _ASKED,
    "deny": _DENIED,
    "defer": _DEFERRED,
}

_PLACES = (
    ("policies/support.yaml", "the policy: yours to edit, and kept by the next demo"),
    ("store/", "decisions, outcomes and the ledger, with its keys"),
    ("shop/", "orders.db, mail/ and files/, as the tools left them"),
    ("kept-outside/", "the checkpoint, and the key to check it with"),
)


class Stage:
    """Draws one demo on one console. Its methods are called in the order of what happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(WIDTH, console.width)
        self._calls = 0
        self._last: Decision | None = None
        self._folded = 0
        self._held: str | None = None

    # The session.

    def opens(self, *about: tuple[str, str]) -> None:
        """The title, what it is about, and the head of the table of calls."""
        self._print()
        self._print(Text("An agent at work, and SafeRun in front of its tools", style="bold"))
        self._print()
        self._facts(*about)
        self._print()
        self._row("#", ("decision", "dim"), Text("tool", "dim"), Text("asked for", "dim"))
        self._print(Text("─" * (self._width - 2), style="dim"))

    def speaks(self, turn: Message) -> None:
        """A turn of the model's, before the calls that it asks for are made.

        Where it asks for one more mail to the same lead, it is kept back until that is decided:
        if it is allowed, it is counted and not drawn.
        """
        if self._asks_for_more(turn):
            self._held = turn.content
        else:
            self._unfold()
            self._says(turn.content)

    def decided(self, decision: Decision) -> None:
        """A call that has been decided on. It runs after this, if at all."""
        self._calls += 1
        if self._held is not None and decision.verdict == "allow":
            self._held = None
            self._folded += 1
            return
        self._unfold()
        self._last = decision
        asked = decision.approval_id is not None
        word = _ASKED if asked else _VERDICTS[decision.verdict]
        what = described(decision.tool, decision.args)
        self._row(str(self._calls), word, Text(inert(decision.tool, 40)), Text(what), cut=True)
        if asked and decision.verdict == "allow":
            self._why(_APPROVED, decision, "ask")
        elif asked:
            self._why(_DENIED, decision, decision.verdict)
        elif decision.verdict != "allow":
            self._why(_NOTHING, decision, decision.verdict)

    def failed(self, tool: str, problem: Exception) -> None:
        """A tool that was let through, and broke."""
        self._row("", _FAILED, Text(inert(tool, 40)), Text(inert(str(problem), 200)))

    # What came of it.

    def shows(self, state: State) -> None:
        """What the database, the mailbox and the folder say themselves."""
        self._unfold()
        self._heading("What the tools have really done")
        refunds = ", ".join(f"{dollars(amount)} on {order}" for order, amount in state.refunds)
        leads = ", ".join(sorted(set(state.mails)))
        self._facts(
            ("orders.db", _counted(state.refunds, "refund", f": {refunds}")),
            ("mail/", _counted(state.mails, "mail", f" to {leads}")),
            ("files/", _counted(state.files, "file", f": {', '.join(state.files)}")),
        )

    def verified(self, command: Sequence[str], verified: Verified) -> None:
        """The command that verified the ledger, what it said and how it exited."""
        self._heading("What the ledger proves, by a checkpoint kept outside its folder")
        self._command(command, prompt="$ ")
        style = "green" if verified.code == 0 else "red"
        for line in verified.said[:_MAX_SAID]:
            self._hang(Text(), Text(inert(line, 400), style=style))
            style = "dim"
        self._print(Text(f"exit {verified.code}", style="dim"))

    def closes(self, world: World, *commands: Sequence[str]) -> None:
        """Where everything lies, and what to try next."""
        self._heading(f"Where everything lies: {shown(world.folder)}")
        self._facts(*_PLACES)
        self._heading("Try next")
        for command in commands:
            self._command(command)
        self._print()

    def differs(self, differences: Sequence[str]) -> None:
        """Why the demo has failed."""
        for difference in differences:
            self._hang(_word(_FAILED), Text(inert(difference, 600)))

    # The same lead, again and again.

    def _asks_for_more(self, turn: Message) -> bool:
        last = self._last
        if last is None or last.verdict != "allow" or len(turn.tool_calls) != 1:
            return False
        call = turn.tool_calls[0]
        same = call.arguments.get("to") == last.args.get("to")
        return same and call.name == last.tool == "send_email"

    def _unfold(self) -> None:
        """Draw what was kept back and counted."""
        if self._folded:
            more = f"and {self._folded} more to the same lead, each worded differently"
            self._hang(_word(_ALLOWED), Text(more))
        if self._held is not None:
            self._says(self._held)
        self._folded, self._held = 0, None

    # Lines.

    def _says(self, text: str | None) -> None:
        if text:
            self._hang(_word(_MODEL), Text(inert(text, 400), style="dim"))

    def _why(self, word: tuple[str, str], decision: Decision, effect: Verdict) -> None:
        """What spoke for the verdict first: its id below the tool, its words beside it."""
        for reason in decision.reasons:
            if reason.effect == effect:
                message = inert(reason.message.rstrip("."), 300)
                said = f"{message[:1].upper()}{message[1:]}."
                self._row("", word, Text(inert(reason.id, 40), style="dim"), Text(said))
                return

    def _row(
        self, number: str, word: tuple[str, str], tool: Text, what: Text, *, cut: bool = False
    ) -> None:
        tool.truncate(14, overflow="ellipsis", pad=True)
        self._hang(Text.assemble(_word(word, number), tool, "  "), what, cut=cut)

    def _heading(self, title: str) -> None:
        self._print()
        self._print(Text(title, style="bold"))

    def _facts(self, *facts: tuple[str, str]) -> None:
        longest = max(len(label) for label, _ in facts)
        for label, said in facts:
            self._hang(Text(f"{label:{longest}}  ", style="dim"), Text(inert(said, 600)))

    def _hang(self, left: Text, said: Text, *, cut: bool = False) -> None:
        """`said` to the right of `left`, wrapped below its own beginning or cut to one line."""
        room = max(self._width - 2 - left.cell_len, 16)
        if cut:
            said.truncate(room, overflow="ellipsis")
        for at, line in enumerate(said.wrap(self._console, room, overflow="fold")):
            self._print(Text.assemble(left if at == 0 else " " * left.cell_len, line))

    def _command(self, words: Sequence[str], prompt: str = "") -> None:
        """A command to copy, broken before an option where it would not fit on a line."""
        line = prompt + words[0]
        for at, word in enumerate(words[1:], start=1):
            # An option and its value stay together.
            ahead = " ".join(words[at : at + 2]) if word.startswith("--") else word
            if word.startswith("--") and len(line) + len(ahead) + 4 > self._width:
                self._print(Text(f"{line} \\"))
                line = f"{' ' * len(prompt)}    {word}"
            else:
                line = f"{line} {word}"
        self._print(Text(line))

    def _print(self, line: Text | None = None) -> None:
        # Nothing is wrapped here: a path longer than the screen has to be copied in one piece.
        # Nor is a line filled up with spaces, which would come after a command's backslash.
        if line is None:
            self._console.print()
            return
        line.rstrip()
        self._console.print(Text.assemble(" ", line), soft_wrap=True, highlight=False)


def described(tool: str, args: Mapping[str, Any]) -> str:
    """A call's arguments in short, as a colleague would say them."""
    rest = dict(args)
    match tool, args:
        case "look_up_order", {"order_id": str(said)}:
            named = ["order_id"]
        case "refund", {"order_id": str(order), "amount": int(amount)}:
            said = f"{dollars(amount)} on {order}"
            named = ["order_id", "amount", "reason"]
        case "send_email", {"to": str(to), "subject": str(subject)}:
            said = f"{to}: {subject}"
            named = ["to", "subject", "body"]
        case "save_file", {"name": str(said)}:
            named = ["name", "text"]
        case _:
            said, named = "", []
    for name in named:
        rest.pop(name, None)
    also = (f"{name}={msgspec.json.encode(value).decode()}" for name, value in rest.items())
    return inert(", ".join(filter(None, (said, *also))), 200)


def dollars(cents: int) -> str:
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}${whole:,}.{rest:02}"


def shown(path: Path) -> str:
    """A path as a user would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _word(word: tuple[str, str], number: str = "") -> Text:
    return Text.assemble((f"{number:>3}  ", "dim"), (f"{word[0]:10}  ", word[1]))


def _counted(items: Sequence[object], one: str, which: str) -> str:
    if not items:
        return f"no {one}"
    return f"{len(items)} {one}{'s' if len(items) > 1 else ''}{which}"
