"""What runs say of themselves, as entries: how they begin and end, and what is said in them.

Models, users and applications write all of it, so nothing of it decides anything but costs.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from saferun import prices, redact
from saferun.admission import NOTHING, Due
from saferun.call import RunRef, canonical
from saferun.config import Said
from saferun.control import Charge
from saferun.control.amount import MICRO, micro
from saferun.ledger import ModelEntry, RunEntry, UserEntry, encode
from saferun.run import ModelTurn
from saferun.sealing import Sealing
from saferun.store import Append, Opening, Store
from saferun.written import MAX_TOOL, Sealer, blob_sizes, brief, whose

log = logging.getLogger("saferun")


def opening(about: RunRef, store: Store, sensitive: frozenset[Said] = frozenset()) -> Opening:
    """A run's first entry, and whom it is bound to."""
    sealer = Sealer(sensitive, Sealing())
    # Before the entry is made, which names what they have sealed.
    user = sealer.brief("user", about.user)
    prompt, plan = sealer.brief("prompt", about.prompt), sealer.brief("plan", about.plan)
    context = sealer.brief("context", about.context)
    # The run that has begun it is part of it: a switch on that one holds for this one too.
    above = () if about.parent is None else (about.parent,)
    return Opening(
        run_id=about.run_id,
        root=about.root,
        # The root is part of it: limits count there, and a child that came back as a run of its
        # own would start over.
        identity=canonical.encode((about.agent, about.user_id, about.tenant, about.root, *above)),
        entry=encode(
            RunEntry(
                event="start",
                run=about.run_id,
                root=about.root,
                parent=about.parent,
                agent=brief(about.agent),
                user=user,
                tenant=brief(about.tenant),
                prompt=prompt,
                plan=plan,
                context=context,
                sealed=sealer.sealing.names,
            )
        ),
        seal=sealer.seal(about.user_id, about.tenant, store),
    )


def shown(about: RunRef) -> RunRef:
    """A run as it may be shown to people and sent to channels: what the ledger keeps of it."""
    return msgspec.structs.replace(
        about,
        user=brief(about.user),
        prompt=brief(about.prompt),
        plan=brief(about.plan),
        context=brief(about.context),
    )


def countable(turn: ModelTurn) -> ModelTurn:
    """A model turn as it can be kept and counted, whatever the application has put into it.

    Its cost is that of its model and tokens where it says none, if that is known, rounded up to
    micro-dollars. What is no count and no amount is left out: an entry that cannot be read again
    would stand in the way of all that reads the ledger.
    """
    model = None if turn.model is None else redact.text(str(turn.model)[: 4 * MAX_TOOL])[:MAX_TOOL]
    tokens = [
        count if type(count) is int and 0 <= count < 1 << 63 else None
        for count in (turn.input_tokens, turn.output_tokens)
    ]
    cost = None if turn.cost_usd is None else _amount(turn.cost_usd)
    if cost is None and model is not None:
        # What is no amount says nothing, and the tokens may.
        cost = _amount(prices.cost(model, *tokens))
    return msgspec.structs.replace(
        turn, model=model, input_tokens=tokens[0], output_tokens=tokens[1], cost_usd=cost
    )


def _amount(cost: Any) -> float | None:
    """A cost in dollars, rounded up to micro-dollars; None where it is none."""
    if cost is None:
        return None
    if isinstance(cost, float):
        # A subclass, such as NumPy's, is as good a number.
        cost = float(cost)
    try:
        return micro(cost) / MICRO
    except ValueError as problem:
        log.warning("saferun: the cost of a model turn counts towards no budget: %s", problem)
        return None


def model_turn(
    about: RunRef,
    turn: ModelTurn,
    opening: Opening,
    due: Sequence[Charge],
    store: Store,
    sensitive: frozenset[Said] = frozenset(),
) -> Append:
    """`due` is what the turn has cost, by the limits that add that up."""
    sealer = Sealer(sensitive, Sealing())
    output, blobs = sealer.kept("output", "output", turn.output)
    entry = ModelEntry(
        **whose(about),
        output=output,
        model=turn.model,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cost_usd=turn.cost_usd,
        latency=turn.latency,
        blobs=blob_sizes(blobs),
        sealed=sealer.sealing.names,
    )
    spent = Due(charges=due) if due else NOTHING
    seal = sealer.seal(about.user_id, about.tenant, store)
    return Append([encode(entry)], store.boot, opening, blobs, spent, seal)


def user_message(
    about: RunRef,
    text: str,
    opening: Opening,
    store: Store,
    sensitive: frozenset[Said] = frozenset(),
) -> Append:
    sealer = Sealer(sensitive, Sealing())
    shown, blobs = sealer.kept("messages", "text", text)
    entry = UserEntry(
        **whose(about), text=shown, blobs=blob_sizes(blobs), sealed=sealer.sealing.names
    )
    seal = sealer.seal(about.user_id, about.tenant, store)
    return Append([encode(entry)], store.boot, opening, blobs, seal=seal)


def run_end(run_id: str, error: str | None, opening: Opening, boot: str) -> Append:
    return Append([encode(RunEntry(event="end", run=run_id, error=error))], boot, opening)
