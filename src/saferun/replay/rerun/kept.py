"""What the code did in a rerun, kept as a run: read as the recorded one is, and compared with it.

Up to where they part, the code has done what the record has, so these frames are the record's own,
with what was decided and came of them. After them stands what the code was about to do in place of
the next, which nobody has decided on and nothing came of.

It is an excerpt of no ledger of anybody's: its entries are numbered anew, nobody vouches for them,
and no gate opens it. What is sealed in the record stays so, and of the step that the code was
stopped at, what lies where the record has something sealed is left out.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from saferun.call import canonical
from saferun.errors import StoreError
from saferun.ledger import (
    AnyEntry,
    CallEntry,
    Entry,
    Frontier,
    LedgerEntry,
    ModelEntry,
    RunEntry,
    UserEntry,
    encode,
    leaf_hash,
    read,
)
from saferun.ledger.entry import EntryError, seal
from saferun.replay.frames import story
from saferun.replay.outline import STOPPED
from saferun.replay.unsealing import OUT_OF_REACH
from saferun.store import Reader, excerpt
from saferun.store.index import Index

NAME = "rerun.db"
"""The file in the folder that a rerun is kept in."""

LEDGER = "rerun"

_BESIDE = tuple(
    index + sqlite
    for index in ("", ".index")
    for sqlite in ("", "-wal", "-shm", "-journal", ".lock")
)[1:]
"""How the names of files go on that belong to it: its index, and what SQLite keeps beside both."""

MAX_ERROR = 200
"""Characters of the name of an error's type."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What the code has made: the frames of each run that were answered, by the record's numbers.

    Where it was stopped, `run` is the run, and `now` what it was about to do. What the processes
    wrote that stand `aside` is by programs that the code does not go by.
    """

    frames: Mapping[str, Sequence[int]]
    run: str | None = None
    now: Mapping[str, Any] | None = None
    aside: Collection[str] = ()


def kept_in(folder: Path) -> Path | None:
    """The file of the rerun that is kept in a folder, None where none is."""
    path = folder / NAME
    return path if path.is_file() else None


def room(folder: Path) -> None:
    """Make a folder to keep a rerun in, without the one before. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = kept_in(folder)
        if path is None:
            return
        with Reader(path) as reader:
            ours = reader.excerpt and reader.ledger == LEDGER
        if not ours:
            raise StoreError(f"{path} is no rerun that was kept; name another folder.")
        for ending in ("", *_BESIDE):
            folder.joinpath(NAME + ending).unlink(missing_ok=True)
    except OSError as problem:
        raise StoreError(f"Nothing can be kept in {folder}: {problem.strerror}.") from None


