"""Playback: one run looked at frame by frame, from the records alone. No code runs.

What stands in memory is the run's outline; a frame is read when somebody looks at it, and a large
value in slices. Both follow a run that goes on: `refresh` takes up what is new.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from saferun.call import Clause, RunRef, canonical
from saferun.ledger import Entry, EntryError, blob_hash, read
from saferun.replay import large
from saferun.replay.branches import Branches, Child, placed
from saferun.replay.changes import Changes, changes
from saferun.replay.frames import Frame, story
from saferun.replay.given import Given, given
from saferun.replay.grounds import grounds, version
from saferun.replay.outline import Outline, Row, Wanted
from saferun.replay.unsealing import Unsealing
from saferun.replay.vouching import Vouched, Vouching
from saferun.said import Texts, begun, heard
from saferun.store.index import Index
from saferun.store.synopsis import Synopsis

SLICE = 64 * 1024
"""Bytes of a large value that are shown at a time."""

LARGE = ("args", "given", "result", "output", "answer", "text", "messages", "plan", "context")
"""The fields of a frame whose value may lie beside the ledger."""

PAGE = 100
"""Frames that are loaded at a time, at most."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value that lies beside the ledger, by its hash in hex; `bytes` is its size as JSON."""

    field: str
    sha256: str
    bytes: int
    held: bool


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """How a call's arguments differ from those of the call of the same tool before it."""

    number: int
    changes: Changes


