"""Runs of trace files, brought into the ledger to be looked at: they decide and count nothing."""

from typing import NamedTuple

import msgspec

from saferun import plain, redact
from saferun.call import canonical
from saferun.config import Said
from saferun.ledger import AnyEntry, CallEntry, ModelEntry, RunEntry, UserEntry, encode
from saferun.replay import Said as TracedWords
from saferun.replay import TracedCall, TracedRun
from saferun.sealing import Sealing
from saferun.store import Blob, Import, Seal, Store
from saferun.written import MAX_CALL_ID, MAX_TOOL, Sealer, blob_sizes, bounded, brief, placed


class Above(NamedTuple):
    """A run that another was a part of, and the one at the top, by the ids that they have here."""

    run: str
    root: str


def imported(
    run: TracedRun,
    run_id: str,
    file: str,
    store: Store,
    sensitive: frozenset[Said] = frozenset(),
    above: Above | None = None,
) -> Import:
    """A run of a trace file, under an id in the imports' own namespace.

    `above` is the run that it was a part of, if that was brought in with it.
    `file` is the SHA-256 of the file in hex, which stands in the run's first entry.
    """
    sealer = Sealer(sensitive, Sealing())
    user = sealer.brief("user", run.user)
    prompt, context = sealer.brief("prompt", run.prompt), sealer.brief("context", run.context)
    about = RunEntry(
        event="start",
        run=run_id,
        root=run_id if above is None else above.root,
        parent=None if above is None else above.run,
        agent=brief(run.agent),
        user=user,
        tenant=brief(run.tenant),
        prompt=prompt,
        context=context,
        imported=file,
        sealed=sealer.sealing.names,
    )
    entries, beside, sealed = [encode(about)], list[Blob](), sealer.sealing.values
    for step in run.steps:
        sealer = Sealer(sensitive, Sealing())
        entry, blobs = (
            _call(step, run_id) if isinstance(step, TracedCall) else _said(step, run_id, sealer)
        )
        entries.append(encode(entry))
        beside += blobs
        sealed += sealer.sealing.values
    whose = run.user.get("id")
    subject = store.subject(run.tenant, whose if isinstance(whose, str) else "")
    # A live run is bound to four values, so it can never be taken for this one.
    identity = canonical.encode(("import", file))
    return Import(run_id, identity, entries, beside, Seal(subject, sealed) if sealed else None)


def _call(call: TracedCall, run_id: str) -> tuple[CallEntry, tuple[Blob, ...]]:
    written = call.written is None
    asked = canonical.encode(call.args) if written else plain.encode_result(call.written)
    args, blobs = placed(redact.encoded(bounded(asked)))
    result: msgspec.Raw | None = None
    if call.ran:
        data, beside = placed(redact.encoded(bounded(plain.encode_result(call.result))))
        result, blobs = msgspec.Raw(data), (*blobs, *beside)
    entry = CallEntry(
        run=run_id,
        call=None if call.call_id is None else redact.text(call.call_id)[:MAX_CALL_ID],
        tool=redact.text(call.tool)[:MAX_TOOL],
        args=msgspec.Raw(args),
        result=result,
        status="ok" if call.ran else "unknown",
        cost_usd=call.cost_usd,
        blobs=blob_sizes(blobs),
    )
    return entry, blobs


def _said(said: TracedWords, run_id: str, sealer: Sealer) -> tuple[AnyEntry, tuple[Blob, ...]]:
    if said.by == "user":
        text, blobs = sealer.kept("messages", "text", said.content)
        names = sealer.sealing.names
        return UserEntry(run=run_id, text=text, blobs=blob_sizes(blobs), sealed=names), blobs
    output, blobs = sealer.kept("output", "output", said.content)
    entry = ModelEntry(
        run=run_id,
        output=output,
        model=None if said.model is None else redact.text(said.model)[:MAX_TOOL],
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cost_usd=said.cost_usd,
        blobs=blob_sizes(blobs),
        sealed=sealer.sealing.names,
    )
    return entry, blobs
