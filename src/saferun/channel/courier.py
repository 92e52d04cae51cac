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
from saferun.approval import Channel, Desk, Question, Request
from saferun.errors import SafeRunError
from saferun.ledger import ApprovalEntry
from saferun.store import Answer, Delivered, Escalate, Moved, Requests, Store

log = logging.getLogger("saferun")

HANDS = 8
"""Threads that bring requests by one channel."""

MOST = 1_000
"""The same, where a channel `stays` with a request until it is answered."""

AGAIN = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Seconds after which a delivery that failed is tried again, the last ones over and over."""

ELSEWHERE = 2.0
"""Seconds after which it is looked again whether a process still is at a delivery."""

AT_THE_END = 5.0
"""Seconds that a process stays for what it has begun to bring, when it ends."""


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
        self._questions: dict[str, Question] = {}
        self._waiting: dict[str, deque[_Errand]] = {}
        self._hands: dict[str, int] = {}
        self._busy: set[_Errand] = set()
        self._anew: set[_Errand] = set()
        self._later: list[tuple[float, _Errand]] = []
        self._clerk: threading.Thread | None = None
        self._unfollow: Callable[[], None] | None = None
        self._closed = False

    def bring(self, request: str, channels: Sequence[Channel]) -> None:
        """Have people see a request by these channels, now and whenever it moves."""
        self._attend(channels)
        with self._lock:
            self._follow()
            ways = self._ways.setdefault(request, {})
            ways.update((each.name, each) for each in channels)
            for name in ways:
                self._send(_Errand(request, name))

    def take_over(self, channels: Sequence[Channel]) -> None:
        """Have every open request that names one of these channels be brought from here too.

        For a process that is there for all agents, such as `saferun serve`.
        """
        self._attend(channels)
        with self._lock:
            self._follow()
            self._channels.update((each.name, each) for each in channels)
        with Requests(self._store.path) as requests:
            for each in requests.open():
                self._adopt(each)

    def _attend(self, channels: Sequence[Channel]) -> None:
        """Have channels that hear people by themselves hear them, whoever has brought the question.

        It may be before them already, brought by a process that is no more.
        """
        for each in channels:
            attend = getattr(each, "attend", None)
            if attend is not None:
                attend(self._desk)

    def close(self, seconds: float = AT_THE_END) -> None:
        """Bring what is under way, within so many seconds, and then nothing more."""
        until = time.monotonic() + seconds
        with self._lock:
            while any(self._waiting.values()) or any(map(self._is_first, self._busy)):
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            self._closed = True
            self._leave()
            self._lock.notify_all()

    def _is_first(self, errand: _Errand) -> bool:
        # Who waits for an answer at a terminal is not waited for.
        return not getattr(self._channel(errand), "stays", False)

    def _channel(self, errand: _Errand) -> Channel | None:
        ways = self._ways.get(errand.request, {})
        return ways.get(errand.channel) or self._channels.get(errand.channel)

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
            threading.Thread(
                target=self._work, args=(errand.channel,), name="saferun-courier", daemon=True
            ).start()
        self._lock.notify_all()

    def _send_later(self, errand: _Errand, seconds: float) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, errand))
        if self._clerk is None:
            self._clerk = threading.Thread(target=self._mind, name="saferun-clerk", daemon=True)
            self._clerk.start()
        self._lock.notify_all()

    # On threads of its own.

    def _mind(self) -> None:
        """Send what is due later."""
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._send(heapq.heappop(self._later)[1])
                self._lock.wait(self._later[0][0] - now if self._later else None)

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
            # Another request asks the same: people have that before them.
            return None
        claimed = self._store.claim(errand.request, errand.channel)
        if claimed is None:
            if _over(request):
                self._forget(errand)
                return None
            return ELSEWHERE
        if claimed.shown >= request.moved:
            self._done(errand, claimed.shown, claimed.receipt)
            if _over(request):
                self._forget(errand)
            return self._until_escalation(request)
        if claimed.shown < 0 and not request.open:
            # Nobody has seen the question, so nobody has to see its end.
            self._done(errand, request.moved, claimed.receipt)
            self._forget(errand)
            return None
        try:
            receipt = way.bring(request, self._desk, claimed.receipt)
        except BaseException as problem:  # noqa: BLE001 - whatever it is, it is tried again
            pause = AGAIN[min(claimed.tries, len(AGAIN) - 1)]
            said = type(problem).__name__
            if isinstance(problem, SafeRunError):
                # What others say may quote what it was about, and that may be sensitive.
                said = redact.text(str(problem)[:2_000])
            log.warning(
                "saferun could not bring %s by %s: %s", errand.request, errand.channel, said
            )
            self._store.commit(
                Delivered(
                    request=errand.request,
                    channel=errand.channel,
                    shown=claimed.shown,
                    receipt=claimed.receipt,
                    failed=said,
                    again=round(pause * 1e6),
                )
            )
            # How it has ended is worth some tries, and not more.
            return pause if request.open or claimed.tries < len(AGAIN) else None
        self._done(errand, request.moved, receipt)
        if _over(request):
            self._forget(errand)
            return None
        return self._until_escalation(request)

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
            if not ways:
                self._ways.pop(errand.request, None)
                self._questions.pop(errand.request, None)
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
