"""What people are asked about a call, and what an answer to it holds for.

With it goes the call itself, kept for whoever changes it or makes it later.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from saferun import approval, narration, redact, written
from saferun.admission import ASKING
from saferun.approval import Question
from saferun.call import Call, Demand, canonical
from saferun.control import Charge, Groups
from saferun.ledger import ApprovalEntry, DecisionEntry
from saferun.policy import Ruling, ToolPolicy
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
    entry: DecisionEntry,
    store: Store,
    groups: Groups,
    way: Way,
    again: Asked | None = None,
) -> Ask:
    """The question to people about a call; `again` is the request that it is about already.

    Raises StoreError where what is kept of it cannot be.
    """
    digest = store.keys.digest
    demands = ruling.demands or (approval.ANYBODY,)
    root = None if call.run is None else call.run.root
    # All that an answer holds for. Anything new about the call makes it another question.
    same = (
        call.run.tenant if call.run is not None else None,
        entry.run,
        entry.tool,
        entry.digest,
        entry.policy,
        [reason.id for reason in ruling.reasons],
        demands,
    )
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
        channels=way.channels,
        # Of the very arguments: what is shown in their place may be the same for many.
        parts=parts(ruling.args, store),
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
        same=None if root is None else digest(canonical.encode(("same", root, *same))),
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
            groups=ruling.groups,
            demands=demands,
            reasons=ruling.reasons,
        ),
        question=question,
        pace=Charge(ASKING, pace, about=said),
        held=held,
        root=root,
        whose=grantee(call, store),
        parts=question.parts,
    )


def grantee(call: Call, store: Store) -> str:
    """Whose calls of a tool a grant is for: a keyed digest of tool, agent, user and tenant."""
    about = call.run
    whose = (None, None, None) if about is None else (about.agent, about.user_id, about.tenant)
    return store.keys.digest(canonical.encode(("grant", call.tool, *whose))).hex()


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
