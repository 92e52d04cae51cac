"""`saferun policy diff`: what a new version of a policy would decide otherwise."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, near
from saferun.cli.policy.named import policy_file
from saferun.cli.policy.rollout import live_difference
from saferun.cli.screen import (
    ALLOWED,
    MODIFIED,
    VERDICTS,
    beside,
    counted,
    document,
    put,
    screen,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from saferun.call import PolicyRef
    from saferun.policy.analysis import Change, Difference, Example, Moved, ToolDifference

OldArgument = Annotated[
    str, typer.Argument(metavar="OLD", help="The policy as it is: its name, or its file.")
]
NewArgument = Annotated[
    str | None,
    typer.Argument(metavar="NEW", help="The policy as it would be: its name, or its file."),
]
LiveOption = Annotated[
    bool, typer.Option("--live", help="Sum up what the candidate of OLD has decided otherwise.")
]


def diff(
    old: OldArgument,
    new: NewArgument = None,
    live: LiveOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what a new version would decide otherwise, with examples.

    Nothing runs and nothing is counted. Exits 0 where nothing differs in effect, and 1 where
    something does, or may.
    """
    if live:
        return live_difference(old, store, as_json=as_json)
    if new is None:
        raise CannotError("Name two policies, or one that has a candidate with --live.")
    from saferun.policy import load, restore
    from saferun.policy.analysis import diff as difference_of

    before, after = (policy_file(named, store) for named in (old, new))
    was, now = load(near(before)), load(near(after))
    if (was.name, now.name) == (before.stem, after.stem):
        # Two files that only their names tell apart are two versions of one policy.
        now = restore({**now.document.value, "name": was.name})
    difference = difference_of(was, now)
    if as_json:
        document(msgspec.to_builtins(difference))
    else:
        _print(screen(), difference)
    return 1 if difference else 0


def _print(console: "Console", difference: "Difference") -> None:
    from rich.text import Text

    console.print(Text.assemble(_version(difference.old), " → ", _version(difference.new)))
    if not difference:
        console.print(Text(f"{ALLOWED.icon} nothing differs in effect", ALLOWED.style))
        return
    for tool in difference.tools:
        console.print()
        _print_tool(console, tool)
    if difference.changes:
        console.print()
        console.print(Text("settings", "bold"))
        for change in difference.changes:
            _print_change(console, change)
    console.print()
    console.print(_sum(difference))


def _version(ref: "PolicyRef") -> "Text":
    from rich.text import Text

    return Text.assemble((inert(ref.name), "bold"), (f" @ {ref.version[:12]}", "dim"))


def _print_tool(console: "Console", tool: "ToolDifference") -> None:
    from rich.text import Text

    from saferun import differing

    console.print(Text(differing.tool_of(tool.tool), "bold"))
    for moved in tool.moved:
        _print_moved(console, moved)
    if not tool.told:
        why = differing.partly(examples=bool(tool.examples))
        put(console, beside(console, Text("  ! ", "yellow"), Text(why, "yellow")))
    for example in tool.examples[: differing.EXAMPLES]:
        _print_example(console, example)
    if len(tool.examples) > differing.EXAMPLES:
        more = len(tool.examples) - differing.EXAMPLES
        console.print(Text(f"    and {counted(more, 'other example')}; --json has them", "dim"))


def _print_moved(console: "Console", moved: "Moved") -> None:
    """Which calls, an argument at a time: what they may be is what a reader looks for."""
    from rich.text import Text

    from saferun import differing

    lead = Text.assemble("  ", _turn(moved.old, moved.new), "  ")
    for at, said in enumerate(differing.calls(moved)):
        put(console, beside(console, lead if not at else Text("    or  "), Text(said)))


def _print_example(console: "Console", example: "Example") -> None:
    from rich.text import Text

    from saferun import differing

    known = differing.known(example)
    said = Text.assemble(differing.call(example), (f"  where {known}" if known else "", "dim"))
    lead = Text.assemble("    ", _turn(example.old, example.new), "  ")
    put(console, beside(console, lead, said))
    by = Text(f"by {differing.rules(example)}", "dim")
    put(console, beside(console, Text("          "), by))
    if given := differing.given(example):
        put(console, beside(console, Text("          "), Text(given, MODIFIED.style)))
    if needed := differing.needed(example):
        put(console, beside(console, Text("          "), Text(needed)))


def _turn(old: str, new: str) -> "Text":
    from rich.text import Text

    was, now = VERDICTS[old], VERDICTS[new]
    if was == now:
        return Text(f"{now.icon} {now.word}", now.style)
    return Text.assemble(
        (f"{was.icon} {was.word}", was.style), " → ", (f"{now.icon} {now.word}", now.style)
    )


def _print_change(console: "Console", change: "Change") -> None:
    from rich.text import Text

    style = "yellow" if change.resets else ""
    lead = Text("  ↺ " if change.resets else "  ~ ", style)
    put(console, beside(console, lead, Text(inert(change.message), style)))


def _sum(difference: "Difference") -> "Text":
    from rich.text import Text

    said = []
    if difference.tools:
        said.append(f"{counted(len(difference.tools), 'tool')} decided otherwise")
    if difference.changes:
        said.append(f"{counted(len(difference.changes), 'setting')} changed")
    resets = sum(change.resets is not None for change in difference.changes)
    if resets:
        said.append(f"{counted(resets, 'limit')} counting from nothing")
    return Text(f"{MODIFIED.icon} {', '.join(said)}", MODIFIED.style)
