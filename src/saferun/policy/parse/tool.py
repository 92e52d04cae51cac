"""One entry under `tools`: a tool, or all whose names begin alike."""

from typing import Any

from saferun.call import Effect
from saferun.policy.document import Argument, Scope, Tool
from saferun.policy.names import names
from saferun.policy.parse.cost import cost
from saferun.policy.parse.limit import limits
from saferun.policy.parse.rule import ANSWERS, Owner, rule
from saferun.policy.parse.schema import Schemas, fits
from saferun.policy.parse.setting import breaker, loops
from saferun.policy.parse.whole import Whole, unknown, words
from saferun.policy.part import Part
from saferun.policy.source import Path
from saferun.policy.wording import found, named

_TOOL = (
    "effect",
    "args",
    "default",
    "rules",
    "limits",
    "redact",
    "sensitive",
    "subject",
    "loops",
    "breaker",
    "poll",
    "timeout",
    "cost",
    "releasable",
    "idempotent",
    "opaque",
    "disclose",
    "message",
)
_EFFECTS: tuple[Effect, ...] = ("read", "write", "destructive")


def tool(whole: Whole, schemas: Schemas, path: Path, body: Any, scope: Scope | None) -> Tool:
    part = Part(whole.source, path, body, _TOOL)
    name = whole.name(path, many=True)
    args = _args(whole, schemas, part)
    owner = Owner(
        name=name,
        path=path,
        args=args,
        opaque=words(part, "opaque", "the name of an argument"),
        disclose=part.flag("disclose", default=True),
        names=names(args, whole.inputs),
    )
    for at, opaque in enumerate(owner.opaque):
        if opaque in (args or ()):
            both = f"{named(opaque)} stands under `args` too, and what is opaque is never checked"
            part.fault(("opaque", at), "value", both)
    timeout = part.duration("timeout")
    redact = _paths(part, owner, "redact")
    return Tool(
        name=name,
        path=path,
        effect=part.choice("effect", _EFFECTS, "destructive"),
        args=args,
        scope=scope,
        default=part.choice("default", ANSWERS, "allow"),
        rules=tuple(
            rule(whole, schemas, (*path, "rules", at), each, owner)
            for at, each in enumerate(part.list("rules"))
        ),
        limits=limits(whole, part, owner),
        redact=redact,
        sensitive=_sensitive(part, owner, redact),
        subject=_subject(part, owner),
        idempotent=part.flag("idempotent", default=False),
        loops=loops(part, whole.loops),
        breaker=breaker(part, whole.breaker, timeout),
        poll=part.flag("poll", default=False),
        timeout=timeout,
        cost=cost(part, owner),
        releasable=part.flag("releasable", default=False),
        opaque=frozenset(owner.opaque),
        disclose=owner.disclose,
        message=part.sentence("message"),
        line=part.line,
    )


def _args(whole: Whole, schemas: Schemas, part: Part) -> dict[str, Argument] | None:
    if part["args"] == "any":
        return None
    if isinstance(part["args"], str):
        what = f"expected a mapping or the word `any`; {found(part['args'])}"
        part.fault(("args",), "type", what)
    return {
        name: _argument(whole, schemas, (*part.path, "args", name), body)
        for name, body in part.mapping("args").items()
    }


def _argument(whole: Whole, schemas: Schemas, path: Path, body: Any) -> Argument:
    whole.name(path)
    source = whole.source
    optional: Any = False
    if isinstance(body, dict):
        optional = body.get("optional", False)
        body = {word: said for word, said in body.items() if word != "optional"}
    schema = schemas.whole(path, body)
    if not isinstance(optional, bool):
        source.fault((*path, "optional"), "type", f"expected `true` or `false`; {found(optional)}")
    if "default" not in schema:
        return Argument(schema=schema, required=optional is not True)
    default = schema.pop("default")
    if optional is not False:
        what = "an argument with a `default` is optional as it is; leave one of the two out"
        source.fault((*path, "optional"), "value", what)
    if source.sound(path) and not fits(default, schema):
        what = f"the default does not fit its own schema; {found(default)}"
        source.fault((*path, "default"), "value", what)
    return Argument(schema=schema, required=False, default=default)


def _paths(part: Part, owner: Owner, key: str) -> tuple[tuple[str, ...], ...]:
    """The paths under a key, each as the steps that lead to a value."""
    paths = []
    for at, said in enumerate(part.list(key)):
        root, *steps = said.split(".") if isinstance(said, str) else ("",)
        if root not in ("args", "result") or not steps or not all(steps):
            what = "expected `args.` or `result.` and the names that lead to the value"
            part.fault((key, at), "value", f"{what}; {found(said)}")
        elif root == "args" and not _known(owner, steps[0]):
            part.fault((key, at), "value", unknown(steps[0], _arguments(owner)))
        paths.append((root, *steps))
    return tuple(paths)


def _arguments(owner: Owner) -> tuple[str, ...]:
    return (*(owner.args or ()), *owner.opaque)


def _known(owner: Owner, argument: str) -> bool:
    return owner.args is None or argument == "*" or argument in _arguments(owner)


def _sensitive(
    part: Part, owner: Owner, redacted: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    paths = _paths(part, owner, "sensitive")
    for at, path in enumerate(paths):
        for other in redacted:
            if _covers(other, path):
                what = f"`{'.'.join(other)}` stands under `redact`, which keeps nothing of it"
                part.fault(("sensitive", at), "value", f"{what}; leave one of the two out")
                break
    return paths


def _covers(wide: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether all that a path leads to lies under another one."""
    return len(wide) <= len(path) and all(
        step in ("*", other) for step, other in zip(wide, path, strict=False)
    )


def _subject(part: Part, owner: Owner) -> str | None:
    """The argument that says whose data it is; None for the user of the run."""
    said = part["subject"]
    if said is None and "subject" not in part:
        return None
    if said == "user":
        return None
    root, _, name = said.partition(".") if isinstance(said, str) else ("", "", "")
    if root != "args" or not name or name == "*" or "." in name:
        what = "expected `user`, or `args.` and the name of an argument"
        part.fault(("subject",), "value", f"{what}; {found(said)}")
    elif owner.args is not None and name not in owner.args:
        part.fault(("subject",), "value", unknown(name, tuple(owner.args)))
    return name
