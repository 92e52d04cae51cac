"""A run and its children, read back whole: all that a rerun answers from, and it writes nothing.

What lies beside the ledger is put back where it is held, and what is sealed is opened as far as
its key is here. What cannot be had is noted in its entry, so that a rerun that comes there can say
why it stops.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from saferun.errors import StoreError
from saferun.ledger import Entry, EntryError, opened, read
from saferun.replay import large
from saferun.replay.frames import RunStory, story
from saferun.replay.unsealing import SEALED, Unsealing
from saferun.store.index import Index
from saferun.store.openings import Openings
from saferun.store.runs import children_of

LARGE = ("args", "given", "result", "output", "answer", "text", "messages")

LOST = "$lost"
"""In the fields of an entry that was read back: why some of them are not to be had, by their names.
No entry has a field of that name."""


class Record(NamedTuple):
    """The stories of a run and its children by their ids; `root` is the run at the top."""

    root: str
    stories: Mapping[str, RunStory]


def recorded(index: Index, run_id: str) -> Record:
    """All that is on record of the family that a run belongs to.

    The index has to be built. Raises StoreError where an entry of theirs cannot be read.
    """
    whole = _Whole(index)
    own = story(run_id, whole.entries(run_id))
    root = own.about.get("root") or run_id
    if root != run_id and index.reader.excerpt and not index.has("run", root):
        raise StoreError(
            f"Run {run_id!r} cannot be made again: it began in run {root!r}, which is not here."
        )
    stories = {run_id: own}
    for each in (root, *children_of(index.reader, root)):
        if each not in stories:
            stories[each] = story(each, whole.entries(each))
    return Record(root, stories)


class _Whole:
    """Reads entries with all that belongs into them."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._reader = index.reader
        self._openings = Openings(index.reader)
        self._words = Unsealing(index)

    def entries(self, run_id: str) -> Iterator[Entry]:
        for seq, body, _ in self._reader.several(self._index.frames(run_id)):
            try:
                entry = read(body)
            except EntryError:
                away = self._reader.away(seq)
                why = "lies in an archive" if away else "was changed; run saferun ledger verify"
                raise StoreError(
                    f"Run {run_id!r} cannot be made again: entry {seq} of "
                    f"{self._reader.path} {why}."
                ) from None
            if self._reader.redacted(seq):
                raise StoreError(
                    f"Run {run_id!r} cannot be made again: entry {seq} was redacted for this file."
                )
            self._fill(entry)
            yield entry

    def _fill(self, entry: Entry) -> None:
        fields = entry.fields
        lost: dict[str, str] = {}
        for name, unkept in (fields.get("unkept") or {}).items():
            how = "only a digest of it was kept" if unkept.get("digest") else "it was not kept"
            lost[name] = f"{how} ([record] in the settings, or in a policy)"
        for name in LARGE:
            if fields.get("blobs") and large.named(fields, name) is not None:
                fields[name] = large.found(fields, name, self._reader.blob)
                if large.named(fields, name) is not None:
                    lost[name] = "it lay beside the ledger and is gone"
        for name in SEALED & fields.keys() if fields.get("sealed") else ():
            fields[name] = opened(fields[name], fields["sealed"], self._openings.opening)
            if large.left(fields, fields[name]):
                lost[name] = "it was sealed, and was erased or its key is not here"
        self._words.fill(fields)
        if lost:
            fields[LOST] = lost
