"""Calls that two policies have the same entries and rules for: what can be compared as one.

Which entry a call falls under, and which of its rules hold, depends on the tool's name and on
whom the call comes from, and changes only at the names that the policies themselves say.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from saferun.policy.analysis.demand import bare
from saferun.policy.analysis.situation import Known, Situation
from saferun.policy.document import Rule, Scope, Tool
from saferun.policy.policy import Policy

MAX_CELLS = 512
"""Combinations of user, tenant, agent and environment that are looked at one by one."""

ANY = "*"
"""The tools that neither policy lists."""

_WHO = ("user", "tenant", "agent", "environment")
_PATHS: dict[str, Known] = {
    "user": ("user", "id"),
    "tenant": ("tenant",),
    "agent": ("agent",),
    "environment": ("environment",),
}


class Kind(NamedTuple):
    """Tools that both policies treat alike: `said` is what a reader calls them, `name` is one."""

    said: str
    name: str


class Standing(NamedTuple):
    """What one policy says on the calls of a cell: an entry, and those of its rules that hold.

    `stuck` says that a rule cannot tell whether it holds, so that every call is denied.
    """

    entry: Tool
    rules: tuple[Rule, ...]
    stuck: bool


class Cell(NamedTuple):
    """One tool and whom its calls come from. What is not in `who` is not known."""

    kind: Kind
    who: tuple[tuple[Known, str], ...]

    def situation(self) -> Situation:
        return Situation(tool=self.kind.name, args={}, known=dict(self.who))

    def told(self) -> dict[str, str]:
        """Whose calls they are, by dotted names."""
        return {".".join(path): name for path, name in self.who}

    def standing(self, policy: Policy) -> Standing:
        call = self.situation().call()
        environment = dict(self.who).get(("environment",))
        entry = policy.entry(call, environment).said
        rules, stuck = [], False
        for rule in entry.rules:
            if rule.shadow:
                continue
            held = rule.scope.covers(call, environment) if rule.scope is not None else True
            if held:
                rules.append(rule)
            elif held is None and rule.answer != "allow":
                stuck = True
        return Standing(entry, tuple(rules), stuck)


def kinds(*policies: Policy) -> tuple[Kind, ...]:
    """Every tool that a policy lists, each `mcp.*` for the rest of it, and all others."""
    names = sorted({name for policy in policies for name in policy.tools})
    prefixes = sorted({prefix for policy in policies for prefix in policy.prefixes})
    listed = [Kind(name, name) for name in names]
    patterns = [Kind(f"{prefix}*", _unlisted(prefix, names, prefixes)) for prefix in prefixes]
    if "" in prefixes:
        return (*listed, *patterns)
    return (*listed, *patterns, Kind(ANY, _unlisted("", names, prefixes)))


def kind_of(tool: str, *policies: Policy) -> str:
    """What `kinds` calls a tool."""
    if any(tool in policy.tools for policy in policies):
        return tool
    fitting = [
        prefix for policy in policies for prefix in policy.prefixes if tool.startswith(prefix)
    ]
    return f"{max(fitting, key=len)}*" if fitting else ANY


def cells(kind: Kind, *policies: Policy) -> Iterator[Cell]:
    """All cells of a tool, those about which more is known first."""
    scopes = [scope for policy in policies for scope in _scopes(policy, kind.name)]
    said: list[list[tuple[Known, str] | None]] = []
    for field in _WHO:
        named = dict.fromkeys(value for scope in scopes for value in getattr(scope, field))
        if named:
            other = "other"
            while other in named:
                other += "_"
            path = _PATHS[field]
            said.append([*((path, value) for value in named), (path, other), None])
    for who in product(*said):
        yield Cell(kind, tuple(each for each in who if each is not None))


def _scopes(policy: Policy, name: str) -> Iterator[Scope]:
    """The scopes of all entries that a tool of this name may fall under, and of their rules."""
    for tool in policy.document.tools:
        if tool.name != name and not (tool.prefix is not None and name.startswith(tool.prefix)):
            continue
        if tool.scope is not None:
            yield tool.scope
        yield from (rule.scope for rule in tool.rules if rule.scope is not None)


def _unlisted(prefix: str, names: list[str], prefixes: list[str]) -> str:
    """A name that begins so and that no other entry is about."""
    others = [other for other in prefixes if other.startswith(prefix) and other != prefix]
    word = "another"
    while f"{prefix}{word}" in names or any(f"{prefix}{word}".startswith(o) for o in others if o):
        word = f"x{word}" if len(word) % 2 else f"q{word}"
    return f"{prefix}{word}"


def meaning(standing: Standing, inputs: dict[str, Any]) -> Any:
    """What a standing rests on, apart from names, words and places: equal means decides alike."""
    if standing.stuck:
        return None
    entry = standing.entry
    args = None
    if entry.args is not None:
        args = {
            name: (argument.schema, argument.required, argument.default)
            for name, argument in entry.args.items()
        }
    changing = [rule_meaning(rule, inputs) for rule in standing.rules if rule.answer is None]
    answering = [rule_meaning(rule, inputs) for rule in standing.rules if rule.answer is not None]
    return args, entry.default, entry.opaque, changing, sorted(answering, key=repr)


def rule_meaning(rule: Rule, inputs: dict[str, Any]) -> Any:
    """What a rule rests on, apart from its id, its words and its place."""
    condition = None
    if rule.when is not None:
        read = {".".join(path) for path in rule.when.reads}
        about = [(name, schema) for name, schema in inputs.items() if _touches(name, read)]
        condition = (rule.when.text, sorted(about, key=repr))
    demand = bare(rule.demand) if rule.demand is not None else None
    return rule.answer, demand, rule.args, condition, rule.sets, rule.clamps


def _touches(name: str, read: set[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for path in read) or any(
        name.startswith(f"{path}.") for path in read
    )
