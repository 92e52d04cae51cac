"""A whole policy: its tools for everyone and for some, its limits, and what they rest on."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

from saferun.call import canonical
from saferun.policy.document import Document, Scope, Tool
from saferun.policy.names import OWN, RUN
from saferun.policy.parse.limit import limits
from saferun.policy.parse.rule import ANSWERS, scope
from saferun.policy.parse.schema import Schemas
from saferun.policy.parse.setting import breaker, loops, record
from saferun.policy.parse.tool import tool
from saferun.policy.parse.whole import MODES, Whole, matches
from saferun.policy.part import Part
from saferun.policy.schema import meant
from saferun.policy.source import Path, Source, TooManyFaultsError
from saferun.policy.wording import found, listed, named

_FILE = (
    "version",
    "name",
    "default",
    "mode",
    "urgent",
    "include",
    "inputs",
    "definitions",
    "limits",
    "loops",
    "breaker",
    "record",
    "tools",
    "scopes",
)
_SCOPED = ("for", "tools")

MAX_ENTRIES = 200
"""Entries of one tool: a call looks at them one by one."""

_POLICY_NAME = re.compile(r"[a-z0-9._-]{1,64}")
_INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,4}")
_TYPES = {
    "string": "string",
    "integer": "integer",
    "int": "integer",
    "number": "number",
    "double": "number",
    "boolean": "boolean",
    "bool": "boolean",
}
"""The words for the type of an input: those of JSON Schema, and those of conditions."""


def parse(source: Source, stem: str) -> Document | None:
    """What a policy file means, None where `source` has faults once it has been looked at.

    `stem` names a policy that gives itself no name.
    """
    with suppress(TooManyFaultsError):
        if isinstance(source.value, dict):
            document = _document(source, stem)
            return None if source.faults else document
        what = f"a policy is a mapping that has `version: 1` in it; {found(source.value)}"
        source.fault((), "type", what)
    return None


def _document(source: Source, stem: str) -> Document:
    file = Part(source, (), source.value, _FILE)
    if type(file["version"]) is not int or file["version"] != 1:
        only = "expected `version: 1`, the only form of policy so far"
        file.fault(("version",), "value", f"{only}; {found(file['version'])}")
    name = _policy_name(file, stem)
    whole = Whole(source, file.choice("mode", MODES, "enforce"), _reserved(file))
    whole.inputs = _inputs(file)
    schemas = Schemas(whole, file.mapping("definitions"))
    schemas.examine_all()
    over_all = limits(whole, file, None)
    whole.loops = loops(file, whole.loops)
    whole.breaker = breaker(file, whole.breaker)
    everyone: list[Tool] = [
        tool(whole, schemas, ("tools", each), body, None)
        for each, body in file.mapping("tools").items()
    ]
    some = _scoped(whole, schemas, file)
    _unambiguous(file, some)
    return Document(
        name=name,
        version="" if source.faults else version({**source.value, "name": name}),
        value={**source.value, "name": name},
        default=file.choice("default", ANSWERS, "deny"),
        mode=whole.mode,
        urgent=file.flag("urgent", default=False),
        inputs=whole.inputs,
        limits=over_all,
        loops=whole.loops,
        breaker=whole.breaker,
        record=record(file),
        tools=(*everyone, *(each for _, each in some)),
    )


def version(value: Mapping[str, Any]) -> str:
    """The version of a policy: the hash of its canonical form, in hexadecimal."""
    return sha256(canonical.encode(value)).hexdigest()


_OURS = ("default", "approval", "asks", "breaker", "gate", "loops", "run", "stop")
"""Ids under which SafeRun itself speaks. What a person overrules goes by its id."""


def _reserved(file: Part) -> Iterable[str]:
    """What SafeRun says under an id of its own, no rule shall seem to have said."""
    tools = [*file.mapping("tools")]
    for each in file.list("scopes"):
        held = each.get("tools") if isinstance(each, dict) else None
        tools += held if isinstance(held, dict) else ()
    own = [f"{name}.{what}" for name in ("default", *tools) for what in ("args", "default")]
    return (*_OURS, *own)


def _policy_name(file: Part, stem: str) -> str:
    allowed = "the name of a policy is made of a-z, 0-9, `.`, `_` and `-`"
    if "name" not in file and not _POLICY_NAME.fullmatch(stem):
        file.fault(("name",), "value", f"{allowed}; that of the file is not, so say `name`")
    elif "name" in file and not matches(_POLICY_NAME, file["name"]):
        file.fault(("name",), "value", f"{allowed}; {found(file['name'])}")
    return str(file["name"] or stem)


def _inputs(file: Part) -> dict[str, dict[str, Any]]:
    """What conditions may speak of beside what SafeRun knows itself, as JSON Schemas."""
    inputs: dict[str, dict[str, Any]] = {}
    for name, said in file.mapping("inputs").items():
        at: Path = ("inputs", name)
        root = name.partition(".")[0]
        if not _INPUT.fullmatch(name):
            what = "an input is a name such as `region`, or a path such as `user.tier`"
            file.fault(at, "value", f"{what}; {found(name)}")
        elif (root in OWN and root != "user") or name in ("user", "user.id"):
            own = f"{named(name)} is not the run's to give: SafeRun knows it"
            file.fault(at, "value", f"{own}{_has(root)}")
        elif any(name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in inputs):
            what = f"{named(name)} is a value in one input and holds values in another"
            file.fault(at, "value", what)
        else:
            inputs[name] = _input(file, at, said)
    return inputs


def _has(root: str) -> str:
    return f"; `run` has {', '.join(RUN)}" if root == "run" else ""


def _input(file: Part, at: Path, said: Any) -> dict[str, Any]:
    many = isinstance(said, list) and len(said) == 1
    word = said[0] if many else said
    if not isinstance(word, str) or word not in _TYPES:
        hint = meant(word, _TYPES) if isinstance(word, str) else ""
        types = f"expected {listed(dict.fromkeys(_TYPES.values()))}, or one of them as a list"
        file.fault(at, "value", f"{types}, such as `[string]`; {found(said)}{hint}")
        return {}
    kind = {"type": _TYPES[word]}
    return {"type": "array", "items": kind} if many else kind


def _scoped(whole: Whole, schemas: Schemas, file: Part) -> list[tuple[Path, Tool]]:
    """The entries that hold for some only, each with its place."""
    entries = []
    for at, body in enumerate(file.list("scopes")):
        part = Part(whole.source, ("scopes", at), body, _SCOPED)
        if "for" not in part or "tools" not in part:
            part.fault((), "value", "a scope says `for` whom it is, and its `tools`")
            continue
        who = scope(part)
        for name, each in part.mapping("tools").items():
            path: Path = ("scopes", at, "tools", name)
            entries.append((path, tool(whole, schemas, path, each, who)))
    return entries


def _unambiguous(file: Part, entries: list[tuple[Path, Tool]]) -> None:
    """Tell of entries for one tool of which neither is the more specific."""
    by_name: dict[str, list[tuple[Tool, Scope]]] = {}
    for path, entry in entries:
        assert entry.scope is not None
        rivals = by_name.setdefault(entry.name, [])
        if len(rivals) == MAX_ENTRIES:
            most = f"{named(entry.name)} has more than {MAX_ENTRIES} entries; a condition on"
            file.fault(path, "value", f"{most} `user`, `tenant` or an input says it in one")
            continue
        for other, who in rivals:
            if who.weight == entry.scope.weight and who.meets(entry.scope):
                what = f"{named(entry.name)} has an entry for {who.sentence()} already"
                again = f"{what} (line {other.line}), and a call can be in both"
                file.fault(path, "duplicate", again)
                break
        rivals.append((entry, entry.scope))
