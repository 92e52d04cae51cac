"""What a policy declares and never uses, and entries that do not reach as far as they seem to."""

from collections.abc import Iterator
from typing import Any

from saferun.policy.analysis.note import Note
from saferun.policy.document import Document, Tool
from saferun.policy.source import Path, Source
from saferun.policy.wording import named

_STRICTNESS = {"allow": 0, "ask": 1, "deny": 2}


def whole_notes(
    source: Source, document: Document, entries: list[tuple[Path, Tool]]
) -> Iterator[Note]:
    """What is worth saying about a policy as a whole; `entries` has the place of each."""
    yield from _unused_inputs(source, document)
    yield from _unused_definitions(source)
    yield from _overlaps(entries)


def _unused_inputs(source: Source, document: Document) -> Iterator[Note]:
    read = {
        path
        for tool in document.tools
        for rule in tool.rules
        if rule.when is not None
        for path in rule.when.reads
    }
    read |= {path for tool in document.tools if tool.cost is not None for path in tool.cost.reads}
    for name in document.inputs:
        steps = tuple(name.split("."))
        used = any(path[: len(steps)] == steps or steps[: len(path)] == path for path in read)
        if not used and _own(source, ("inputs", name)):
            why = f"no condition and no cost looks at {named(name)}"
            yield Note("unused-input", why, ("inputs", name))


def _unused_definitions(source: Source) -> Iterator[Note]:
    value = source.value
    said = {name: set(_texts(body)) for name, body in value.get("definitions", {}).items()}
    elsewhere = {text for key in ("tools", "scopes") for text in _texts(value.get(key))}
    for name in said:
        # Any text of that name counts as a use: nothing that is used is ever called unused.
        others = any(name in texts for other, texts in said.items() if other != name)
        if name not in elsewhere and not others and _own(source, ("definitions", name)):
            yield Note("unused-definition", f"nothing uses {named(name)}", ("definitions", name))


def _own(source: Source, path: Path) -> bool:
    """Whether it stands in the policy's own file: what is included serves other policies too."""
    return source.file_of(path) == source.file


def _texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list):
            todo += each


def _overlaps(entries: list[tuple[Path, Tool]]) -> Iterator[Note]:
    """Entries of `mcp.*` that do not hold for a tool with an entry of its own, and seem to."""
    for path, wide in entries:
        prefix = wide.prefix
        if prefix is None:
            continue
        for _, narrow in entries:
            if narrow is wide or narrow.name == wide.name or not narrow.name.startswith(prefix):
                continue
            if narrow.scope is None and wide.scope is not None:
                whom = wide.scope.sentence()
                why = f"{named(narrow.name)} has an entry of its own (line {narrow.line}), which"
                says = f"{why} goes before this one, for {whom} too"
                yield Note("entry-passed-over", says, path)
            elif narrow.scope is None and _stricter(wide, narrow):
                why = f"{named(narrow.name)} (line {narrow.line}) has an entry of its own"
                says = f"{why}; what this one denies, asks or limits does not hold for it"
                yield Note("entry-passed-over", says, path)


def _stricter(wide: Tool, narrow: Tool) -> bool:
    """Whether an entry stops calls in a way that the one that goes before it has none of."""
    if _STRICTNESS[wide.default] > _STRICTNESS[narrow.default]:
        return not any(rule.answer in ("ask", "deny") for rule in narrow.rules)
    stops = [rule for rule in wide.rules if rule.answer in ("ask", "deny")]
    own = [rule for rule in narrow.rules if rule.answer in ("ask", "deny")]
    guarded = bool(own) or narrow.default != "allow"
    limited, also = ([each for each in tool.limits if not each.shadow] for tool in (wide, narrow))
    return (bool(stops) and not guarded) or (bool(limited) and not also and not own)
