"""What runs say of themselves, as entries: how they begin and end, and what is said in them.

Models, users and applications write all of it. Of that, only costs decide anything, and where a
rule asks for it what people have said, which no model writes.
"""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from saferun import prices, redact, said
from saferun.admission import NOTHING, Due
from saferun.call import RunRef, canonical
from saferun.config import Said
from saferun.control import Charge
from saferun.control.amount import MICRO, micro
from saferun.keeping import WHOLE, Keeping
from saferun.ledger import ModelEntry, RunEntry, UserEntry, encode
from saferun.run import ModelTurn, within
from saferun.sealing import Sealing
from saferun.store import Append, Blob, Opening, Store
from saferun.written import MAX_TOOL, Sealer, blob_sizes, brief, whose

log = logging.getLogger("saferun")


MAX_GIVEN = 8 * 1024
"""The most bytes that what a model is given takes of its entry, beside what it says; what is
longer goes beside the entry."""

MAX_PLAN = 4 * 1024
"""The same for its plan."""

MAX_ERROR = 500
"""Characters kept of why a model gave no answer."""

_REPEATED: frozenset[Said] = frozenset(("prompt", "user", "context", "messages", "output"))
"""What the messages that a model is given repeat."""


class Rules(NamedTuple):
    """What is sealed and how much is kept of what a run says, as settings and policy have it."""

    sensitive: frozenset[Said] = frozenset()
    keeping: Keeping = WHOLE

    def sealer(self, store: Store) -> Sealer:
        return Sealer(self.sensitive, Sealing(), self.keeping, store.keys.digest)


def opening(about: RunRef, store: Store, rules: Rules) -> Opening:
    """A run's first entry, and whom it is bound to."""
    sealer = rules.sealer(store)
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
                unkept=sealer.sealing.unkept,
            )
        ),
        seal=sealer.seal(about.user_id, about.tenant, store),
        said=said.begun((), prompt, sealer.sealing.unkept) if about.parent is None else (),
    )


def shown(about: RunRef) -> RunRef:
    """A run as it may be shown to people and sent to channels: what the ledger keeps of it.

    However much there is about its user, who that is stands there: they may not answer for it.
    """
    user = brief(about.user)
    if about.user_id is not None and "id" not in user:
        user = {"id": redact.text(about.user_id), **user}
    return msgspec.structs.replace(
        about,
        user=user,
        prompt=brief(about.prompt),
        plan=brief(about.plan),
        context=brief(about.context),
        users=tuple(map(redact.text, about.users)),
    )


def countable(turn: ModelTurn) -> ModelTurn:
    """A model turn as it can be kept and counted, whatever the application has put into it.

    Its cost is that of its model and tokens where it says none, if that is known, rounded up to
    micro-dollars. What is no count and no amount is left out: an entry that cannot be read again
    would stand in the way of all that reads the ledger.
    """
    model = None if turn.model is None else _model(str(turn.model)[: 4 * MAX_TOOL])
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


@functools.lru_cache(maxsize=1_024)
def _model(name: str) -> str:
    return redact.text(name)[:MAX_TOOL]


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
    rules: Rules,
    named: str | None = None,
) -> Append:
    """`due` is what the turn has cost, by the limits that add that up.

    `named` is the id that later turns can refer to it by, where they may.
    """
    sealer, keeping = rules.sealer(store), rules.keeping
    sensitive, given = rules.sensitive, turn.given
    messages, plan, context = None, None, None
    beside: tuple[Blob, ...] = ()
    if given is not None:
        sealed = not sensitive.isdisjoint(_REPEATED)
        messages, beside = sealer.told(
            "messages", given.new, keeping.given, MAX_GIVEN, sensitive=sealed
        )
    if turn.plan is not None:
        plan, blobs = sealer.told(
            "plan", turn.plan, keeping.prompts, MAX_PLAN, sensitive="plan" in sensitive
        )
        beside += blobs
    if turn.context is not None:
        context, blobs = sealer.told(
            "context", turn.context, keeping.prompts, MAX_GIVEN, sensitive="context" in sensitive
        )
        beside += blobs
    output, blobs = None, ()
    if turn.output is not None:
        output, blobs = sealer.kept("output", "output", turn.output)
        beside += blobs
    answer = None
    if turn.answer is not None and keeping.output == "whole":
        # Where the output is not kept, that says so for both.
        answer, blobs = sealer.told(
            "answer", turn.answer, "whole", MAX_GIVEN, sensitive="output" in sensitive
        )
        beside += blobs
    follows = given is not None and keeping.given != "off"
    entry = ModelEntry(
        **whose(about),
        within=within(),
        turn=named if follows else None,
        after=given.after if given is not None and follows else None,
        kept=given.kept if given is not None and follows else 0,
        messages=messages,
        asked=given.asked if given is not None and keeping.given != "off" else None,
        plan=plan,
        context=context,
        output=output,
        answer=answer,
        model=turn.model,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cost_usd=turn.cost_usd,
        latency=turn.latency,
        error=None if turn.error is None else _why(turn.error),
        blobs=blob_sizes(beside),
        sealed=sealer.sealing.names,
        unkept=sealer.sealing.unkept,
    )
    spent = Due(charges=due) if due else NOTHING
    seal = sealer.seal(about.user_id, about.tenant, store)
    return Append([encode(entry)], store.boot, opening, beside, spent, seal)


def _why(error: Any) -> str:
    """Why there is no answer. What an exception says may repeat what was sent."""
    if isinstance(error, BaseException):
        error = type(error).__name__
    said = redact.text(str(error)[: 4 * MAX_ERROR])[:MAX_ERROR]
    return said.encode(errors="replace").decode()


def user_message(about: RunRef, text: str, opening: Opening, store: Store, rules: Rules) -> Append:
    sealer = rules.sealer(store)
    shown, blobs = sealer.kept("messages", "text", text)
    entry = UserEntry(
        **whose(about),
        within=within(),
        text=shown,
        blobs=blob_sizes(blobs),
        sealed=sealer.sealing.names,
        unkept=sealer.sealing.unkept,
    )
    seal = sealer.seal(about.user_id, about.tenant, store)
    return Append([encode(entry)], store.boot, opening, blobs, seal=seal)


def run_end(run_id: str, error: str | None, opening: Opening, boot: str) -> Append:
    return Append([encode(RunEntry(event="end", run=run_id, error=error))], boot, opening)
