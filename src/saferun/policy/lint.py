"""What is legal in a policy file but rarely meant. No analysis: each looks at one place."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from saferun.control import Limit
from saferun.policy.document import UNSET, Document, Tool
from saferun.policy.matcher import inside
from saferun.policy.source import Path, Source


class Warned(NamedTuple):
    """One thing to look at again."""

    code: str
    message: str
    line: int | None


def lint(source: Source, document: Document) -> list[Warned]:
    """The warnings about a sound policy file, in its order."""
    return sorted(_warnings(source, document), key=lambda warned: warned.line or 0)


def _warnings(source: Source, document: Document) -> Iterator[Warned]:
    if document.default == "allow":
        why = "a tool that nobody listed is allowed, whatever it does; `deny` is the safe default"
        yield Warned("default-allow", why, source.line(("default",)))
    for name, tool in document.tools.items():
        at: Path = ("tools", name)
        if "effect" not in source.value["tools"][name]:
            why = "a tool without an `effect` counts as destructive"
            yield Warned("no-effect", why, source.line(at))
        if tool.args is None and tool.effect != "read":
            why = f"the effect of this tool is {tool.effect}, and nothing checks its arguments"
            yield Warned("unchecked-args", why, source.line((*at, "args")))
        for argument, body in (tool.args or {}).items():
            yield from _loose(source, (*at, "args", argument), body.schema)
        for limit in tool.limits:
            yield from _uncounted(tool, limit)


def _loose(source: Source, path: Path, schema: Any) -> Iterator[Warned]:
    if not isinstance(schema, dict):
        return
    closing = ("additionalProperties", "unevaluatedProperties")
    if "properties" in schema and schema.keys().isdisjoint(closing):
        why = "properties that are not named here pass; `additionalProperties: false` stops them"
        yield Warned("open-object", why, source.line((*path, "properties")))
    pattern = schema.get("pattern", "^$")
    if not (pattern.startswith("^") and pattern.endswith("$")):
        why = "a pattern matches anywhere in a text; `^` and `$` make it match the whole"
        yield Warned("unanchored-pattern", why, source.line((*path, "pattern")))
    for steps, held in inside(schema):
        yield from _loose(source, (*path, *steps), held)


def _uncounted(tool: Tool, limit: Limit) -> Iterator[Warned]:
    for scope in limit.per:
        argument = (tool.args or {}).get(scope.removeprefix("args."))
        if argument and not argument.required and argument.default is UNSET:
            why = f"a call without {scope}, which is optional, cannot be counted and is denied"
            yield Warned("optional-scope", why, limit.line)
