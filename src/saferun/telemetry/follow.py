"""Follows the ledger from a thread of its own, and tells of what this process has written to it.

Nothing waits for it. On the path of a call there is only a note of the caller's own span; what a
span or a figure says is read back from the ledger, so that the two cannot disagree, and what the
ledger does not keep cannot get out. The ledger is the queue: whoever falls behind reads on later.
"""

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from opentelemetry.trace import SpanContext, get_current_span

from saferun.call import Decision
from saferun.errors import SafeRunError
from saferun.ledger import AnyEntry, ApprovalEntry, ControlEntry, EntryError, parse
from saferun.run import Run
from saferun.store import Reader
from saferun.store.locks import boots, lived_here
from saferun.store.store import flush_here
from saferun.telemetry.account import Account, Called, Event, Over, run_of

log = logging.getLogger("saferun")

MOST_PLACES = 10_000
"""Calls and runs whose place in the caller's trace is remembered; the oldest are forgotten."""

_PAGE = 500
"""Entries that are read in one go, so that no reader holds the log for long."""

_HEAD = 512
"""Bytes in which an entry says who has written it."""

_SHARED = (b'"kind":"approval"', b'"kind":"control"')
"""What others write that is news to us: answers of people, and breakers that have opened."""

Place: TypeAlias = SpanContext | None
"""The caller's own span at the time, None where it had none."""

Tell: TypeAlias = Callable[[Event, Place, Place], None]
"""Is told of an event, of the place of its call, and of that at which its run was entered."""


class Follower:
    """Tells of events, every so many seconds, from the store's present end on.

    `telling` gives whom to tell, by the ledger's origin, and `first` is called at each look before
    that: by one thread at a time.
    """

    def __init__(
        self, path: Path, telling: Callable[[str], Tell], first: Callable[[], None], every: float
    ) -> None:
        self._path = path
        self._telling = telling
        self._first = first
        self._every = every
        self._places: OrderedDict[tuple[object, ...], Place] = OrderedDict()
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._closed = False
        self._failed = False
        self._begin(self._size())

    def _begin(self, upto: int) -> None:
        self._upto = upto
        self._account = Account()
        self._waiting: list[Called] = []
        self._tell: Tell | None = None

    def _size(self) -> int:
        if not self._path.exists():
            return 0
        with contextlib.suppress(SafeRunError), Reader(self._path) as reader:
            return reader.head().size
        return 0

    # On the path of calls.

    def decided(self, decision: Decision) -> None:
        """Note the caller's own span, in which a call was decided."""
        if decision.seq is not None:
            self._note((decision.seq, decision.digest))

    def entered(self, run: Run) -> None:
        """Note the caller's own span, in which a run was entered."""
        with contextlib.suppress(Exception):
            self._note((run.run_id,))

    def _note(self, key: tuple[object, ...]) -> None:
        # Of the current context: the listeners are called where the agent calls.
        place = get_current_span().get_span_context()
        places = self._places
        if len(places) >= MOST_PLACES:
            with contextlib.suppress(KeyError):
                places.popitem(last=False)
        places[key] = place if place.is_valid else None
        if self._thread is None or self._pid != os.getpid():
            self._start()

    def _start(self) -> None:
        if self._pid != os.getpid():
            # What was under way is the parent's to tell of.
            self._pid, self._looking, self._wake = os.getpid(), threading.Lock(), threading.Event()
            self._begin(self._upto)
        if self._closed:
            return
        self._thread = threading.Thread(target=self._follow, name="saferun-telemetry", daemon=True)
        self._thread.start()

    # On a thread of its own.

    def _follow(self) -> None:
        mine = threading.current_thread()
        while not self._closed and self._thread is mine:
            self._wake.wait(self._every)
            if not self._closed:
                self.look()

    def look(self, *, last: bool = False) -> None:
        """Tell of what is new. With `last`, of what waits for its place as well. Never raises."""
        with self._looking:
            try:
                self._first()
                # What was waiting at the last look waits no longer.
                late, self._waiting = self._waiting, []
                for event in late:
                    self._hand_on(event, waits=False)
                if last:
                    # What rides is no part of the ledger before it is written.
                    flush_here(self._path)
                if not self._read(last=last) and self._account.waits_for_an_end:
                    # Calls that are over, and no further one that their outcomes could ride with.
                    flush_here(self._path)
                    self._read(last=last)
                self._failed = False
            except Exception as problem:  # noqa: BLE001 - whoever tells is no part of what happens
                if not self._failed:
                    log.warning("saferun: telemetry cannot follow %s: %s", self._path, problem)
                self._failed = True

    def _read(self, *, last: bool) -> int:
        """Tell of the entries that are new; how many there were."""
        if not self._path.exists():
            return 0
        first = self._upto
        own = [f'"boot":"{boot}"'.encode() for boot in lived_here(boots(self._path))]
        with Reader(self._path) as reader:
            if self._tell is None:
                self._tell = self._telling(reader.origin)
            found = "SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?"
            while page := reader.every(found, self._upto, _PAGE):
                for seq, body in page:
                    self._upto = seq + 1
                    if not isinstance(body, bytes):
                        continue
                    head = body[:_HEAD]
                    ours = any(boot in head for boot in own)
                    if ours or any(kind in head for kind in _SHARED):
                        self._take(body, ours=ours, last=last)
                if len(page) < _PAGE:
                    break
        return self._upto - first

    def _take(self, body: bytes, *, ours: bool, last: bool) -> None:
        try:
            parsed = parse(body)
        except (EntryError, TypeError):
            # It was changed, which is for `ledger verify` to say.
            return
        if not ours and not _news(parsed.entry, self._account):
            return
        for event in self._account.take(parsed.seq, parsed.time, parsed.entry):
            self._hand_on(event, waits=not last)

    def _hand_on(self, event: Event, *, waits: bool) -> None:
        assert self._tell is not None
        run = run_of(event)
        within = None if run is None else self._places.get((run,))
        if isinstance(event, Over):
            self._places.pop((run,), None)
        if not isinstance(event, Called):
            self._tell(event, within, within)
            return
        key = (event.seq, event.decision.digest)
        if waits and key not in self._places and event.outcome is None:
            # It is in the ledger a moment before its caller hears of it.
            self._waiting.append(event)
            return
        self._tell(event, self._places.pop(key, None), within)

    def close(self) -> None:
        """Tell of all that there is, and then nothing more."""
        self._closed = True
        self._wake.set()
        if self._pid == os.getpid():
            self.look(last=True)


def _news(entry: AnyEntry, account: Account) -> bool:
    """Whether what another process has written concerns this one."""
    if isinstance(entry, ControlEntry):
        return True
    return isinstance(entry, ApprovalEntry) and account.waits(entry.id)
