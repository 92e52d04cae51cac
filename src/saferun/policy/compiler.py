"""From what a policy says to a policy that decides."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from jsonschema_rs import Draft202012Validator

from saferun.call import PolicyRef, Reason
from saferun.policy import form
from saferun.policy.demand import whom
from saferun.policy.document import UNSET, Document, Rule, Tool
from saferun.policy.matcher import Matcher, compiled
from saferun.policy.policy import Policy
from saferun.policy.tool import RulePolicy, ToolPolicy
from saferun.policy.wording import clauses, listed


def compile_policy(document: Document) -> Policy:
    """The policy that a sound document describes."""
    entries: dict[str, list[ToolPolicy]] = {}
    for tool in document.tools:
        entries.setdefault(tool.name, []).append(_tool(document, tool, _otherwise(tool)))
    for each in entries.values():
        # The most specific first. Of those that weigh the same, no call is in two.
        each.sort(key=_weight, reverse=True)
    prefixes = {name[:-1]: tuple(each) for name, each in entries.items() if name.endswith("*")}
    return Policy(
        ref=PolicyRef(name=document.name, version=document.version),
        document=document,
        mode=document.mode,
        tools=MappingProxyType(
            {name: tuple(each) for name, each in entries.items() if not name.endswith("*")}
        ),
        prefixes=MappingProxyType(prefixes),
        lengths=tuple(sorted({len(prefix) for prefix in prefixes}, reverse=True)),
        stranger=_tool(document, _stranger(document), _strange(document)),
        asks_past=any(path[0] == "run" for path in _reads(document)),
        asks_said=any(path[:2] in (("run",), ("run", "said")) for path in _reads(document)),
        passes_unread=any(tool.opaque for tool in document.tools),
        takes_paths=any(entry.paths for each in entries.values() for entry in each),
    )


def _weight(entry: ToolPolicy) -> tuple[int, ...]:
    return entry.said.scope.weight if entry.said.scope is not None else ()


def _reads(document: Document) -> Iterator[tuple[str, ...]]:
    """The paths that any condition of the policy, or any cost, looks at."""
    for tool in document.tools:
        for rule in tool.rules:
            yield from rule.when.reads if rule.when is not None else ()
        yield from tool.cost.reads if tool.cost is not None else ()


def _tool(document: Document, tool: Tool, otherwise: Reason | None) -> ToolPolicy:
    every_rule = tuple(_rule(tool, rule) for rule in tool.rules)
    matchers = None
    if tool.args is not None:
        matchers = {name: Matcher(argument.schema) for name, argument in tool.args.items()}
    every = [
        *(matchers or {}).values(),
        *(each for rule in every_rule for each in rule.matchers.values()),
    ]
    return ToolPolicy(
        said=tool,
        name=tool.name,
        effect=tool.effect,
        limits=document.limits + tool.limits,
        redact=tool.redact,
        sensitive=tool.sensitive,
        results=document.record.results,
        subject=tool.subject,
        idempotent=tool.idempotent,
        loops=tool.loops,
        breaker=tool.breaker,
        poll=tool.poll,
        timeout=tool.timeout,
        cost=tool.cost,
        releasable=tool.releasable,
        opaque=tool.opaque,
        paths=frozenset(_paths(tool)),
        matchers=matchers,
        defaults={
            name: argument.default
            for name, argument in (tool.args or {}).items()
            if argument.default is not UNSET
        },
        rules=tuple(rule for rule in every_rule if rule.said.answer is not None),
        changes=tuple(rule for rule in every_rule if rule.said.answer is None),
        conditional=tuple(rule for rule in every_rule if rule.conditional),
        otherwise=otherwise,
        fitting=_all_but(tool, ()),
        quiet=_all_but(tool, tool.rules) if otherwise is None else None,
        exacting=any(matcher.exacting for matcher in every),
    )


def _paths(tool: Tool) -> Iterator[str]:
    """The arguments of which something is said about where they have to lie, or must not."""
    for name, argument in (tool.args or {}).items():
        fragments = ((rule.args or {}).get(name, {}) for rule in tool.rules)
        if any(form.paths(schema) for schema in (argument.schema, *fragments)):
            yield name


def _otherwise(tool: Tool) -> Reason | None:
    """What is said of a call of a listed tool that no rule decides."""
    sentences = {
        "ask": f"a person must approve {tool.name}",
        "deny": f"no rule of the policy allows this call of {tool.name}",
    }
    if tool.default == "allow":
        return None
    return Reason(
        id=f"{tool.name}.default",
        effect=tool.default,
        source="default",
        message=tool.message or sentences[tool.default],
        line=tool.line,
    )


def _stranger(document: Document) -> Tool:
    """A tool that the policy does not list: nothing is known of it, so the worst is assumed."""
    return Tool(
        name="default",
        effect="destructive",
        args=None,
        default=document.default,
        loops=document.loops,
        breaker=document.breaker,
    )


def _strange(document: Document) -> Reason | None:
    """What is said of such a tool; its name goes before the message."""
    sentences = {
        "ask": "is not a tool of this policy, so a person must approve it",
        "deny": "is not a tool of this policy",
    }
    if document.default == "allow":
        return None
    return Reason(
        id="default",
        effect=document.default,
        source="default",
        message=sentences[document.default],
    )


def _rule(tool: Tool, rule: Rule) -> RulePolicy:
    return RulePolicy(
        said=rule,
        reason=Reason(
            id=rule.id,
            # What changes a call lets it go on.
            effect=rule.answer or "allow",
            source="rule",
            message=rule.message or _sentence(tool, rule),
            line=rule.line,
        ),
        matchers={name: Matcher(fragment) for name, fragment in (rule.args or {}).items()},
        # These cannot stand in a schema, so each is asked about every call.
        conditional=not rule.args and (rule.when is not None or rule.scope is not None),
        reads=tuple(rule.when.reads) if rule.when is not None else (),
    )


def _sentence(tool: Tool, rule: Rule) -> str:
    """What a rule says that was given no message of its own."""
    where = ""
    conditions = [
        text
        for name, each in (rule.args or {}).items()
        for text, _ in clauses(f"args.{name}", each)
    ]
    if rule.when is not None:
        conditions.append(" ".join(rule.when.text.split()))
    if conditions and tool.disclose:
        where = " where " + " and ".join(conditions[:5])
    if rule.demand is not None:
        return f"{whom(rule.demand)} must approve {tool.name}{where}"
    if rule.answer is None:
        changed = listed(dict.fromkeys((*rule.sets, *rule.clamps)))
        return f"the policy changes {changed} of {tool.name}{where}"
    return f"the policy {'denies' if rule.answer == 'deny' else 'allows'} {tool.name}{where}"


def _all_but(tool: Tool, rules: tuple[Rule, ...]) -> Draft202012Validator | None:
    """The schema of the arguments that fit and that none of these rules speaks about.

    A rule about one argument stands in that argument's own schema, so that a hundred of
    them on one tool cost little more than one. Conditions and scopes cannot stand in a schema:
    of a rule that has one, its `args` do, and without any it is asked by itself. None where a
    rule speaks about every call.
    """
    rules = tuple(rule for rule in rules if rule.args or (rule.when is None and rule.scope is None))
    if any(rule.args is None for rule in rules):
        return None
    if tool.args is None:
        return compiled({"type": "object", "propertyNames": {"type": "string"}})
    alone: dict[str, list[Any]] = {name: [] for name in tool.args}
    several = []
    for rule in rules:
        fragments = dict(rule.args or {})
        if len(fragments) == 1:
            [(name, fragment)] = fragments.items()
            alone[name].append(fragment)
        else:
            several.append({"properties": fragments, "required": list(fragments)})
    closed = {
        "type": "object",
        "properties": {
            name: _but(argument.schema, alone[name]) for name, argument in tool.args.items()
        },
        "required": [name for name, argument in tool.args.items() if argument.required],
        "additionalProperties": False,
    }
    return compiled(_but(closed, several))


def _but(schema: dict[str, Any], none_of: list[Any]) -> dict[str, Any]:
    return {"allOf": [schema], "not": {"anyOf": none_of}} if none_of else schema
