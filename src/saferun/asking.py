"""What people are asked about a call, and what an answer to it holds for.

With it goes the call itself, kept for whoever changes it or makes it later.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from saferun import approval, narration, redact, written
from saferun.admission import ASKING
from saferun.approval import Because, Known, People, Question
from saferun.call import Call, Demand, Facts, RunRef, canonical
from saferun.control import Charge, Groups
from saferun.ledger import ApprovalEntry, DecisionEntry
from saferun.policy import Ruling, ToolPolicy, because
from saferun.record import Asked
from saferun.store import Ask, Held, Store, new_id


class Way(NamedTuple):
    """How people are asked about a call: by which channels, and for how long they may take.

    `patience` is in seconds, where no rule says it. With `leaves`, the caller does not wait, and
    the call is made later by whoever resumes it.
    """

    channels: tuple[str, ...] = ()
    patience: float = 900.0
    leaves: bool = False


def ask(
    call: Call,
    ruling: Ruling,
    facts: Facts,
    entry: DecisionEntry,
    store: Store,
    groups: Groups,
    way: Way,
    people: People,
    again: Asked | None = None,
) -> Ask:
    """The question to people about a call; `again` is the request that it is about already.

    Raises StoreError where what is kept of it cannot be.
    """
    digest = store.keys.digest
    demands = ruling.demands or (approval.ANYBODY,)
    root = None if call.run is None else call.run.root
    function = None
    if call.function is not None:
        function = digest(canonical.encode(("function", call.function))).hex()
    # All that an answer holds for. Anything new about the call makes it another question.
    same = (
        call.run.tenant if call.run is not None else None,
        entry.run,
        entry.tool,
        entry.digest,
        function,
        entry.policy,
        [reason.id for reason in ruling.reasons],
        demands,
    )
    # Nor does one answer serve calls of gates whose people are others.
    served = ("same", root, *same, people.digest)
    pace, said, _ = groups.of(("tool",) if call.run is None else ASKING.per, call, ASKING.id)
    tool = ruling.tool
    # What the policy itself keeps from being shown is its author's choice, and known to whoever
    # approves; what only looks like a secret is not.
    meant = redact.blanked(ruling.args, written.under(tool.redact, "args"))
    shown = redact.value(meant)
    edits = _editable(demands, ruling, meant, shown)
    own = new_id() if again is None else again.request
    envelope = store.envelope(own)
    if again is None:
        envelope.make()
    question = Question(
        id=own,
        tool=call.tool,
        args=shown,
        hidden=tuple(name for name in meant if shown.get(name) != meant[name]),
        run=narration.shown(call.run) if call.run is not None else None,
        reasons=ruling.reasons,
        demands=demands,
        effect=tool.effect,
        policy=ruling.policy,
        digest=entry.digest or "",
        edits=edits,
        schema=_schema(tool),
        because=_because(call, ruling, facts, shown),
        channels=way.channels,
        # Of the very arguments: what is shown in their place may be the same for many.
        parts=parts(ruling.args, store),
        function=function,
    )
    known = people.known(question)
    question = msgspec.structs.replace(
        question,
        known=known,
        # Of the ids themselves, which may be such as are not shown.
        whose=grantee(call.tool, function, call.run, store, known),
    )
    key = None if entry.key is None else bytes.fromhex(entry.key)
    if key is None and way.leaves:
        # So that resuming it twice is the same call twice.
        key = digest(canonical.encode(("resumed", own)))
    held = None
    if again is None and (edits or way.leaves):
        whole = Held(call=call, key=key, reasons=ruling.reasons, demands=ruling.demands)
        held = envelope.seal("call", canonical.encode(whole))
    within = [each.within for each in demands if each.within is not None]
    return Ask(
        envelope=envelope,
        key=key if again is None else again.key,
        binding=digest(canonical.encode((entry.call, *same))),
        same=None if root is None else digest(canonical.encode(served)),
        deadline=min(within, default=round(way.patience * 1e6)),
        lease=approval.RESUME_BY if way.leaves else approval.START_BY,
        entry=ApprovalEntry(
            id=own,
            event="requested",
            run=entry.run,
            agent=entry.agent,
            user=entry.user,
            tenant=entry.tenant,
            call=entry.call,
            tool=entry.tool,
            digest=entry.digest,
            function=function,
            groups=ruling.groups,
            demands=demands,
            reasons=ruling.reasons,
        ),
        question=question,
        pace=Charge(ASKING, pace, about=said),
        held=held,
        root=root,
        whose=question.whose,
        parts=question.parts,
        leaves=way.leaves,
    )


def _because(
    call: Call, ruling: Ruling, facts: Facts, shown: dict[str, Any]
) -> tuple[Because, ...]:
    """The conditions for which rules ask, with what they saw, as far as that may be shown."""
    run = None if call.run is None else narration.shown(call.run)
    blank = msgspec.structs.replace(call, run=run)
    found: list[Because] = []
    try:
        told = because(ruling, call, facts)
        # What is kept from being shown is kept so here: only what is seen without it as well is.
        without = because(msgspec.structs.replace(ruling, args=shown), blank, facts)
        for rule, clauses in told.items():
            spoke = [each for each in zip(clauses, without[rule], strict=True) if each[0].holds]
            for clause, masked in (spoke or list(zip(clauses, without[rule], strict=True)))[:_FEW]:
                seen = clause.value == masked.value
                found.append(
                    Because(
                        rule=rule,
                        text=_cut(redact.text(clause.text[: 10 * _BRIEF])),
                        saw=_cut(_text(redact.value(clause.value))) if seen else "not shown",
                        holds=clause.holds,
                    )
                )
    except Exception:  # noqa: BLE001
        # A call waits for people, and not for a better explanation of why.
        return ()
    return tuple(found[:_CLAUSES])


_FEW, _CLAUSES = 8, 40
"""Conditions of one rule, and of all, that a question has."""

_BRIEF = 200
"""Characters of a condition, and of what it saw."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical.encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def grantee(
    tool: str, function: str | None, about: RunRef | None, store: Store, known: Known | None
) -> str:
    """Whose calls a grant is for: a keyed digest of tool and function, agent, user and tenant.

    The people of the gate are in it too: what some have granted holds where they may.
    """
    whose = (None, None, None) if about is None else (about.agent, about.user_id, about.tenant)
    among = None if known is None else known.digest
    return store.keys.digest(canonical.encode(("grant", tool, function, *whose, among))).hex()


