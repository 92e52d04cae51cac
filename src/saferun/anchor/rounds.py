"""One round: a checkpoint is signed and offered to every place at once."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from saferun.anchor.history import Kept
from saferun.anchor.place import AnchorError, Former, Offered, Patience, Place, RefusedError
from saferun.config import SigningTable
from saferun.errors import SafeRunError, StoreError
from saferun.ledger import Verifier, open_checkpoint
from saferun.store import Anchored, Reader, checkpoint, keep_anchored
from saferun.store.anchors import anchored
from saferun.store.locks import FileLock
from saferun.store.signing import Ledger

LAST = 3.0
"""Seconds that a round may still take once its process is to end."""

_POLL = 0.1
"""Seconds between two looks at whether the process is to end, while places are waited for."""


class BusyError(AnchorError):
    """Another process takes checkpoints of this ledger outside just now."""


class Round(NamedTuple):
    """What came of it: the ledger, the size of the checkpoint, and each place with its kind."""

    origin: str
    size: int
    places: list[tuple[Place, Anchored]]

    @property
    def against(self) -> bool:
        """Whether any place has seen something else than this ledger."""
        return any(found.against for _, found in self.places)

    def done(self, quorum: int | None) -> bool:
        """Whether all places have the checkpoint, or as many witnesses as are enough."""
        if all(found.failed is None for _, found in self.places):
            return True
        witnesses = [found for place, found in self.places if place.kind == "witness"]
        return quorum is not None and sum(one.failed is None for one in witnesses) >= quorum


def go_round(
    path: Path,
    places: Sequence[Place],
    *,
    signing: SigningTable | None = None,
    most: float | None = None,
    leaving: threading.Event | None = None,
    progress: Callable[[int], None] | None = None,
) -> Round:
    """Sign a checkpoint of the store in `path`, offer it to all places, and remember the answers.

    `signing` is what the configuration says of the key.
    A place that fails is in the answer with its reason and keeps nobody else waiting. `most`
    is the number of seconds that any may take, each place's own where None. Once `leaving` is
    set, those that are not done have `LAST` seconds left. `progress` is told now and then how
    many have answered.

    Raises:
        BusyError: another process is at it.
        StoreError: the store cannot be read or signed, or contradicts its own last checkpoint.

    """
    with _alone(path):
        offered, before = _offered(path, signing)
        asked = _asked(places, offered, before, most)
        found: dict[str, Anchored] = {}
        while len(found) < len(places):
            if leaving is not None and leaving.is_set():
                asked.hurry()
            # Asked before looking once more: an answer may come with the very end.
            over = asked.over(found)
            answer = asked.next()
            if answer is not None:
                found[answer.name] = answer
            elif over:
                break
            if progress is not None:
                progress(len(found))
        for place in places:
            if place.name not in found:
                late = AnchorError("It was not done in time.")
                found[place.name] = _failed(place, before, late)
        keep_anchored(path, list(found.values()))
    checkpoint_ = offered.checkpoint
    return Round(
        checkpoint_.origin, checkpoint_.size, [(place, found[place.name]) for place in places]
    )


def _offered(path: Path, signing: SigningTable | None) -> tuple[Offered, dict[str, Anchored]]:
    """The newest checkpoint, and how far each place has the ledger."""
    with Reader(path) as reader:
        # As the ledger names it last: one that was rotated is signed by the newest key.
        signer = reader.signer(given=signing)
        ledger = reader.named_keys()
        before: dict[str, Anchored] = {}
        # What was changed there is no reason to go nowhere: it only spares a witness a question.
        with suppress(StoreError):
            before = {place.name: place for place in anchored(reader)}
        if signer is None:
            raise reader.missing_key()
    note = checkpoint(path, signer)
    verifiers = [Verifier(vkey) for vkey in {signer.vkey(), *(vkey for _, vkey in ledger.vkeys)}]
    stated = open_checkpoint(note, verifiers)
    return Offered(note, stated, verifiers, Kept(path), _former(ledger)), before


def _former(ledger: Ledger) -> list[Former]:
    """The names that the ledger had, each with the entries that it had when that name ended."""
    named = [(since, vkey.partition("+")[0]) for since, vkey in ledger.vkeys]
    steps = itertools.pairwise(named)
    return [Former(name, until) for (_, name), (until, after) in steps if after != name]


class _Asked(NamedTuple):
    answers: "queue.SimpleQueue[Anchored]"
    patiences: dict[str, Patience]

    def hurry(self) -> None:
        for patience in self.patiences.values():
            patience.hurry(LAST)

    def over(self, answered: Container[str]) -> bool:
        """Whether none that has not answered has any time left."""
        left = (each.left() for name, each in self.patiences.items() if name not in answered)
        return not any(left)

    def next(self) -> Anchored | None:
        try:
            return self.answers.get(timeout=_POLL)
        except queue.Empty:
            return None


def _asked(
    places: Sequence[Place], offered: Offered, before: dict[str, Anchored], most: float | None
) -> _Asked:
    """Every place is asked, each in a thread that ends with it, or else with the process."""
    answers: queue.SimpleQueue[Anchored] = queue.SimpleQueue()
    patiences: dict[str, Patience] = {}
    for place in places:
        patience = Patience(place.seconds if most is None else min(most, place.seconds))
        patiences[place.name] = patience

        def ask(place: Place = place, patience: Patience = patience) -> None:
            answers.put(_answer(place, offered, before, patience))

        threading.Thread(target=ask, name=f"anchor-{place.name}", daemon=True).start()
    return _Asked(answers, patiences)


def _answer(
    place: Place, offered: Offered, before: dict[str, Anchored], patience: Patience
) -> Anchored:
    try:
        note = place.take(offered, _last(before.get(place.name), offered), patience)
    except SafeRunError as problem:
        return _failed(place, before, problem)
    except Exception as problem:  # noqa: BLE001 - one place's fault is no other's
        return _failed(place, before, AnchorError(f"It has failed: {problem!r}"[:500]))
    now = _now()
    return Anchored(place.name, offered.checkpoint.size, now, note, now, None, against=False)


def _last(known: Anchored | None, offered: Offered) -> int:
    """The size that a place took last, of a ledger of this name."""
    named = f"{offered.checkpoint.origin}\n".encode()
    return max(0, known.size) if known is not None and known.note.startswith(named) else 0


def _failed(place: Place, before: dict[str, Anchored], problem: SafeRunError) -> Anchored:
    known = before.get(place.name) or Anchored(place.name, 0, 0, b"", 0, None, against=False)
    against = isinstance(problem, RefusedError)
    return known._replace(tried=_now(), failed=str(problem), against=against)


def _now() -> int:
    return time.time_ns() // 1000


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        lock = FileLock(path.with_name(path.name + ".anchor.lock"))
    except OSError as problem:
        raise StoreError(f"{path.parent} cannot be written: {problem.strerror}.") from None
    try:
        if not lock.try_acquire():
            raise BusyError(
                f"Another process is anchoring {path} just now; `saferun doctor` says what "
                "came of it."
            )
        yield
    finally:
        lock.close()
