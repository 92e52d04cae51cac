"""Verifying a store as it stands: its entries, and against them all that is kept beside them.

What vouches from outside is for whoever asks to name. Without any of it, what is found is that
the ledger is consistent in itself and with its own key, or where it first is not.
"""

from collections.abc import Callable, Sequence

import msgspec

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.ledger import (
    EntryError,
    Kept,
    Known,
    LedgerEntry,
    NoteError,
    Problem,
    Report,
    Since,
    Verifier,
    parse,
)
from saferun.ledger import verify as nothing
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.reading import Reader
from saferun.store.sqlite import ChangedError
from saferun.store.verifying import verify

_LOCAL = 1_000
"""Checkpoints kept with the ledger that it is held against, at most. They prove little."""

_TIMES = 10
"""Times that a ledger is looked at of which more and more is archived meanwhile, at most."""


def examine(
    reader: Reader,
    *,
    external: Sequence[Kept] = (),
    beyond: Sequence[Kept] = (),
    trusted: Sequence[Verifier] = (),
    own: Verifier | None = None,
    since: Since | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """What verification finds in the entries, or else in what is kept beside them.

    `external`, `trusted`, `since` and `progress` are those of `ledger.verify`. `beyond` are
    checkpoints that the ledger has to hold too, and `own` is the key that lies with it, where none
    is trusted.

    What is archived meanwhile loses its bodies behind a head that does not speak of it yet, which
    nothing else does than a rewrite. So where anything is wrong then, all is looked at once more.
    """
    for _ in range(_TIMES):
        archived = _archived(reader)
        report = _examined(reader, external, beyond, trusted, own, since, progress)
        if report.problem is None or _archived(reader) == archived:
            break
        if reader.archive is not None:
            reader.archive.renew()
    return report


def _examined(
    reader: Reader,
    external: Sequence[Kept],
    beyond: Sequence[Kept],
    trusted: Sequence[Verifier],
    own: Verifier | None,
    since: Since | None,
    progress: Callable[[int], None] | None,
) -> Report:
    try:
        # Checkpoints before the head: one that is signed meanwhile would seem to be ahead of it.
        mark, behind = _mark(reader)
        local = [*kept_checkpoints(reader, _LOCAL), *mark]
        head = reader.head()
        known = Known(
            external=tuple(external), local=[*local, *beyond], trusted=trusted, beside=own
        )
        report = verify(reader, head, known, since=since, progress=progress)
    except ChangedError as problem:
        return changed(problem)
    return doubted(report, _misnamed(reader, report) or behind or _lacking(reader))


def changed(problem: ChangedError) -> Report:
    """The report on a store that cannot be read as a store any more."""
    return doubted(nothing(()), f"The store was changed: {problem.what}.")


def doubted(report: Report, doubt: str | None) -> Report:
    """The report with a doubt about something else than the entries, should those be sound."""
    if report.problem is not None or doubt is None:
        return report
    return msgspec.structs.replace(report, problem=Problem(None, doubt))


def first_name(reader: Reader) -> str:
    """The name that the ledger gives itself in entry 0; whether that is in order, `verify` says."""
    for _, body, _ in reader.rows(1):
        try:
            first = parse(body).entry
        except (EntryError, TypeError):
            break
        if isinstance(first, LedgerEntry):
            return first.origin
    return reader.origin


def own_verifier(reader: Reader, signing: SigningTable | None) -> Verifier | None:
    """The key that the ledger names as its own, None where there is none that could be one.

    A ledger from before format 4 names none: then it is the one that lies beside the store, or
    that `signing` of the configuration says.
    """
    try:
        vkey = reader.named_keys().vkey
        if vkey is None:
            signer = reader.signer(given=signing)
            vkey = None if signer is None else signer.vkey()
        return None if vkey is None else Verifier(vkey)
    except (NoteError, StoreError):
        # What the store says of its ledger was changed; `verify` finds it.
        return None


def _archived(reader: Reader) -> int:
    """How many entries are archived, 0 where the store's word on that was changed."""
    try:
        return reader.archived()
    except StoreError:
        return 0


def _lacking(reader: Reader) -> str | None:
    """What the archive lacks that the ledger says is there, or has and should not."""
    if reader.archive is None:
        return None
    try:
        return reader.archive.lacks(reader.archives())
    except StoreError as problem:
        # An `archive` entry that cannot be read was rewritten: that is an answer, and no trouble.
        return str(problem)


def _mark(reader: Reader) -> tuple[list[bytes], str | None]:
    """The high-water mark beside the store, or else what is wrong with the store or with it."""
    try:
        reader.hold()
        note = reader.mark()
    except StoreError as problem:
        return [], str(problem)
    return [] if note is None else [note], None


def _misnamed(reader: Reader, report: Report) -> str | None:
    if report.origin in (None, reader.origin):
        return None
    return f"The store calls its ledger {reader.origin!r}, and the entries say {report.origin!r}."
