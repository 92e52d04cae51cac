"""A policy held against the tools as they are: arguments that one knows and the other does not."""

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from saferun.binding import Binding
from saferun.errors import SafeRunError
from saferun.policy.analysis.note import Note
from saferun.policy.document import UNSET, Answer, Tool
from saferun.policy.schema import meant
from saferun.policy.source import Path
from saferun.policy.wording import listed, named

MAX_TOOLS = 10_000


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool takes: its arguments, those that a call must give, and whether others go too."""

    args: tuple[str, ...]
    required: frozenset[str]
    open: bool = False


def compare(
    entries: Iterable[tuple[Path, Tool]], default: Answer, tools: Mapping[str, Taken]
) -> Iterator[Note]:
    """What a policy and the tools do not agree on.

    `entries` are those of the policy, each with its place, and `default` is what it says on
    tools that it does not list.
    """
    every = list(entries)
    for path, entry in every:
        if entry.prefix is not None:
            continue
        if entry.name in tools:
            yield from _compared(entry, tools[entry.name], path)
        else:
            why = f"there is no tool {named(entry.name)}{meant(entry.name, tools)}"
            yield Note("unknown-tool", why, path)
    for name in tools:
        if not any(_is_about(entry, name) for _, entry in every):
            why = f"the policy has no entry for the tool {named(name)}, so its default holds"
            yield Note("unlisted-tool", f"{why}: {default}", ())


def _is_about(entry: Tool, name: str) -> bool:
    return entry.name == name or (entry.prefix is not None and name.startswith(entry.prefix))


def _compared(entry: Tool, tool: Taken, path: Path) -> list[Note]:
    if entry.args is None:
        return []
    notes = []
    for name in entry.args:
        if name not in tool.args and not tool.open:
            known = listed(tool.args) or "none"
            why = f"{named(entry.name)} takes no {named(name)}; its arguments are {known}"
            hint = meant(name, tool.args)
            notes.append(Note("unknown-argument", f"{why}{hint}", (*path, "args", name)))
    for name in tool.args:
        if name in entry.args or name in entry.opaque:
            continue
        must = "every call needs it, so every call is denied"
        may = "a call that gives it is denied"
        why = f"{named(entry.name)} takes {named(name)}, which the policy does not name"
        what = f"{why}: {must if name in tool.required else may}"
        notes.append(Note("unlisted-argument", what, (*path, "args")))
    for name, argument in entry.args.items():
        if name in tool.required and not argument.required and argument.default is UNSET:
            why = f"{named(entry.name)} cannot be called without {named(name)}"
            note = Note("not-optional", f"{why}, and here it is optional", (*path, "args", name))
            notes.append(note)
    return notes


def from_schemas(value: Any) -> dict[str, Taken]:
    """Tools as models are told of them: OpenAI functions, or `{name, parameters}`.

    Raises SafeRunError where it is no list of these.
    """
    said = value.get("tools") if isinstance(value, dict) else value
    if not isinstance(said, list) or len(said) > MAX_TOOLS:
        raise SafeRunError("expected a list of tools, each with `name` and `parameters`")
    found = {}
    for each in said:
        body = each.get("function", each) if isinstance(each, dict) else None
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(name, str):
            raise SafeRunError(
                "a tool in the list has no `name`; give each `name` and `parameters`"
            )
        schema = body.get("parameters", body.get("input_schema", body.get("inputSchema", {})))
        found[name] = _taken(schema if isinstance(schema, dict) else {})
    return found


def _taken(schema: Mapping[str, Any]) -> Taken:
    named_here = schema.get("properties")
    required = schema.get("required")
    return Taken(
        args=tuple(named_here) if isinstance(named_here, dict) else (),
        required=frozenset(each for each in required if isinstance(each, str))
        if isinstance(required, list)
        else frozenset(),
        open=schema.get("additionalProperties") not in (None, False),
    )


def from_module(where: str) -> dict[str, Taken]:
    """The functions of a module, or with `MODULE:NAME` one of them or a list of them.

    Importing a module runs it. Signatures are read as `guard` reads them. Raises SafeRunError
    where there is no such module, no such name in it, or something that is no function.
    """
    module, _, name = where.partition(":")
    try:
        holder = importlib.import_module(module)
        found = getattr(holder, name) if name else None
    except (ImportError, AttributeError) as problem:
        raise SafeRunError(f"the tools of {where} cannot be read: {problem}") from None
    if found is None:
        functions = [
            each
            for label, each in vars(holder).items()
            if not label.startswith("_") and _is_of(each, module)
        ]
    else:
        functions = list(found) if isinstance(found, list | tuple) else [found]
    try:
        return {each.__name__: _signed(Binding(each).signature) for each in functions}
    except (TypeError, AttributeError):
        why = "what stands there is no function, and no list of functions"
        raise SafeRunError(f"the tools of {where} cannot be read: {why}") from None


def _is_of(each: Any, module: str) -> bool:
    return inspect.isfunction(each) and each.__module__ == module


def _signed(signature: inspect.Signature) -> Taken:
    every = list(signature.parameters.values())
    return Taken(
        args=tuple(each.name for each in every if each.kind is not each.VAR_KEYWORD),
        required=frozenset(
            each.name
            for each in every
            if each.default is each.empty
            and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        ),
        open=any(each.kind is each.VAR_KEYWORD for each in every),
    )
