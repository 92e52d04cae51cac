"""What is legal in a policy file but rarely meant, in one place or by proof over the whole."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from saferun.control import Limit
from saferun.policy.analysis.condition import condition_notes
from saferun.policy.analysis.demand import demand_notes
from saferun.policy.analysis.limit import always_denied, limit_notes
from saferun.policy.analysis.note import Note
from saferun.policy.analysis.rule import rule_notes
from saferun.policy.analysis.signatures import Taken, compare
from saferun.policy.analysis.whole import whole_notes
from saferun.policy.document import UNSET, Document, Tool
from saferun.policy.matcher import inside
from saferun.policy.source import Path, Source


class Warned(NamedTuple):
    """One thing to look at again, or an `error`. `file` is None for the policy's own."""

    code: str
    message: str
    line: int | None
    file: str | None = None
    error: bool = False


def lint(
    source: Source,
    document: Document,
    tools: Mapping[str, Taken] | None = None,
    people: Mapping[str, Collection[str]] | None = None,
) -> list[Warned]:
    """What there is to say about a policy file that loads, in its order.

    With `tools`, also what it and the tools as they are do not agree on; with `people`, who
    stands behind the names that it asks, also where they can never be enough.
    """
    notes = list(_notes(source, document, people))
    if tools is not None:
        notes += compare(entries(source, document), document.default, tools)
    found = [
        Warned(
            note.code,
            note.message,
            source.line(note.path),
            source.file_of(note.path),
            note.error,
        )
        for note in notes
    ]
    return sorted(found, key=lambda warned: (warned.file != source.file, warned.line or 0))


def entries(source: Source, document: Document) -> list[tuple[Path, Tool]]:
    """Every entry of a policy with the place where it stands."""
    paths: list[Path] = [("tools", name) for name in source.value.get("tools", {})]
    for at, scope in enumerate(source.value.get("scopes", [])):
        paths += [("scopes", at, "tools", name) for name in scope["tools"]]
    return list(zip(paths, document.tools, strict=True))


def _notes(
    source: Source, document: Document, people: Mapping[str, Collection[str]] | None
) -> Iterator[Note]:
    if document.default == "allow":
        why = "a tool that nobody listed is allowed, whatever it does; `deny` is the safe default"
        yield Note("default-allow", why, ("default",))
    for position, limit in enumerate(document.limits):
        yield from _for_good(source.value["limits"][position], limit, ("limits", position))
    every = entries(source, document)
    for at, tool in every:
        yield from _entry(source, at, tool, document)
        yield from rule_notes(tool, at)
        yield from demand_notes(tool, at, people)
        yield from condition_notes(tool, at, document.inputs)
        yield from limit_notes(tool, at, document.limits)
    yield from whole_notes(source, document, every)


def _entry(source: Source, at: Path, tool: Tool, document: Document) -> Iterator[Note]:
    said: Any = source.value
    for step in at:
        said = said[step]
    if "effect" not in said:
        yield Note("no-effect", "a tool without an `effect` counts as destructive", at)
    if tool.args is None and tool.effect != "read":
        why = f"the effect of this tool is {tool.effect}, and nothing checks its arguments"
        yield Note("unchecked-args", why, (*at, "args"))
    for argument, body in (tool.args or {}).items():
        yield from _loose((*at, "args", argument), body.schema)
    for position, limit in enumerate(tool.limits):
        yield from _uncounted(tool, limit, (*at, "limits", position))
        yield from _for_good(said["limits"][position], limit, (*at, "limits", position))
    for key, why in _idle(tool, said, document):
        yield Note("idle-setting", f"this has no effect, since {why}", (*at, key))


_SETTINGS = ("loops", "breaker", "poll", "timeout", "cost", "releasable")


def _idle(tool: Tool, said: Mapping[str, Any], document: Document) -> Iterator[tuple[str, str]]:
    """The settings of an entry that come to nothing, and why."""
    if (denied := always_denied(tool)) is not None:
        yield from ((key, denied) for key in _SETTINGS if key in said)
        return
    if tool.poll and tool.loops is None:
        yield "poll", "`loops` are off"
    if tool.releasable and not tool.limits and not document.limits:
        yield "releasable", "no limit counts a call of this tool"
    breaker = said.get("breaker")
    never_slow = tool.breaker is not None and tool.breaker.slow_after is None
    if isinstance(breaker, dict) and "slow_rate" in breaker and never_slow:
        yield "breaker", "no call is slow without `slow_after` or a `timeout`"


def _loose(path: Path, schema: Any) -> Iterator[Note]:
    if not isinstance(schema, dict):
        return
    closing = ("additionalProperties", "unevaluatedProperties")
    if "properties" in schema and schema.keys().isdisjoint(closing):
        why = "properties that are not named here pass; `additionalProperties: false` stops them"
        yield Note("open-object", why, (*path, "properties"))
    pattern = schema.get("pattern", "^$")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        why = "a pattern matches anywhere in a text; `^` and `$` make it match the whole"
        yield Note("unanchored-pattern", why, (*path, "pattern"))
    for steps, held in inside(schema):
        yield from _loose((*path, *steps), held)


def _for_good(said: Mapping[str, Any], limit: Limit, path: Path) -> Iterator[Note]:
    if limit.window is None and "run" not in limit.per and "window" not in said:
        why = "once this limit is reached it stays so, for every run to come"
        means = "say how long a call counts, as `window: 1d`, or `window: forever` if it is meant"
        yield Note("counts-for-good", f"{why}; {means}", path)


def _uncounted(tool: Tool, limit: Limit, path: Path) -> Iterator[Note]:
    for scope in limit.per:
        if _optional(tool, scope):
            why = f"a call without {scope}, which is optional, cannot be counted and is denied"
            yield Note("optional-scope", why, path)
    if limit.sum is not None and _optional(tool, limit.sum):
        why = f"a call without {limit.sum}, which is optional, cannot be added up and is denied"
        yield Note("optional-sum", why, path)


def _optional(tool: Tool, scope: str) -> bool:
    """Whether it is an argument that may be missing once defaults are filled in."""
    name = scope.removeprefix("args.")
    argument = (tool.args or {}).get(name) if name != scope else None
    return argument is not None and not argument.required and argument.default is UNSET
