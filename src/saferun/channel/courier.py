"""The courier: brings requests to people by every channel, and again whenever they have moved.

One a process and store. How far each channel has brought each request stands in the store, and
which process is at it: so several may try, one does, and another goes on where it dies. What
cannot be brought now is tried again, later and later, until the request has ended.
"""

import atexit
import contextlib
import heapq
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from saferun import redact
from saferun.approval import Channel, Desk, Question, Request, UnfinishedError
from saferun.errors import SafeRunError
from saferun.ledger import ApprovalEntry
from saferun.store import Answer, Delivered, Delivery, Escalate, Moved, Requests, Store

log = logging.getLogger("saferun")

HANDS = 8
"""Threads that bring requests by one channel."""

MOST = 1_000
"""The same, where a channel `stays` with a request until it is answered."""

AGAIN = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds after which a delivery that failed is tried again, the last ones over and over."""

ALARMED = 100
"""Times that an alarm is tried to be brought: some eight hours, far longer than how it ended."""

HEARD = 86_400_000_000
"""Microseconds in which an alarm that a process has left behind is brought by the next: a day."""

ELSEWHERE = 2.0
"""Seconds after which it is looked again whether a process still is at a delivery."""

FIRST = 10.0
"""Seconds that a call which nobody waits for stays until people have been told of it."""

AT_THE_END = 5.0
"""Seconds that a process stays for what it has begun to bring, when it ends."""

ENDS = 16
"""Times that it is tried to show how a request has ended, an hour in all: what still looks as if
it could be answered is worth that, and nobody waits for it."""


DAY = 86_400_000_000
"""Microseconds for which an end that nobody was told of is told by whoever takes over."""


class _Errand(NamedTuple):
    """One request to be brought by one channel."""

    request: str
    channel: str


class Courier:
    """Brings the requests of one store. Thread-safe; its threads are daemons."""

    def __init__(self, store: Store, desk: Desk) -> None:
        self.store = self._store = store
        self._desk = desk
        self._lock = threading.Condition()
        self._channels: dict[str, Channel] = {}
        self._ways: dict[str, dict[str, Channel]] = {}
        self._desks: dict[str, Desk] = {}
        self._questions: dict[str, Question] = {}
        self._joins: dict[str, str] = {}
        self._waiting: dict[str, deque[_Errand]] = {}
        self._hands: dict[str, int] = {}
        self._busy: set[_Errand] = set()
        self._anew: set[_Errand] = set()
        self._later: list[tuple[float, _Errand]] = []
        self._planned: dict[_Errand, float] = {}
        self._stranded: list[str] = []
        self._clerk: threading.Thread | None = None
        self._unfollow: Callable[[], None] | None = None
        self._closed = False

    def bring(self, request: str, channels: Sequence[Channel], desk: Desk) -> None:
        """Have people see a request by these channels, now and whenever it moves.

        `desk` is that of the gate that asks, whose people may be others than this courier's.
        """
        self._attend(channels, desk)
        with self._lock:
            self._follow()
            self._desks[request] = desk
            ways = self._ways.setdefault(request, {})
            ways.update((each.name, each) for each in channels)
            for name in ways:
                self._send(_Errand(request, name))

    def tried(self, request: str, seconds: float = FIRST) -> None:
        """Wait until every channel has brought a request or failed to, for so many seconds at most.

        The process of whoever leaves a call may end at once, and nobody else may know of it.
        """
        until = time.monotonic() + seconds
        with self._lock:
            while not self._closed and any(map(self._is_first, self._under_way(request))):
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._lock.wait(left)

    def take_over(self, channels: Sequence[Channel]) -> None:
        """Have every open request that names one of these channels be brought from here too.

        For a process that is there for all agents, such as `saferun serve`.
        """
        self._attend(channels, self._desk)
        with self._lock:
            self._follow()
            self._channels.update((each.name, each) for each in channels)
        with Requests(self._store.path) as requests:
            for each in requests.open(self._store.now()):
                self._adopt(each)
            # Where a process has died over it, what has ended may still look open.
            since = self._store.now() - DAY
            untold = [
                _Errand(request, each.name)
                for each in channels
                for request in {
                    *requests.brought(each.name, since),
                    *requests.unheard(each.name, since),
                }
            ]
        with self._lock:
            for errand in untold:
                ways = self._ways.setdefault(errand.request, {})
                if errand.channel not in ways:
                    ways[errand.channel] = self._channels[errand.channel]
                    self._send(errand)

    @staticmethod
    def _attend(channels: Sequence[Channel], desk: Desk) -> None:
        """Have channels that hear people by themselves hear them, whoever has brought the question.

        It may be before them already, brought by a process that is no more.
        """
        for each in channels:
            attend = getattr(each, "attend", None)
            if attend is not None:
                attend(desk)

    def close(self, seconds: float = AT_THE_END) -> None:
        """Bring what is under way, within so many seconds, and then nothing more."""
        until = time.monotonic() + seconds
        with contextlib.suppress(SafeRunError):
            self._look_round()
        with self._lock:
            while any(self._waiting.values()) or any(map(self._is_first, self._busy)):
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            self._closed = True
            self._leave()
            self._lock.notify_all()

    def _look_round(self) -> None:
        """Send for what has moved just now, which the feed may not have told of yet."""
        with self._lock:
            names = {name for ways in self._ways.values() for name in ways}
        if not names or self._closed or self._store.closed:
            return
        # How a call has ended may be written with the next one only, and there is none.
        self._store.flush()
        with Requests(self._store.path) as requests:
            moved = [_Errand(each, name) for name in names for each in requests.brought(name)]
        with self._lock:
            for errand in moved:
                if errand.channel in self._ways.get(errand.request, {}):
                    self._send(errand)

    def _is_first(self, errand: _Errand) -> bool:
        # Who waits for an answer at a terminal is not waited for.
        return not getattr(self._channel(errand), "stays", False)

    def _channel(self, errand: _Errand) -> Channel | None:
        ways = self._ways.get(errand.request, {})
        return ways.get(errand.channel) or self._channels.get(errand.channel)

    def _desk_of(self, request: Request) -> Desk:
        with self._lock:
            return self._desks.get(request.id, self._desk)

    def _adopt(self, request: Request) -> None:
        with self._lock:
            for name in request.question.channels:
                if name in self._channels:
                    self._ways.setdefault(request.id, {}).setdefault(name, self._channels[name])
                    self._send(_Errand(request.id, name))

    def _moved(self, moves: list[Moved]) -> None:
        """On the feed's thread: requests have moved, here or elsewhere."""
        new: list[str] = []
        with self._lock:
            for each in moves:
                for name in self._ways.get(each.id, {}):
                    self._send(_Errand(each.id, name))
                if self._channels and each.id not in self._ways and each.state == "pending":
                    new.append(each.id)
        for request in new:
            with contextlib.suppress(SafeRunError):
                stands = self._desk.stands(request)
                if stands is not None and stands.id == request:
                    self._adopt(stands)

    # Under the lock.

    def _under_way(self, request: str) -> list[_Errand]:
        # By a joined call, the request that it has joined is brought.
        with_it = {request, self._joins.get(request, request)}
        errands = {each for queue in self._waiting.values() for each in queue} | self._busy
        return [each for each in errands if each.request in with_it]

    def _follow(self) -> None:
        if self._unfollow is None:
            self._unfollow = self._store.feed.follow(self._moved)

    def _leave(self) -> None:
        """Hear nothing more of requests: there is none that is brought from here."""
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None

    def _send(self, errand: _Errand) -> None:
        """Have somebody go, now, or again where somebody is at it."""
        if self._closed:
            return
        if errand in self._busy:
            self._anew.add(errand)
            return
        queue = self._waiting.setdefault(errand.channel, deque())
        if errand in queue:
            return
        queue.append(errand)
        way = self._channel(errand)
        # Who waits there for an answer keeps a hand for as long.
        most = MOST if getattr(way, "stays", False) else HANDS
        if self._hands.get(errand.channel, 0) < most:
            self._hands[errand.channel] = self._hands.get(errand.channel, 0) + 1
            hand = threading.Thread(
                target=self._work, args=(errand.channel,), name="saferun-courier", daemon=True
            )
            try:
                hand.start()
            except RuntimeError:
                # Python is ending and begins no more threads; the clerk is there already.
                self._stranded.append(errand.channel)
        self._lock.notify_all()

    def _send_later(self, errand: _Errand, seconds: float) -> None:
        at = self._planned[errand] = time.monotonic() + seconds
        heapq.heappush(self._later, (at, errand))
        if self._clerk is None:
            clerk = threading.Thread(target=self._mind, name="saferun-clerk", daemon=True)
            # Python that is ending begins no more threads, and there is no later then either.
            with contextlib.suppress(RuntimeError):
                clerk.start()
                self._clerk = clerk
        self._lock.notify_all()

    # On threads of its own.

    def _mind(self) -> None:
        """Send what is due later, and go where no hand can be had."""
        while True:
            with self._lock:
                if self._closed:
                    return
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    at, errand = heapq.heappop(self._later)
                    # Of several plans for one errand, the last is made of what was known last.
                    if self._planned.get(errand) == at:
                        del self._planned[errand]
                        self._send(errand)
                if not self._stranded:
                    self._lock.wait(self._later[0][0] - now if self._later else None)
                    continue
                channel = self._stranded.pop()
            self._work(channel)

    def _work(self, channel: str) -> None:
        while True:
            with self._lock:
                queue = self._waiting[channel]
                if self._closed or not queue:
                    self._hands[channel] -= 1
                    self._lock.notify_all()
                    return
                errand = queue.popleft()
                self._busy.add(errand)
                way = self._channel(errand)
            again: float | None = None
            try:
                if way is not None:
                    again = self._go(errand, way)
            except SafeRunError as problem:
                if self.store.closed:
                    # Nothing more can be brought from here, and somebody else goes on with it.
                    self._give_up()
                    continue
                log.error("saferun could not bring %s: %s", errand.request, problem)
                again = AGAIN[-1]
            finally:
                with self._lock:
                    self._busy.discard(errand)
                    if errand in self._anew:
                        self._anew.discard(errand)
                        self._send(errand)
                    elif again is not None:
                        self._send_later(errand, again)
                    self._lock.notify_all()

    def _go(self, errand: _Errand, way: Channel) -> float | None:
        """Bring a request by a channel. Seconds until it is to be tried again, None for never."""
        request = self._stands(errand.request)
        if request is None:
            return None
        if request.id != errand.request:
            self._go_with(request, errand, way)
            return None
        claimed = self._store.claim(errand.request, errand.channel)
        if claimed is None:
            # Whoever is at it may die of it, whatever has become of the request.
            return ELSEWHERE
        if claimed.due_in:
            return claimed.due_in / 1e6
        if claimed.shown >= request.moved:
            self._done(errand, claimed.shown, claimed.receipt)
            if _over(request):
                self._forget(errand)
            return self._until_escalation(request)
        if claimed.shown < 0 and not request.open and request.glass is None:
            # Nobody has seen the question, so nobody has to see its end. An alarm is another thing.
            self._done(errand, request.moved, claimed.receipt)
            self._forget(errand)
            return None
        try:
            receipt = way.bring(request, self._desk_of(request), claimed.receipt)
        except BaseException as problem:  # noqa: BLE001 - whatever it is, it is tried again
            pause = self._put_off(errand, claimed, problem)
            # How it has ended is worth some tries, and not more.
            most = ENDS if request.glass is None else ALARMED
            return pause if request.open or claimed.tries < most else None
        self._done(errand, request.moved, receipt)
        if _over(request):
            self._forget(errand)
            return None
        return self._until_escalation(request)

    def _put_off(self, errand: _Errand, claimed: Delivery, problem: BaseException) -> float:
        """Keep what has been brought so far. Seconds until it is tried again."""
        said = type(problem).__name__
        if isinstance(problem, SafeRunError):
            # What others say may quote what it was about, and that may be sensitive.
            said = redact.text(str(problem)[:2_000])
        pause, receipt = AGAIN[min(claimed.tries, len(AGAIN) - 1)], claimed.receipt
        level = logging.WARNING
        if isinstance(problem, UnfinishedError):
            receipt = problem.receipt
            if problem.seconds is not None:
                pause, level = problem.seconds, logging.DEBUG
        told = "saferun could not bring %s by %s: %s"
        log.log(level, told, errand.request, errand.channel, said)
        self._store.commit(
            Delivered(
                request=errand.request,
                channel=errand.channel,
                shown=claimed.shown,
                receipt=receipt,
                failed=said,
                again=round(pause * 1e6),
            )
        )
        return pause

    def _go_with(self, lead: Request, errand: _Errand, way: Channel) -> None:
        """Another request asks the same: have people see that, in case nobody brings it any more.

        It was made by a process that may have died before anybody had seen it.
        """
        if not lead.open:
            # What has joined it was answered with it, or asks by itself by now.
            with Requests(self._store.path) as requests:
                found = requests.state(errand.request)
            if found is None or found.state != "pending":
                self._forget(errand)
            return
        with self._lock:
            self._joins[errand.request] = lead.id
            ways = self._ways.setdefault(lead.id, {})
            if errand.channel not in ways:
                ways[errand.channel] = way
                self._send(_Errand(lead.id, errand.channel))

    def _stands(self, request: str) -> Request | None:
        """How a request stands; what was asked is remembered when its key is gone."""
        found = self._desk.stands(request)
        if found is None:
            return None
        if found.open:
            with self._lock:
                self._questions[request] = found.question
        elif request in self._questions:
            found = msgspec.structs.replace(found, question=self._questions[request])
        return found

    def _done(self, errand: _Errand, shown: int, receipt: str | None) -> None:
        self._store.commit(
            Delivered(request=errand.request, channel=errand.channel, shown=shown, receipt=receipt)
        )

    def _until_escalation(self, request: Request) -> float | None:
        """Seconds until further people are asked, or it ends; what is due is noted at once."""
        if not request.open:
            return None
        question = request.question
        left = request.deadline - self._store.now()
        if left < 0:
            # Its caller may be gone, and others may wait for the same answer.
            entry = ApprovalEntry(id=request.id, event="expired", tool=question.tool)
            self._store.commit(Answer(request.id, "expired", entry))
            self._store.envelope(request.id).destroy()
            self._store.feed.poke()
            return None
        waited = self._store.now() - question.asked
        after = sorted({step.after for each in question.demands for step in each.escalate})
        due = sum(each <= waited for each in after)
        if due:
            entry = ApprovalEntry(id=request.id, event="escalated", tool=question.tool)
            if self._store.commit(Escalate(id=request.id, step=due, entry=entry)):
                self._store.feed.poke()
        if due < len(after):
            left = min(left, after[due] - waited)
        return left / 1e6 + 0.01

    def _give_up(self) -> None:
        with self._lock:
            self._closed = True
            self._leave()
            self._lock.notify_all()

    def _forget(self, errand: _Errand) -> None:
        """A channel has shown how a request has ended: it has no more to do with it."""
        with self._lock:
            ways = self._ways.get(errand.request, {})
            ways.pop(errand.channel, None)
            self._planned.pop(errand, None)
            if not ways:
                self._ways.pop(errand.request, None)
                self._questions.pop(errand.request, None)
                self._desks.pop(errand.request, None)
                self._joins.pop(errand.request, None)
            if not self._ways and not self._channels:
                self._leave()


def _over(request: Request) -> bool:
    """Whether nothing more will become of a request: neither an answer, nor a start and its end."""
    return request.state not in ("pending", "approved", "executing")


_couriers: "weakref.WeakValueDictionary[int, Courier]" = weakref.WeakValueDictionary()
_hiring = threading.Lock()


def courier(store: Store, desk: Desk) -> Courier:
    """The process's one courier of a store."""
    with _hiring:
        found = _couriers.get(id(store))
        if found is None or found.store is not store:
            found = _couriers[id(store)] = Courier(store, desk)
        return found


@atexit.register
def _close_all() -> None:
    for each in list(_couriers.values()):
        each.close()


def _after_in_child() -> None:
    global _hiring  # noqa: PLW0603
    _hiring = threading.Lock()
    _couriers.clear()


os.register_at_fork(after_in_child=_after_in_child)
