"""What may speak about a call in one version of a policy, and what each of it has done so far."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlencode

from saferun import differing
from saferun.approval import inert
from saferun.call import at
from saferun.control import Limit
from saferun.errors import StoreError
from saferun.marks import Mark
from saferun.policy import Policy
from saferun.policy.demand import sentence
from saferun.policy.tool import RulePolicy, ToolPolicy
from saferun.store.hits import Hits, hits
from saferun.store.index import Index

MANY = 1_000
"""Rules that are shown and counted."""

EFFECTS: Mapping[str, Mark] = {
    "allow": Mark("allow", "✓", "allows"),
    "ask": Mark("ask", "?", "asks"),
    "deny": Mark("deny", "✕", "denies"),
    "defer": Mark("ask", "?", "defers"),
    "change": Mark("mod", "~", "changes"),
}


class Line(NamedTuple):
    """What may speak about a call, and what it has done; inert. `hits` is None where not counted.

    `when` are its conditions, `line` is where it stands in the file, `last` is when it spoke last,
    and `found` leads to the entries where it spoke.
    """

    id: str
    tool: str
    kind: str
    mark: Mark
    message: str
    line: int | None
    whom: str = ""
    when: tuple[str, ...] = ()
    shadow: bool = False
    hits: Hits | None = None
    last: str = ""
    found: str = ""

    @property
    def silent(self) -> bool:
        """Whether it has never spoken, and might have been meant to."""
        return self.hits is not None and not self.hits.all and self.kind in ("rule", "limit")


class Counted(NamedTuple):
    """How often everything has spoken, up to which entry, and when what spoke last did."""

    hits: Mapping[str, Hits]
    times: Mapping[int, str]
    size: int


def counted(index: Index, name: str, policy: Policy) -> Counted:
    """How often everything in a policy has spoken, in any version of that name."""
    found = hits(index, name, [raw for raw, _ in islice(_lines(policy), MANY)])
    times: dict[int, str] = {}
    for seq in {each.last for each in found.values() if each.last is not None}:
        try:
            times[seq] = at(index.reader.time(seq))
        except StoreError:
            # Archived, or changed since.
            times[seq] = f"entry {seq:,}"
    return Counted(found, times, index.size)


def lines(policy: Policy, done: Counted | None) -> Iterator[Line]:
    """Everything in a policy that may speak, a line each, in the order of its tools."""
    for raw, line in _lines(policy):
        found = None if done is None else done.hits.get(raw)
        last = ""
        if done is not None and found is not None and found.last is not None:
            last = done.times.get(found.last, "")
        link = f"/ledger/entries?{urlencode({'rule': raw, 'policy': policy.name})}"
        tried = line.shadow or policy.mode == "shadow"
        yield line._replace(hits=found, last=last, found=link, shadow=tried)


def _lines(policy: Policy) -> Iterator[tuple[str, Line]]:
    for limit in policy.document.limits:
        yield limit.id, _limit(limit, "all tools")
    for some in (*policy.tools.values(), *policy.prefixes.values()):
        for entry in some:
            yield from _of_tool(entry)
    other = policy.stranger.otherwise
    if other is not None:
        said = inert(f"A tool that is not listed {other.message}", 600)
        yield (
            other.id,
            Line("default", "any other tool", "default", EFFECTS[other.effect], said, None),
        )


def _of_tool(entry: ToolPolicy) -> Iterator[tuple[str, Line]]:
    said = entry.said
    tool = inert(said.name, 80)
    if said.scope is not None:
        tool = f"{tool}, for {inert(said.scope.sentence(), 200)}"
    for rule in (*entry.rules, *entry.changes):
        yield rule.said.id, _rule(rule, tool)
    for limit in said.limits:
        yield limit.id, _limit(limit, tool)
    if entry.otherwise is not None:
        spoken = entry.otherwise
        mark, message = EFFECTS[spoken.effect], inert(spoken.message, 600)
        yield spoken.id, Line(inert(spoken.id, 120), tool, "default", mark, message, spoken.line)
    if said.args is not None:
        own, message = f"{said.name}.args", "Arguments that do not fit."
        yield own, Line(inert(own, 120), tool, "arguments", EFFECTS["deny"], message, said.line)


def _rule(rule: RulePolicy, tool: str) -> Line:
    said = rule.said
    return Line(
        id=inert(said.id, 120),
        tool=tool,
        kind="rule",
        mark=EFFECTS[said.answer or "change"],
        message=inert(rule.reason.message, 600),
        line=said.line,
        whom="" if said.demand is None else inert(sentence(said.demand), 300),
        when=tuple(inert(each, 300) for each in _conditions(rule))[:20],
        shadow=said.shadow,
    )


def _limit(limit: Limit, tool: str) -> Line:
    said = inert(limit.sentence(), 600)
    return Line(
        id=inert(limit.id, 120),
        tool=tool,
        kind="limit",
        mark=EFFECTS[limit.on_limit],
        message=said,
        line=limit.line,
        shadow=limit.shadow,
    )


def _conditions(rule: RulePolicy) -> Iterator[str]:
    """The conditions under which a rule speaks, as they stand in it."""
    said = rule.said
    for name, schema in (said.args or {}).items():
        yield f"{name} {differing.described(schema)}"
    if said.when is not None:
        yield said.when.text
    if said.scope is not None:
        yield said.scope.sentence()