def parts(args: Mapping[str, Any], store: Store) -> dict[str, str]:
    """Keyed digests of the values of arguments, by name, for grants that are narrowed by some."""
    return {
        name: store.keys.digest(canonical.encode(("part", name, value))).hex()
        for name, value in itertools.islice(args.items(), _PARTS)
    }


_PARTS = 100
"""Arguments that a grant can be narrowed by."""


def _editable(
    demands: Sequence[Demand], ruling: Ruling, meant: Mapping[str, Any], shown: Mapping[str, Any]
) -> tuple[str, ...]:
    """The arguments that whoever answers may change: those that all rules agree on."""
    asking = {reason.id for reason in ruling.reasons if reason.effect == "ask"}
    if not asking <= {each.rule for each in demands}:
        # Something else than a rule asks, a control say, and says nothing of edits.
        return ()
    agreed = set(demands[0].edits).intersection(*(each.edits for each in demands))
    # What is shown as something else cannot be put back from what is shown.
    return tuple(sorted(name for name in agreed if shown.get(name) == meant.get(name)))


def _schema(tool: ToolPolicy) -> dict[str, Any] | None:
    args = tool.said.args
    if args is None:
        return None
    return {
        "type": "object",
        "properties": {name: each.schema for name, each in args.items()},
        "required": [name for name, each in args.items() if each.required],
        "additionalProperties": False,
    }
