"""The end of a call: its outcome, what was held of it, and how its tool fared."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from saferun import admission
from saferun.admission import HEALTH, Hold
from saferun.call import Status
from saferun.control import Breaker
from saferun.control import breaker as breakers
from saferun.control import limit as limits
from saferun.errors import StoreError
from saferun.ledger import ControlEntry, encode
from saferun.store.transaction import Transaction
from saferun.store.work.append import Blob, Seal, seen_by_one
from saferun.store.work.ask import forget
from saferun.store.work.held import kept
from saferun.store.work.turn import BY_ITSELF

log = logging.getLogger("saferun")


class Fared(msgspec.Struct, frozen=True, kw_only=True):
    """Where it is kept how a tool fares, and how it did with one call.

    `failed` is None where its end says nothing about the tool. `latency` is in microseconds.
    """

    key: int
    breaker: Breaker
    about: tuple[tuple[str, str], ...]
    failed: bool | None = None
    latency: int = 0

    def apply(self, tx: Transaction, of: int, cost: int) -> None:
        before = admission.health(tx.group(self.key))
        after = breakers.completed(
            self.breaker,
            before,
            tx.now,
            call=of,
            seed=self.key,
            failed=self.failed,
            latency=self.latency,
            cost=cost,
        )
        if after is before:
            return
        tx.put(self.key, HEALTH, after, self.about)
        if after.state not in (before.state, "half-open"):
            opened = after.state == "open"
            about = dict(self.about)
            entry = ControlEntry(
                event="opened" if opened else "closed",
                scope="tool",
                value=about.get("tool"),
                tenant=about.get("tenant"),
                by=BY_ITSELF,
                until=after.until if opened else None,
            )
            tx.append(encode(entry))


class Lost(NamedTuple):
    """A row of `unknown`: a call of which entry `said` records that nobody knows how it ended.

    `of` is its decision, which was made at `at`. `held` is what it counts towards.
    """

    of: int
    said: int
    at: int
    tool: str
    call: bytes | None = None
    approval: str | None = None
    held: bytes | None = None

    def write(self, tx: Transaction) -> None:
        tx.write("INSERT INTO unknown VALUES (?, ?, ?, ?, ?, ?, ?)", *self)


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """Append what came of an admitted call, once, and correct what was held of it.

    `rest` is the encoded outcome entry, and `tool` whose it is. `cost` is what the call truly
    cost, in micro-dollars, where anybody knows. `at` is when it was admitted, `root` the run in
    which it was.
    """

    of: int
    status: Status
    rest: bytes
    boot: str
    tool: str = ""
    key: bytes | None = None
    approval: str | None = None
    blobs: Sequence[Blob] = ()
    holds: Sequence[Hold] = ()
    at: int = 0
    cost: int | None = None
    releasable: bool = False
    fared: Fared | None = None
    root: str | None = None
    seal: Seal | None = None

    def apply(self, tx: Transaction) -> None:
        if not tx.is_open(self.of, self.boot):
            # Written already, by a commit whose answer was lost, or not this process's to write.
            return
        seq = tx.append(self.rest)
        tx.settled(self.of)
        for blob in self.blobs:
            blob.write(tx)
        if self.seal is not None:
            self._keep(self.seal, tx)
        close(tx, self.status, seq, self.key, self.approval)
        if self.status == "unknown":
            lost = Lost(self.of, seq, self.at or tx.now, self.tool, self.key, self.approval)
            lost._replace(held=kept(self.holds)).write(tx)
        if self.holds:
            self._correct(tx)
        if self.fared is not None:
            self.fared.apply(tx, self.of, self.cost or 0)
        if self.root is not None:
            seen_by_one(tx, self.root, self.boot)

    def _keep(self, seal: Seal, tx: Transaction) -> None:
        try:
            seal.write(tx)
        except StoreError as problem:
            # The effect has happened: its end is written, though nothing will open its result.
            log.error("saferun could not keep a sensitive result (entry %s): %s", self.of, problem)

    def _correct(self, tx: Transaction) -> None:
        due = admission.settled(self.holds, self.status, self.cost, releasable=self.releasable)
        for hold, by in due:
            name = hold.limit.name
            state = tx.group(hold.key).get(name)
            after = limits.corrected(hold.limit, state, by, self.at, tx.now)
            tx.put(hold.key, name, after, hold.about)


def close(tx: Transaction, status: str, seq: int, key: object, approval: object) -> None:
    if key is not None:
        if status == "not_started":
            # Nothing happened, so the same call may be decided again.
            tx.write("DELETE FROM call WHERE key = ?", key)
        else:
            tx.write("UPDATE call SET outcome = ? WHERE key = ?", seq, key)
    if approval is not None:
        # What has not started has not used its yes, and may start until that is over.
        states = {"ok": "succeeded", "unknown": "unknown", "not_started": "approved"}
        state = states.get(status, "failed")
        tx.write("UPDATE approval SET state = ?, moved = ? WHERE id = ?", state, seq, approval)
        if state != "approved":
            forget(tx, str(approval))
