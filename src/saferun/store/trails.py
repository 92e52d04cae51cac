"""What this process remembers of the runs that it is in, for the control of loops.

A run is mostly in one process, which sees each step as it happens and asks nobody. Where
another process goes on with it, or this one comes back to it, the run is read from the ledger:
there is no second account of it. The store notes which process has seen all of a run, and has
an admission come back that was decided without; see `Watched`.
"""

import functools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from saferun.call import Status, canonical
from saferun.control import Echo, Finding, Loops, Sign, Trail
from saferun.ledger import (
    ControlEntry,
    DecisionEntry,
    EntryError,
    OutcomeEntry,
    Parsed,
    RecoveryEntry,
    RunEntry,
    UserEntry,
    parse,
)
from saferun.store.reading import Reader
from saferun.store.runs import children_of, first_entry_of
from saferun.store.work import Watched, run_of

if TYPE_CHECKING:
    from saferun.store.store import Store

MAX_RUNS = 1_000
"""Runs that are remembered; one that was forgotten is read again."""


class Followed:
    """One run and its children, as far as this process knows them. Thread-safe.

    `root` is None for calls that belong to no run: those of one thread or task are taken
    together, and nothing but this memory holds them together.
    """

    def __init__(self, store: "Store", root: str | None) -> None:
        self.root = root
        self.fresh = True
        self.whole = False
        self._store = store
        self._trail = Trail()
        # A finalizer may end a call while this thread looks at the run.
        self._lock = threading.RLock()
        self._upto = -1
        self._runs = {root} if root is not None else set()

    def check(
        self, settings: Loops, sign: Sign, now: int, *, poll: bool, effect: str
    ) -> tuple[Finding | None, bool]:
        """What the run's past says of a call, and whether that repeats one which has failed."""
        if self.root is None:
            settings = _denying(settings)
        with self._lock:
            found = self._trail.check(settings, sign, now, poll=poll, effect=effect)
            return found, self._trail.retried(sign)

    def watched(self) -> Watched | None:
        """What an admission has to be told of this memory; nothing where no run is."""
        if self.root is None:
            return None
        with self._lock:
            if not self.whole:
                return Watched(self.root, self.fresh)
            return Watched(self.root, whole=True, upto=self._upto, runs=frozenset(self._runs))

    def started(self, sign: Sign, seq: int, at: int, *, answered: bool, read: bool) -> None:
        """A call was let through. `read` says that it was decided on what had just been read."""
        with self._lock:
            if answered:
                self._trail.answered(sign)
            self._trail.started(sign, seq, at)
            self._seen(seq, read=read)

    def refused(self, sign: Sign, seq: int, at: int, *, read: bool) -> None:
        with self._lock:
            self._trail.refused(sign, at)
            self._seen(seq, read=read)

    def passed(self) -> None:
        """Something else has stopped the call: what had just been read will be older next time."""
        with self._lock:
            self.whole = False

    def ended(self, seq: int, echo: Echo, at: int) -> None:
        with self._lock:
            self._trail.ended(seq, echo, at)

    def told(self, at: int) -> None:
        with self._lock:
            self._trail.told(at)

    def read(self) -> None:
        """Bring it up to what the ledger says. Raises StoreError.

        What this process has written itself it has seen already, and is passed over, unless it
        remembers nothing.
        """
        assert self.root is not None
        # What rides must not be read past.
        self._store.flush()
        own = None if self.fresh else self._store.boot
        with self._lock, Reader(self._store.path) as reader:
            if self.fresh:
                self._trail = Trail()
                self._upto = first_entry_of(reader, self.root) - 1
            # Their beginnings may lie before what is read here.
            self._runs.update(children_of(reader, self.root))
            for parsed in self._entries(reader):
                self._fold(parsed, own)
            self.fresh, self.whole = False, True

    def _seen(self, seq: int, *, read: bool) -> None:
        # The admission was not sent back, so up to here nobody else has written of the run. Of
        # one that was decided on what had been read that is not known: somebody may have written
        # between the two.
        if not read:
            self._upto = max(self._upto, seq)
        self.fresh = self.whole = False

    def _entries(self, reader: Reader) -> Iterator[Parsed]:
        family = canonical.encode(self.root)
        for seq, body, _ in reader.rows(after=self._upto):
            self._upto = seq
            if not isinstance(body, bytes):
                continue
            # Looked for as bytes first: nearly everything belongs to other runs.
            if run_of(body) in self._runs or family in body:
                try:
                    parsed = parse(body)
                except EntryError:
                    # What was changed is for `ledger verify` to report.
                    continue
                entry = parsed.entry
                if isinstance(entry, RunEntry) and entry.root == self.root:
                    self._runs.add(entry.run)
                if getattr(entry, "run", None) in self._runs:
                    yield parsed

    def _fold(self, parsed: Parsed, own: str | None) -> None:
        entry, trail = parsed.entry, self._trail
        if isinstance(entry, DecisionEntry) and entry.boot != own and entry.sign is not None:
            sign = read_sign(entry.tool, entry.digest or "", entry.sign)
            looped = any(reason.source == "loop" for reason in entry.reasons)
            if entry.verdict == "allow" or entry.mode != "enforce":
                if looped and entry.approval is not None:
                    trail.answered(sign)
                trail.started(sign, parsed.seq, parsed.time)
            elif looped and entry.verdict == "deny":
                trail.refused(sign, parsed.time)
        elif isinstance(entry, OutcomeEntry) and entry.boot != own and entry.echo is not None:
            trail.ended(entry.of, read_echo(entry.echo), parsed.time)
        elif isinstance(entry, RecoveryEntry):
            trail.ended(entry.of, Echo(status=entry.status, exact=b"", masked=b""), parsed.time)
        elif isinstance(entry, UserEntry):
            trail.told(parsed.time)
        elif isinstance(entry, ControlEntry) and entry.event == "resumed":
            trail.resumed(parsed.time)


