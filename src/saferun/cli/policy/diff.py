"""`saferun policy diff`: what a new version of a policy would decide otherwise."""

from typing import TYPE_CHECKING, Annotated, Any

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
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.text import Text

    from saferun.call import Demand, PolicyRef
    from saferun.policy.analysis import Change, Difference, Example, Moved, ToolDifference

_VALUE = 60
"""Characters of an argument's value, or of what one may be."""

_EXAMPLES = 8
"""Examples of one tool that are printed; JSON has all of them."""

_UNLISTED = "tools that are not listed"

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

    name = _UNLISTED if tool.tool == "*" else inert(tool.tool, 80)
    console.print(Text(name, "bold"))
    for moved in tool.moved:
        _print_moved(console, moved)
    if not tool.told:
        why = (
            "examples only: it rests on what no schema can say, so there may be more"
            if tool.examples
            else "other rules, and no call was found that they decide otherwise"
        )
        put(console, beside(console, Text("  ! ", "yellow"), Text(why, "yellow")))
    for example in tool.examples[:_EXAMPLES]:
        _print_example(console, example)
    if len(tool.examples) > _EXAMPLES:
        more = len(tool.examples) - _EXAMPLES
        console.print(Text(f"    and {counted(more, 'other example')}; --json has them", "dim"))


def _print_moved(console: "Console", moved: "Moved") -> None:
    """Which calls, an argument at a time: what they may be is what a reader looks for."""
    from rich.text import Text

    lead = Text.assemble("  ", _turn(moved.old, moved.new), "  ")
    whom = ", ".join(f"{name} {inert(value, 40)}" for name, value in moved.who.items())
    branches = moved.schema.get("anyOf", [moved.schema]) if isinstance(moved.schema, dict) else []
    for at, branch in enumerate(branches):
        said = _conditions(branch)
        if whom:
            said = f"{said}; for {whom}"
        put(console, beside(console, lead if not at else Text("    or  "), Text(said)))
    if not branches:
        put(console, beside(console, lead, Text("every call")))


def _conditions(schema: Any) -> str:
    """`amount 20001 to 49999, currency EUR or USD` for the schema of an argument object."""
    needed = schema.get("required", []) if isinstance(schema, dict) else []
    held = schema.get("properties", {}) if isinstance(schema, dict) else {}
    said = [
        f"{inert(name, 40)} {_described(held[name])}{'' if name in needed else ' or left out'}"
        for name in held
    ]
    return ", ".join(said) or "every call"


def _described(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "of any value" if schema else "never"
    if "const" in schema:
        return shown(schema["const"], _VALUE)
    if "enum" in schema and schema.keys() <= {"enum", "type"}:
        return " or ".join(shown(value, _VALUE) for value in schema["enum"][:_EXAMPLES])
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.keys() <= {"type", "minimum", "maximum"} and (low is not None or high is not None):
        if low is None or high is None:
            return f"at most {high}" if low is None else f"at least {low}"
        return str(low) if low == high else f"{low} to {high}"
    if schema.keys() == {"type"}:
        return f"of any {schema['type']}" if isinstance(schema["type"], str) else "of any value"
    return shown(schema, 3 * _VALUE)


def _print_example(console: "Console", example: "Example") -> None:
    from rich.text import Text

    args = ", ".join(
        f"{inert(name, 40)}={shown(value, _VALUE)}" for name, value in example.args.items()
    )
    call = f"{inert(example.tool, 80)}({args})"
    known = ", ".join(f"{name} {shown(value, _VALUE)}" for name, value in example.known.items())
    said = Text.assemble(call, (f"  where {known}" if known else "", "dim"))
    lead = Text.assemble("    ", _turn(example.old, example.new), "  ")
    put(console, beside(console, lead, said))
    rules = [", ".join(each) or "no rule" for each in (example.old_rules, example.new_rules)]
    by = rules[0] if rules[0] == rules[1] else f"{rules[0]} → {rules[1]}"
    put(console, beside(console, Text("          "), Text(f"by {inert(by)}", "dim")))
    if example.old_args is not None and example.new_args is not None:
        given = f"given {shown(example.old_args, _VALUE)} → {shown(example.new_args, _VALUE)}"
        put(console, beside(console, Text("          "), Text(given, MODIFIED.style)))
    if example.old == example.new == "ask":
        wanted = [_wanted(each) for each in (example.old_demands, example.new_demands)]
        if wanted[0] != wanted[1]:
            asked = Text(f"needs {inert(wanted[0])} → {inert(wanted[1])}")
            put(console, beside(console, Text("          "), asked))


def _wanted(demands: "Iterable[Demand]") -> str:
    from saferun.policy.analysis.demand import essential
    from saferun.policy.demand import sentence

    return ", and ".join(sentence(demand) for demand in essential(demands))


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
