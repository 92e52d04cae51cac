"""What the run has done before it asked: its frames, read back from the ledger, a line each."""

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from saferun.approval import inert
from saferun.console import closeup
from saferun.errors import SafeRunError
from saferun.ledger import Entry, EntryError, read
from saferun.marks import Mark
from saferun.replay import Frame, mark, story
from saferun.replay.unsealing import Unsealing
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.nodes import index_tree

log = logging.getLogger("saferun")

MOST = 50
"""Frames that are shown, the newest before the question."""

AT_ONCE = 20_000
"""Entries that are indexed while somebody waits for a page."""

SPEECH = 300
"""Characters of what the model said last."""


class Line(NamedTuple):
    """One frame in one line, made inert. `came` says what came of a call."""

    number: int
    mark: Mark
    what: str
    said: str
    came: str = ""


class Before(NamedTuple):
    """The frames before a question. `left` are earlier ones, and `why` why there are none."""

    lines: tuple[Line, ...] = ()
    left: int = 0
    why: str | None = None
    words: str | None = None


class IndexingError(SafeRunError):
    """The history is longer than anybody waits for, and not indexed yet."""


class History:
    """The history of one store, for pages that show what came before. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._indexed = threading.Event()
        self._catching_up = threading.Lock()

    def index(self) -> None:
        """Bring the index up to the newest entry, so that no page has to wait for all of it."""
        try:
            with Reader(self.path) as reader, Index(reader) as index:
                index.build()
            # Or the first frame of a long ledger would wait for its proof.
            index_tree(self.path)
        except SafeRunError as problem:
            log.warning("saferun could not index the history: %s", problem)
        self._indexed.set()

    def catch_up(self) -> None:
        """Have it indexed in the background, unless that goes on already."""

        def caught_up() -> None:
            try:
                self.index()
            finally:
                self._catching_up.release()

        if self._catching_up.acquire(blocking=False):
            threading.Thread(target=caught_up, name="saferun-index", daemon=True).start()

    def hold(self, reader: Reader) -> None:
        """Have nobody wait for a long history to be indexed. Raises IndexingError."""
        if reader.head().size > AT_ONCE and not self._indexed.is_set():
            raise IndexingError("The history is being indexed; look again in a minute.")

    def before(self, run_id: str, request: str) -> Before:
        """The frames of a run before it asked for this. What cannot be read is said, not raised."""
        try:
            with Reader(self.path) as reader, Index(reader) as index:
                self.hold(reader)
                index.build()
                told = story(run_id, _entries(index, run_id))
        except SafeRunError as problem:
            return Before(why=inert(str(problem), 400))
        frames: list[Frame] = []
        for frame in told.frames:
            if (frame.decision or {}).get("approval") == request:
                break
            frames.append(frame)
        spoken = [words for words in map(_words, frames) if words is not None]
        return Before(
            lines=tuple(_line(each) for each in frames[-MOST:]),
            left=max(len(frames) - MOST, 0),
            words=spoken[-1] if spoken else None,
        )


def _entries(index: Index, run_id: str) -> Iterator[Entry]:
    # What is sealed stays so: whoever looks here may be anybody who may look.
    sealed = Unsealing(index, opens=False)
    for seq in index.frames(run_id):
        for body in index.reader.bodies([seq]):
            try:
                entry = read(body)
            except (EntryError, TypeError):
                # Archived, or changed since: `ledger verify` says how.
                continue
            sealed.fill(entry.fields)
            yield entry


def _line(frame: Frame) -> Line:
    what, said = closeup.line(frame)
    return Line(frame.number, mark(frame), what, said, closeup.came(frame))


def _words(frame: Frame) -> str | None:
    output = frame.said.get("output") if frame.kind == "model" else None
    if output in (None, "", []):
        return None
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    return inert(text, SPEECH)