@functools.lru_cache(maxsize=64)
def _denying(settings: Loops) -> Loops:
    """The same thresholds, for calls that belong to no run: there is none to ask about or stop."""
    return msgspec.structs.replace(settings, denials=1 << 60)


_LETTERS: dict[Status, str] = {
    "ok": "o",
    "error": "e",
    "timeout": "t",
    "cancelled": "c",
    "unknown": "u",
    "not_started": "n",
}
_STATUSES = {letter: status for status, letter in _LETTERS.items()}


def write_sign(sign: Sign) -> str:
    """A sign as an entry has it, beside the digest: empty where that says it all."""
    masked = "" if sign.masked == sign.exact else sign.masked.hex()
    return f"{masked}.{sign.words.hex()}" if sign.words else masked


def read_sign(tool: str, digest: str, text: str) -> Sign:
    exact = bytes.fromhex(digest)
    masked, _, words = text.partition(".")
    return Sign(tool, exact, bytes.fromhex(masked) or exact, bytes.fromhex(words))


def write_echo(echo: Echo) -> str:
    """An echo as an entry has it: a letter, a digit of marks, and one digest or two."""
    marks = echo.empty + 2 * echo.silent + 4 * echo.transient
    masked = "" if echo.masked == echo.exact else echo.masked.hex()
    return f"{_LETTERS[echo.status]}{marks}{echo.exact.hex()}{masked}"


def read_echo(text: str) -> Echo:
    marks, digests = int(text[1]), bytes.fromhex(text[2:])
    return Echo(
        status=_STATUSES[text[0]],
        exact=digests[:16],
        masked=digests[16:] or digests[:16],
        empty=bool(marks & 1),
        silent=bool(marks & 2),
        transient=bool(marks & 4),
    )


class Trails:
    """The runs that one process is in. Thread-safe: what is remembered is only ever replaced."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._runs: dict[str, Followed] = {}

    def of(self, root: str) -> Followed:
        found = self._runs.get(root)
        if found is None:
            while len(self._runs) >= MAX_RUNS:
                # The one that was begun first; of two threads that meet here, one takes it.
                self._runs.pop(next(iter(self._runs)), None)
            # Two threads that meet here go on with the same one.
            found = self._runs.setdefault(root, Followed(self._store, root))
        return found

    def here(self) -> Followed:
        """What belongs to no run, and begins with its first call."""
        return Followed(self._store, None)

    def over(self, root: str) -> None:
        """A run has ended; should it go on all the same, it is read again."""
        self._runs.pop(root, None)

    def forget(self) -> None:
        """A forked child has seen nothing of what it will be in."""
        self._runs = {}