def keep(index: Index, made: Made, folder: Path) -> Path:
    """Write what the code made of the runs of a record. The index has to be built.

    Raises StoreError.
    """
    room(folder)
    path, draft = folder / NAME, folder / f".{secrets.token_hex(8)}"
    work = _Work(index, made)
    try:
        with closing(excerpt.Writing(draft)) as out:
            work.write(out)
        # It stands under its name once all of it is there, and not before.
        draft.replace(path)
    except OSError as problem:
        raise StoreError(f"Nothing can be kept in {folder}: {problem.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    return path


class _Work:
    def __init__(self, index: Index, made: Made) -> None:
        self._index = index
        self._made = made
        self._numbers: dict[int, int] = {}
        self._tree = Frontier()
        self._time = 0

    def write(self, out: excerpt.Writing) -> None:
        reader = self._index.reader
        about = LedgerEntry(name=LEDGER, origin=reader.origin, format=1, created_by="saferun rerun")
        taken = self._taken()
        first = min((entry.time for entry in taken), default=0)
        rows = [self._row(seal(0, first, encode(about)))]
        blobs: set[str] = set()
        began: dict[str, str | None] = {}
        for entry in taken:
            self._numbers[entry.seq] = self._tree.size
            rows.append(self._row(self._renumbered(entry)))
            blobs.update(entry.fields.get("blobs", ()))
            if entry.kind == "run":
                run = entry.fields["run"]
                out.run(run, self._numbers[entry.seq], canonical.encode((LEDGER, run)))
                began[run] = entry.fields.get("root")
        rows += [self._row(seal(self._tree.size, self._time, encode(each))) for each in self._end()]
        out.entries(rows)
        for run, root in began.items():
            if root is not None and root != run:
                out.child(root, run)
        for name in sorted(blobs):
            kept = reader.blob(bytes.fromhex(name))
            if kept is not None:
                out.blob(bytes.fromhex(name), *kept)
        out.finish(
            excerpt.About(
                # Digests are keyed by whose ledger it is, and these are from there.
                name=LEDGER,
                origin=reader.origin,
                vkeys=(),
                size=self._tree.size,
                time=self._time,
                frontier=self._tree.encode(),
                note=None,
            )
        )

    def _taken(self) -> list[Entry]:
        """The entries of the record that the code has made again, in their order."""
        found = [each for run in self._made.frames for each in self._of(run)]
        return sorted(found, key=lambda entry: entry.seq)

    def _of(self, run: str) -> Iterator[Entry]:
        reader = self._index.reader
        entries = []
        for seq, body, _ in reader.several(self._index.frames(run)):
            try:
                entries.append(read(body))
            except EntryError:
                raise StoreError(
                    f"Entry {seq} of {reader.path} cannot be read any more; run saferun ledger "
                    "verify."
                ) from None
        told = story(run, entries)
        answered = set(self._made.frames[run])
        last = max(answered, default=0)
        own, requests = set[int](), set[str]()
        for frame in told.frames:
            if frame.number in answered or (frame.kind == "control" and frame.number <= last):
                own.add(frame.seq)
                requests |= {(frame.decision or {}).get("approval") or ""} - {""}
        # What belongs to a frame names it; what a person has said of it later is the record's.
        for entry in entries:
            fields = entry.fields
            named = fields.get("id") if entry.kind == "approval" else fields.get("approval")
            if entry.kind == "run":
                ours = fields.get("boot") not in self._made.aside
                mine = fields["event"] == "start" or (ours and self._whole(run, told.frames))
            elif entry.kind == "label":
                mine = False
            elif entry.kind != "approval" and fields.get("boot") in self._made.aside:
                # Of a call that was left, what came of it is by who has resumed it.
                mine = entry.seq in own
            else:
                mine = entry.seq in own or fields.get("of") in own or named in requests
            if mine:
                own.add(entry.seq)
                yield entry

    def _whole(self, run: str, frames: Sequence[Any]) -> bool:
        """Whether the code has come to the end of a run."""
        aside = self._made.aside
        due = {each.number for each in frames if each.kind != "control" and each.boot not in aside}
        return due <= set(self._made.frames[run]) and (
            self._made.run != run or self._made.now is None
        )

    def _renumbered(self, entry: Entry) -> bytes:
        fields = dict(entry.fields)
        for name in ("of", "within"):
            if fields.get(name) in self._numbers:
                fields[name] = self._numbers[fields[name]]
        place = {"seq": self._tree.size, "time": entry.time, "kind": entry.kind}
        self._time = max(self._time, entry.time)
        return msgspec.json.encode({**place, **fields})

    def _row(self, body: bytes) -> tuple[int, bytes, bytes]:
        row = excerpt.row(self._tree.size, body)
        self._tree.append(leaf_hash(body))
        return row

    def _end(self) -> Iterator[AnyEntry]:
        """What the code was stopped at, if it is a step of a run."""
        now, run = self._made.now, self._made.run
        if now is None or run is None:
            return
        step: AnyEntry
        match now.get("kind"):
            case "call":
                args = self._shown(run, "args", now.get("args"), now.get("tool"))
                step = CallEntry(run=run, tool=now["tool"], args=args, status="not_started")
            case "model":
                said = [self._shown(run, name, now.get(name)) for name in ("messages", "output")]
                step = ModelEntry(
                    run=run, messages=said[0], output=said[1], model=now.get("model"), error=STOPPED
                )
            case "user":
                step = UserEntry(run=run, text=self._shown(run, "text", now.get("text")))
            case "ends":
                # It was not stopped: it has come to its own end, which is not that of the record.
                error = now.get("error")
                yield RunEntry(event="end", run=run, error=error and str(error)[:MAX_ERROR])
                return
            case _:
                return
        try:
            encode(step)
        except EntryError:
            # It is too long, or is no JSON: that it was done is said, and not what it was.
            for name in ("args", "messages", "output", "text"):
                if getattr(step, name, None) is not None:
                    left_out = {"$omitted": "too long to be kept", "digest": None}
                    step = msgspec.structs.replace(step, **{name: left_out})
        yield step
        yield RunEntry(event="end", run=run, error=STOPPED)

    def _shown(self, run: str, field: str, value: Any, tool: str | None = None) -> Any:
        """A value of now, without what lies where the record has something sealed."""
        places = self._sealed(run, tool)
        if field not in {place.split(".")[0] for place in places}:
            return value
        if not isinstance(value, Mapping):
            return OUT_OF_REACH
        hidden = {place.split(".")[1] for place in places if place.count(".")}
        return {name: OUT_OF_REACH if name in hidden else each for name, each in value.items()}

    def _sealed(self, run: str, tool: str | None) -> set[str]:
        found: set[str] = set()
        for body in self._index.reader.bodies(self._index.frames(run)):
            if b'"sealed":' in body:
                fields = read(body).fields
                if fields.get("tool") == tool:
                    found |= {str(place) for place in fields.get("sealed", {}).values()}
        return found