class Closeup(msgspec.Struct, frozen=True, kw_only=True):
    """All of one frame.

    `grounds` has the conditions of the rules that spoke, by their ids, as far as they can be told.
    `since` is None for the first call of a tool, or where the arguments are not at hand. `children`
    are the runs that began within this one while this frame was the newest, `BEGUN` of them at
    most, and `begun` is how many there are. `latency` is in microseconds, and `cost` in
    micro-dollars.
    """

    frame: Frame
    near: tuple[str, ...]
    changed: tuple[int, ...]
    vouched: tuple[Vouched, ...]
    grounds: Mapping[str, tuple[Clause, ...]]
    since: Since | None
    values: tuple[Value, ...]
    begun: int
    children: tuple[Child, ...]
    latency: int | None
    cost: int | None

    @property
    def standing(self) -> str:
        """The worst that there is to say of its entries."""
        standings = {each.standing for each in self.vouched}
        order = ("changed", "doubtful", "archived", "redacted", "unsigned")
        return next((each for each in order if each in standings), "signed")


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a value's JSON, from byte `offset` on. `next` is where more of it begins.

    `fits` says whether the whole value gives the hash that the entry names.
    """

    field: str
    offset: int
    next: int | None
    bytes: int
    text: str
    fits: bool


class Playback:
    """One run. The index has to be built, and anew before each `refresh`.

    With `opens`, what is sealed is opened as far as its key is here. Raises StoreError.
    """

    def __init__(self, index: Index, run_id: str, *, opens: bool = False) -> None:
        self.run_id = run_id
        self.index = index
        self.outline = Outline(run_id)
        self._sealed = Unsealing(index, opens=opens)
        self._vouching = Vouching(index)
        self._began: Entry | None = None
        self.branches = Branches(index, run_id)
        self._blob = lru_cache(1)(self._looked_up)
        self._policy = lru_cache(16)(partial(version, index.reader))
        self.refresh()

    def refresh(self) -> int:
        """Take up the entries that came since. Returns how many frames are new."""
        before = len(self.outline)
        reader, outline = self.index.reader, self.outline
        for seq, body, leaf in reader.several(self.index.frames(self.run_id, outline.size)):
            was = self.index.leaf(seq)
            if body and (was is None or was == leaf[: len(was)]):
                try:
                    outline.take(seq, body)
                except ValueError:
                    outline.take_changed(seq, body)
            elif body or not reader.away(seq):
                row = reader.row(seq)
                outline.take_changed(seq, None if row is None else row[0])
        self.branches.refresh([row.seq for row in outline.rows])
        return len(outline) - before

    def number_at(self, seq: int) -> int:
        """The frame that was the newest before an entry of the ledger, whosever that is.

        The first one for what is older than all of them, and 0 where there are none.
        """
        return placed([row.seq for row in self.outline.rows], seq)

    @property
    def above(self) -> list[Synopsis]:
        """The runs that this one is within, the closest first."""
        return self.index.above(self.run_id)

    def next(self, number: int, wanted: Wanted, *, forward: bool = True) -> int | None:
        """As `Outline.next`, and where it is so in a run that began at a frame, that frame."""
        own = self.outline.next(number, wanted, forward=forward)
        there = self.branches.next(number, wanted, forward=forward)
        found = [each for each in (own, there) if each is not None]
        return min(found, default=None) if forward else max(found, default=None)

    @property
    def synopsis(self) -> Synopsis | None:
        """The run in one line."""
        return self.index.synopsis(self.run_id)

    @property
    def about(self) -> Mapping[str, Any]:
        """What the run said of itself when it began: its prompt, plan, user and so on."""
        if self._began is None:
            for entry in self._entries(self.index.frames(self.run_id)[:3]):
                if entry.kind == "run" and entry.fields.get("event") == "start":
                    self._began = entry
                    break
        return {} if self._began is None else self._began.fields

    def entries(self) -> Iterator[Entry]:
        """All entries of the run that are what was written, in their order."""
        gone = {seq for row in self.outline.rows for seq in row.changed}
        return self._entries([seq for seq in self.index.frames(self.run_id) if seq not in gone])

    def frames(self, first: int, count: int = PAGE) -> list[Closeup]:
        """Frames from number `first` on, as many as there are and no more than `PAGE`."""
        last = min(first + min(count, PAGE), len(self.outline) + 1)
        return [self.frame(number) for number in range(max(first, 1), last)]

    def told(self, first: int, count: int = PAGE) -> list[Frame]:
        """Frames from number `first` on as far as a line of a list needs them."""
        last = min(first + min(count, PAGE), len(self.outline) + 1)
        return [self._read(self.outline.row(number)) for number in range(max(first, 1), last)]

    def frame(self, number: int) -> Closeup:
        """All of one frame; frames count from 1. Raises IndexError where there is none."""
        if not 1 <= number <= len(self.outline):
            raise IndexError(f"There is no frame {number}; the run has {len(self.outline):,}.")
        row = self.outline.row(number)
        frame = self._read(row)
        return Closeup(
            frame=frame,
            near=row.near,
            changed=tuple(row.changed),
            vouched=tuple(self._vouching.vouched(seq) for seq in row.seqs),
            grounds=self._grounds(frame),
            since=self._since(row, frame),
            values=tuple(self._values(frame)),
            begun=self.branches.many(number),
            children=tuple(self.branches.begun(number)),
            latency=row.latency,
            cost=row.cost,
        )

    def given(self, frame: Frame) -> Given | None:
        """What the model of a frame was given, in full; None for any other, or where nobody knows.

        Only turns that their leaves vouched for when the outline took them up are read for it.
        """
        if frame.kind != "model":
            return None
        reader = self.index.reader
        return given(frame.said, self.outline.turns, reader.bodies, reader.blob, self._sealed.fill)

    def _read(self, row: Row) -> Frame:
        good = [seq for seq in row.seqs if seq not in row.changed]
        told = story(self.run_id, self._entries(good)).frames
        if len(told) != 1:
            # Its first entry is no longer what was written, and others say nothing without it.
            return Frame(number=row.number, kind="changed", seq=row.seq, at=row.at)
        told[0].number = row.number
        return told[0]

    def _entries(self, seqs: list[int]) -> Iterator[Entry]:
        for body in self.index.reader.bodies(seqs):
            try:
                entry = read(body)
            except EntryError:
                continue
            self._sealed.fill(entry.fields)
            yield entry

    def _grounds(self, frame: Frame) -> Mapping[str, tuple[Clause, ...]]:
        if frame.decision is None:
            return {}
        said = partial(self._said, frame)
        return grounds(frame.decision, self._run(), frame.at, self._policy, said)

    def _said(self, frame: Frame) -> Texts:
        """What people had said before the call of a frame was decided.

        Not known where they may have said it elsewhere, in a run above or within; where it was
        sealed; and where they said more while somebody was asked about the call.
        """
        about, last = self.about, max(self.outline.row(frame.number).seqs)
        away = about.get("parent") is not None or self.branches.before(last)
        if not about or away or _sealed(about, "prompt"):
            return None
        said = begun((), about.get("prompt"), about.get("unkept", ()))
        rows = (row for row in self.outline.rows if row.kind == "user" and row.seq < last)
        for row in rows:
            if said is None or row.changed or (frame.approvals and row.seq > frame.seq):
                return None
            if row.seq > frame.seq:
                break
            for entry in self._entries(row.seqs):
                sealed = _sealed(entry.fields, "text")
                said = heard(said, None if sealed else entry.fields.get("text"))
        return said

    def _run(self) -> RunRef:
        about = self.about
        # With a word in the place of what is sealed, conditions would see that word.
        hidden = {path.split(".")[0] for path in about.get("sealed", {}).values()}
        user, context = (
            None if name in hidden else about.get(name) for name in ("user", "context")
        )
        return RunRef(
            run_id=self.run_id,
            root=about.get("root") or self.run_id,
            parent=about.get("parent"),
            agent=about.get("agent"),
            user=user if isinstance(user, dict) else {},
            tenant=about.get("tenant"),
            context=context if isinstance(context, dict) else {},
        )

    def _since(self, row: Row, frame: Frame) -> Since | None:
        before = self.outline.previous_of(row.number)
        if before is None:
            return None
        one, other = _args(self._read(before)), _args(frame)
        if one is None or other is None:
            return None
        return Since(number=before.number, changes=changes(one, other))

    def _values(self, frame: Frame) -> Iterator[Value]:
        for fields in _parts(frame):
            for field in LARGE:
                beside = large.named(fields, field)
                if beside is not None:
                    held = self._size(bytes.fromhex(beside[0])) is not None
                    yield Value(field=field, sha256=beside[0], bytes=beside[1], held=held)

    def _size(self, name: bytes) -> int | None:
        row = self.index.reader.one("SELECT length(data) FROM blob WHERE hash = ?", name)
        if row is not None:
            return int(row[0])
        archive = self.index.reader.archive
        found = None if archive is None else archive.blob(name)
        return None if found is None else len(found[1])

    def find(self, text: str, number: int, *, forward: bool = True) -> int | None:
        """The nearest frame after `number`, or before it, that has some words.

        They are found as `ledger search` finds them. Raises SearchError where there are too many,
        or none.
        """
        seqs = self.index.saying(self.run_id, text)
        found = {each for each in map(self.outline.number, seqs) if each is not None}
        if forward:
            return min((each for each in found if each > number), default=None)
        return max((each for each in found if each < number), default=None)

    def slice(self, number: int, field: str, offset: int = 0) -> Slice | None:
        """`SLICE` bytes of a value, from a byte on; None where the frame has no such value.

        What lies beside the ledger is read and held against its hash once, and never goes out
        whole. Where it no longer fits, nothing of it does.
        """
        frame = self._read(self.outline.row(number))
        for fields in _parts(frame):
            beside = large.named(fields, field)
            if beside is not None:
                data = self._blob(beside[0])
                if data is None:
                    return Slice(
                        field=field, offset=0, next=None, bytes=beside[1], text="", fits=False
                    )
                return _sliced(field, data, offset)
            if fields.get(field) is not None:
                return _sliced(field, canonical.encode(fields[field]), offset)
        return None

    def _looked_up(self, name: str) -> bytes | None:
        held = self.index.reader.blob(bytes.fromhex(name))
        try:
            fits = held is not None and blob_hash(*held).hex() == name
        except (ValueError, TypeError):
            fits = False
        return held[1] if held is not None and fits else None


def _sealed(fields: Mapping[str, Any], name: str) -> bool:
    """Whether any of a field was sealed, though it may be open here."""
    return any(path.split(".")[0] == name for path in fields.get("sealed", {}).values())


class _Edge(NamedTuple):
    first: int
    last: int


def _sliced(field: str, data: bytes, offset: int) -> Slice:
    edge = _edges(data, min(max(offset, 0), len(data)))
    return Slice(
        field=field,
        offset=edge.first,
        next=edge.last if edge.last < len(data) else None,
        bytes=len(data),
        text=data[edge.first : edge.last].decode("utf-8", "replace"),
        fits=True,
    )


def _edges(data: bytes, first: int) -> _Edge:
    """Where a slice begins and ends so that no character is cut in two."""
    while first < len(data) and data[first] & 0xC0 == 0x80:
        first += 1
    last = min(first + SLICE, len(data))
    while first < last < len(data) and data[last] & 0xC0 == 0x80:
        last -= 1
    return _Edge(first, last)


def _parts(frame: Frame) -> Iterator[Mapping[str, Any]]:
    yield from (part for part in (frame.decision, frame.outcome, frame.said) if part)


def _args(frame: Frame) -> Any:
    """The arguments of a call, None where they lie beside the ledger."""
    fields = frame.said if frame.decision is None else frame.decision
    return None if large.named(fields, "args") is not None else fields.get("args")
