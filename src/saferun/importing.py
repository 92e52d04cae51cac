"""Runs of trace files, brought into the ledger to be looked at: they decide and count nothing."""

from collections import deque
from collections.abc import Iterator, Mapping
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


class Brought(NamedTuple):
    """A run as it is brought in: its entries, the first of which says what it is.

    `own` is its id in the file. `begun` are the runs right within it, by theirs, each with how
    many steps came before that.
    """

    run: str
    own: str
    entries: list[bytes]
    begun: tuple[tuple[str, int], ...]
    blobs: list[Blob]
    seal: Seal | None


def together(top: Brought, within: Mapping[tuple[str | None, str], Brought], file: str) -> Import:
    """A run with those within it, by the ids of their parents and their own in the file, as one.

    Each stands at the step that was the newest when it began.
    """
    entries: list[tuple[str, bytes]] = []
    left = dict(within)
    # No recursion: a file may have agents as deep within each other as it likes.
    done, under = [top], [(top, _pieces(top))]
    while under:
        run, pieces = under[-1]
        piece = next(pieces, None)
        if piece is None:
            under.pop()
        elif isinstance(piece, bytes):
            entries.append((run.run, piece))
        elif (child := left.pop((run.own, piece), None)) is not None:
            done.append(child)
            under.append((child, _pieces(child)))
    return Import(
        # A live run is bound to four values, so it can never be taken for this one.
        canonical.encode(("import", file)),
        entries,
        [blob for each in done for blob in each.blobs],
        [each.seal for each in done if each.seal is not None],
    )


def _pieces(run: Brought) -> Iterator[bytes | str]:
    """The entries of a run, and between them the ids of the runs that began there."""
    first, *steps = run.entries
    yield first
    waiting = deque(sorted(run.begun, key=lambda each: each[1]))
    for number, step in enumerate(steps):
        while waiting and waiting[0][1] <= number:
            yield waiting.popleft()[0]
        yield step
    yield from (child for child, _ in waiting)


def brought(
    run: TracedRun,
    run_id: str,
    file: str,
    store: Store,
    sensitive: frozenset[Said] = frozenset(),
    above: Above | None = None,
) -> Brought:
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
    seal = Seal(subject, sealed) if sealed else None
    return Brought(run_id, run.run_id, entries, run.begun, beside, seal)


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
