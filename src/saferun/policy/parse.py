"""From the values of a policy file to what they mean, with every fault on its line."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from saferun.call import Effect, canonical
from saferun.control import Limit
from saferun.policy.document import Answer, Argument, Document, Rule, Tool
from saferun.policy.matcher import Matcher
from saferun.policy.part import Part
from saferun.policy.reading import floats_in
from saferun.policy.schema import examine, meant, types
from saferun.policy.source import Path, Source, TooManyFaultsError
from saferun.policy.wording import found, listed, named

_FILE = ("version", "name", "default", "mode", "limits", "tools")
_TOOL = (
    "effect",
    "args",
    "default",
    "rules",
    "limits",
    "redact",
    "idempotent",
    "opaque",
    "disclose",
    "message",
)
_RULE = ("id", "allow", "ask", "deny", "args", "message", "mode")
_LIMIT = ("id", "max", "per", "message", "disclose")

_ANSWERS: tuple[Answer, ...] = ("deny", "ask", "allow")
_EFFECTS: tuple[Effect, ...] = ("read", "write", "destructive")
_MODES: tuple[Literal["enforce", "shadow"], ...] = ("enforce", "shadow")
_LATER_SCOPES = ("agent", "user", "tenant", "tool", "all")

_POLICY_NAME = re.compile(r"[a-z0-9._-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_NAME = 128
_MAX_COUNT = 2**63 - 1
"""The largest count that every store can keep."""


def parse(source: Source, stem: str) -> Document | None:
    """What a policy file means, None where `source` has faults once it has been looked at.

    `stem` names a policy that gives itself no name.
    """
    with suppress(TooManyFaultsError):
        if isinstance(source.value, dict):
            document = _Parser(source).document(stem)
            return None if source.faults else document
        what = f"a policy is a mapping that has `version: 1` in it; {found(source.value)}"
        source.fault((), "type", what)
    return None


class _Owner(NamedTuple):
    """What the parts of a tool need to know about it."""

    name: str
    args: Mapping[str, Argument] | None
    opaque: tuple[str, ...]
    disclose: bool


class _Parser:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._ids: set[str] = set()

    def document(self, stem: str) -> Document:
        file = Part(self._source, (), self._source.value, _FILE)
        if type(file["version"]) is not int or file["version"] != 1:
            only = "expected `version: 1`, the only form of policy so far"
            file.fault(("version",), "value", f"{only}; {found(file['version'])}")
        tools = file.mapping("tools")
        # What SafeRun says under an id of its own, no rule shall seem to have said.
        own = [f"{name}.{what}" for name in ("default", *tools) for what in ("args", "default")]
        self._ids = {"default", *own}
        mode = file.choice("mode", _MODES, "enforce")
        return Document(
            name=self._policy_name(file, stem),
            version="" if self._source.faults else _version(self._source.value),
            default=file.choice("default", _ANSWERS, "deny"),
            mode=mode,
            limits=self._limits(file, None),
            tools={name: self._tool(("tools", name), body, mode) for name, body in tools.items()},
        )

    def _policy_name(self, file: Part, stem: str) -> str:
        allowed = "the name of a policy is made of a-z, 0-9, `.`, `_` and `-`"
        if "name" not in file and not _POLICY_NAME.fullmatch(stem):
            file.fault(("name",), "value", f"{allowed}; that of the file is not, so say `name`")
        elif "name" in file and not _matches(_POLICY_NAME, file["name"]):
            file.fault(("name",), "value", f"{allowed}; {found(file['name'])}")
        return str(file["name"] or stem)

    def _tool(self, path: Path, body: Any, mode: str) -> Tool:
        tool = Part(self._source, path, body, _TOOL)
        owner = _Owner(
            name=self._name(path),
            args=self._args(tool),
            opaque=self._words(tool, "opaque", "the name of an argument"),
            disclose=tool.flag("disclose", default=True),
        )
        for at, name in enumerate(owner.opaque):
            if name in (owner.args or ()):
                both = f"{named(name)} stands under `args` too, and what is opaque is never checked"
                tool.fault(("opaque", at), "value", both)
        return Tool(
            name=owner.name,
            effect=tool.choice("effect", _EFFECTS, "destructive"),
            args=owner.args,
            default=tool.choice("default", _ANSWERS, "allow"),
            rules=tuple(
                self._rule((*path, "rules", at), each, owner, mode)
                for at, each in enumerate(tool.list("rules"))
            ),
            limits=self._limits(tool, owner),
            redact=self._redact(tool, owner),
            idempotent=tool.flag("idempotent", default=False),
            opaque=frozenset(owner.opaque),
            disclose=owner.disclose,
            message=tool.sentence("message"),
            line=tool.line,
        )

    def _args(self, tool: Part) -> dict[str, Argument] | None:
        if tool["args"] == "any":
            return None
        if isinstance(tool["args"], str):
            what = f"expected a mapping or the word `any`; {found(tool['args'])}"
            tool.fault(("args",), "type", what)
        return {
            name: self._argument((*tool.path, "args", name), body)
            for name, body in tool.mapping("args").items()
        }

    def _argument(self, path: Path, body: Any) -> Argument:
        self._name(path)
        if not isinstance(body, dict):
            what = "expected a JSON Schema, such as `{type: string}`, or `{}` for any value"
            self._source.fault(path, "type", f"{what}; {found(body)}")
            return Argument(schema={}, required=True)
        schema = {word: said for word, said in body.items() if word not in ("default", "optional")}
        examine(self._source, path, schema)
        if not isinstance(body.get("optional", False), bool):
            what = f"expected `true` or `false`; {found(body['optional'])}"
            self._source.fault((*path, "optional"), "type", what)
        if "default" not in body:
            return Argument(schema=schema, required=body.get("optional") is not True)
        if "optional" in body:
            what = "an argument with a `default` is optional as it is; leave one of the two out"
            self._source.fault((*path, "optional"), "value", what)
        if self._source.sound(path) and not _fits(body["default"], schema):
            what = f"the default does not fit its own schema; {found(body['default'])}"
            self._source.fault((*path, "default"), "value", what)
        return Argument(schema=schema, required=False, default=body["default"])

    def _rule(self, path: Path, body: Any, owner: _Owner, mode: str) -> Rule:
        rule = Part(self._source, path, body, _RULE)
        said = [answer for answer in _ANSWERS if answer in rule]
        if len(said) != 1:
            rule.fault((), "value", "a rule says exactly one of `allow`, `ask` and `deny`")
        if mode == "shadow" and rule["mode"] == "enforce":
            what = "the policy's `mode` is shadow, so nothing in it can enforce; "
            rule.fault(("mode",), "value", what + "turn that round and mark the other rules")
        return Rule(
            id=self._id(rule),
            answer=said[0] if said else "deny",
            groups=self._groups(rule) if said else (),
            args=self._fragments(rule, owner) if "args" in rule else None,
            message=rule.sentence("message"),
            shadow=rule.choice("mode", _MODES, "enforce") == "shadow",
            line=rule.line,
        )

    def _groups(self, rule: Part) -> tuple[str, ...]:
        """Who may answer, if the rule asks; `true` is anyone, and all that the others say."""
        for answer in _ANSWERS:
            if answer not in rule or rule[answer] is True:
                continue
            if answer != "ask":
                rule.fault((answer,), "type", f"expected `true`; {found(rule[answer])}")
            elif not isinstance(rule["ask"], list) or not rule["ask"]:
                what = "expected a list of groups or people, or `true` for anyone"
                rule.fault(("ask",), "type", f"{what}; {found(rule['ask'] or None)}")
            else:
                return self._words(rule, "ask", "the name of a group or a person")
        return ()

    def _fragments(self, rule: Part, owner: _Owner) -> dict[str, dict[str, Any]]:
        if owner.args is None:
            # An argument that is missing, or a number given as text, would slip past a `deny`.
            what = "a rule can only look at arguments that the tool's `args` describe"
            rule.fault(("args",), "value", f"{what}, and here they are `any`")
            return {}
        fragments = rule.mapping("args")
        if rule["args"] == {}:
            rule.fault(("args",), "value", "leave `args` out of a rule that always applies")
        for name, fragment in fragments.items():
            if name not in owner.args:
                rule.fault(("args", name), "unknown-key", _unknown(name, owner.args))
            elif not isinstance(fragment, dict) or not fragment:
                what = f"expected a JSON Schema, such as `{{const: 5}}`; {found(fragment or None)}"
                rule.fault(("args", name), "type", what)
            else:
                path = (*rule.path, "args", name)
                examine(self._source, path, fragment, types(owner.args[name].schema))
        return fragments

    def _limits(self, holder: Part, owner: _Owner | None) -> tuple[Limit, ...]:
        return tuple(
            self._limit((*holder.path, "limits", at), body, owner)
            for at, body in enumerate(holder.list("limits"))
        )

    def _limit(self, path: Path, body: Any, owner: _Owner | None) -> Limit:
        limit = Part(self._source, path, body, _LIMIT)
        most = limit["max"]
        if type(most) is not int or not 1 <= most <= _MAX_COUNT:
            what = f"expected a whole number of calls, 1 or more; {found(most)}"
            limit.fault(("max",), "value", what)
            most = 1
        return Limit(
            id=self._id(limit),
            max=most,
            per=self._scopes(limit, owner),
            tool=owner and owner.name,
            message=limit.sentence("message"),
            disclose=limit.flag("disclose", default=owner is None or owner.disclose),
            line=limit.line,
        )

    def _scopes(self, limit: Part, owner: _Owner | None) -> tuple[str, ...]:
        said = limit["per"] if isinstance(limit["per"], list) else [limit["per"]]
        for scope in said or [None]:
            if (what := _not_a_scope(scope, owner)) is not None:
                limit.fault(("per",), "value", what)
        scopes = dict.fromkeys(scope for scope in said if isinstance(scope, str))
        if len(scopes) < len(said):
            limit.fault(("per",), "duplicate", "the same scope stands here twice")
        return tuple(scopes)

    def _redact(self, tool: Part, owner: _Owner) -> tuple[tuple[str, ...], ...]:
        paths = []
        for at, said in enumerate(tool.list("redact")):
            root, *steps = said.split(".") if isinstance(said, str) else ("",)
            known = (*(owner.args or ()), *owner.opaque)
            if root not in ("args", "result") or not steps or not all(steps):
                what = "expected `args.` or `result.` and the names that lead to the value"
                tool.fault(("redact", at), "value", f"{what}; {found(said)}")
            elif root == "args" and owner.args is not None and steps[0] not in ("*", *known):
                tool.fault(("redact", at), "value", _unknown(steps[0], known))
            paths.append((root, *steps))
        return tuple(paths)

    def _words(self, part: Part, key: str, what: str) -> tuple[str, ...]:
        seen: dict[str, None] = {}
        for at, word in enumerate(part.list(key)):
            if not isinstance(word, str) or not _speakable(word):
                part.fault((key, at), "value", f"expected {what}; {found(word)}")
            elif word in seen:
                part.fault((key, at), "duplicate", f"{named(word)} stands here twice")
            else:
                seen[word] = None
        return tuple(seen)

    def _name(self, path: Path) -> str:
        """The key at the end of a path, as the name of a tool or an argument."""
        name = str(path[-1])
        if not _speakable(name):
            what = f"a name is up to {_MAX_NAME} visible characters without a space"
            self._source.fault(path, "value", f"{what}; {found(name)}")
        elif not {"*", "?"}.isdisjoint(name):
            what = "`*` and `?` in a name are not supported by this version of SafeRun"
            self._source.fault(path, "unsupported", f"{what}; write each name out")
        return name

    def _id(self, part: Part) -> str:
        said = part["id"]
        if not _matches(_ID, said):
            what = f"expected an `id` of letters, digits, `.`, `_` and `-`; {found(said)}"
            part.fault(("id",), "value", what)
        elif said in self._ids:
            what = f"{named(said)} is taken; every rule and limit has an id of its own"
            part.fault(("id",), "duplicate", what)
        else:
            self._ids.add(said)
        return str(said)


def _not_a_scope(scope: Any, owner: _Owner | None) -> str | None:
    """What is wrong with one scope of a limit, None where it can be counted by."""
    if scope == "run":
        return None
    if scope in _LATER_SCOPES:
        return (
            f"`per: {scope}` is not supported by this version of SafeRun; "
            "a limit counts within one run: use `run` or `args.NAME`"
        )
    if not isinstance(scope, str) or not scope.startswith("args."):
        return f"expected `run`, `args.NAME` or a list of these; {found(scope)}"
    if owner is None:
        return "a limit over all tools counts per `run`; an argument belongs to a tool's own limits"
    name = scope.removeprefix("args.")
    if owner.args is None or name in owner.args:
        return None
    return _unknown(name, owner.args)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    return Matcher(schema).admits(value, floats=floats_in({"": value}))


def _version(value: Any) -> str:
    return sha256(canonical.encode(value)).hexdigest()


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _speakable(name: str) -> bool:
    return name.isprintable() and " " not in name and 0 < len(name) <= _MAX_NAME


def _unknown(name: str, args: Iterable[str]) -> str:
    what = f"{named(name)} is not an argument that the tool's `args` describe; they describe"
    return f"{what} {listed(args) or 'none'}{meant(name, args)}"
