"""Requests to people as they stand: read, for whoever shows them or answers them."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from saferun.approval import Grant, Question, Request, State
from saferun.call import Call, Demand, Reason, RunRef
from saferun.errors import StoreError
from saferun.ledger import DecisionEntry, EntryError, parse
from saferun.store import sqlite
from saferun.store.envelope import Envelope
from saferun.store.work.ticket import COLUMNS, Ticket, ticket_of
from saferun.store.work.vote import vote_of

_COLUMNS = (
    "SELECT id, state, revision, moved, deadline, by, reason, request, decision, tool,"
    " (SELECT count(*) FROM approval AS other WHERE other.lead = approval.id) FROM approval"
)

MOST = 1_000
"""Requests that one look gives at most."""

_FEW = 4

_SINCE = 5
"""Of the schema: the first version that knows votes, grants and deliveries."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The call that a request is about, as it was made, and what it has been edited to.

    `key` is the call among its own repetitions. `reasons` and `demands` are those for which
    policy asked at first.
    """

    call: Call
    key: bytes | None = None
    reasons: tuple[Reason, ...] = ()
    demands: tuple[Demand, ...] = ()
    edited: dict[str, Any] | None = None


class Stand(NamedTuple):
    """What has become of a request, and why, if somebody said.

    `key` is its call among its own repetitions. The deadline is in microseconds since 1970.
    """

    state: State
    key: bytes | None
    deadline: int
    tool: str
    reason: str | None


class _Row(NamedTuple):
    id: str
    state: State
    revision: int
    moved: int
    deadline: int
    by: str | None
    reason: str | None
    request: bytes
    decision: int | None
    tool: str
    joined: int


_GLASS = "WHERE lead IS NULL AND id IN (SELECT approval FROM vote WHERE glass AND at > ?)"


class Requests:
    """The requests of a store. Use as a context manager; raises StoreError where it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys = path.parent / "keys"
        with sqlite.explained(path):
            self._connection = sqlite.connect(path, "full", write=False)

    @property
    def kept(self) -> bool:
        """Whether the store keeps requests as they are now: one of an older schema does not."""
        with sqlite.explained(self._path):
            [version] = self._connection.execute("PRAGMA user_version").fetchone()
        return bool(version >= _SINCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def one(self, request: str) -> Request | None:
        """How a request stands, None where there is none of that id."""
        return next(self._read(f"{_COLUMNS} WHERE id = ?", request), None)

    def beginning(self, text: str) -> list[str]:
        """The ids that begin so, the newest first; a few of them, where there are many."""
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                "SELECT id FROM approval WHERE substr(id, 1, ?) = ? ORDER BY moved DESC LIMIT ?",
                (len(text), text, _FEW),
            ).fetchall()
        return [str(each) for (each,) in rows]

    def waiting(self, now: int) -> int:
        """How many people have before them, more than one look gives too."""
        with sqlite.explained(self._path):
            [count] = self._connection.execute(
                "SELECT count(*) FROM approval"
                " WHERE state = 'pending' AND lead IS NULL AND deadline >= ?",
                (now,),
            ).fetchone()
        return int(count)

    def open(self, now: int) -> list[Request]:
        """Those that people have before them and may still answer, what ends first on top."""
        return list(
            self._read(
                f"{_COLUMNS} WHERE state = 'pending' AND lead IS NULL AND deadline >= ?"
                " ORDER BY deadline LIMIT ?",
                *(now, MOST),
            )
        )

    def newest(self, limit: int) -> list[Request]:
        """Those that have moved last, whatever became of them."""
        limit = min(limit, MOST)
        return list(self._read(f"{_COLUMNS} WHERE lead IS NULL ORDER BY moved DESC LIMIT ?", limit))

    def lead(self, request: str) -> str:
        """The request that people have before them where this one waits for its answer."""
        with sqlite.explained(self._path):
            row = self._connection.execute(
                "SELECT lead FROM approval WHERE id = ?", (request,)
            ).fetchone()
        return request if row is None or row[0] is None else str(row[0])

    def held(self, request: str) -> Held:
        """The call that a request is about. Raises StoreError where it is not kept any more."""
        with sqlite.explained(self._path):
            row = self._connection.execute(
                "SELECT held FROM approval WHERE id = ?", (request,)
            ).fetchone()
        data = Envelope(self._keys, request).open("call", None if row is None else row[0])
        return msgspec.json.decode(data, type=Held)

    def state(self, request: str) -> Stand | None:
        """What has become of a request, None where there is none of that id."""
        with sqlite.explained(self._path):
            row = self._connection.execute(
                "SELECT state, call, deadline, tool, reason FROM approval WHERE id = ?", (request,)
            ).fetchone()
        return None if row is None else msgspec.convert(row, Stand)

    def grants(self, now: int) -> list[Grant]:
        """What runs without being asked about, what ends first before the others."""
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                "SELECT data FROM permit WHERE until > ? ORDER BY until LIMIT ?", (now, MOST)
            ).fetchall()
        return [msgspec.json.decode(data, type=Grant) for (data,) in rows]

    def undelivered(self) -> list[tuple[str, str, str]]:
        """Requests that a channel could not bring to people: request, channel and why."""
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                "SELECT approval, channel, failed FROM delivery WHERE failed IS NOT NULL"
                " AND approval IN (SELECT id FROM approval WHERE state = 'pending') LIMIT ?",
                (MOST,),
            ).fetchall()
        return msgspec.convert(rows, list[tuple[str, str, str]])

    def glass(self, since: int, limit: int) -> list[Request]:
        """Those for which somebody has broken the glass since then, the last one first.

        `since` is in microseconds since 1970, UTC.
        """
        return list(self._read(f"{_COLUMNS} {_GLASS} ORDER BY moved DESC LIMIT ?", since, limit))

    def unheard(self, channel: str, since: int) -> list[str]:
        """The ids of those of them of which a channel has not told yet."""
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                f"SELECT id FROM approval {_GLASS} AND id IN (SELECT approval FROM delivery d"  # noqa: S608
                " WHERE d.channel = ? AND d.shown < approval.moved) LIMIT ?",
                (since, channel, MOST),
            ).fetchall()
        return [str(each) for (each,) in rows]

    def brought(self, channel: str, since: int = 0) -> dict[str, int]:
        """The requests that have moved since a channel has shown them: the entry shown, by id.

        Without those whose deadline was before `since`.
        """
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                "SELECT d.approval, d.shown FROM delivery d JOIN approval a ON a.id = d.approval"
                " WHERE d.channel = ? AND d.shown < a.moved AND d.shown >= 0 AND a.deadline >= ?"
                " ORDER BY a.moved DESC LIMIT ?",
                (channel, since, MOST),
            ).fetchall()
        return dict(msgspec.convert(rows, list[tuple[str, int]]))

    def ticket(self, token: bytes) -> Ticket | None:
        """What a token lets somebody do, by its hash; None where there is no such ticket."""
        return next(self._tickets("token = ?", token), None)

    def tickets(self, request: str, channel: str) -> list[Ticket]:
        """Those that went out with a request by a channel, the oldest first."""
        return list(self._tickets("approval = ? AND channel = ? ORDER BY id", request, channel))

    def written(self, by: str, channel: str) -> set[tuple[str, int]]:
        """The requests and their revisions that somebody has been written to about."""
        with sqlite.explained(self._path):
            rows = self._connection.execute(
                "SELECT approval, revision FROM ticket"
                " WHERE by = ? AND channel = ? AND message IS NOT NULL",
                (by, channel),
            ).fetchall()
        return {(str(request), int(revision)) for request, revision in rows}

    def _tickets(self, which: str, *values: object) -> Iterator[Ticket]:
        statement = f"SELECT {COLUMNS} FROM ticket WHERE {which}"  # noqa: S608
        with sqlite.explained(self._path):
            rows = self._connection.execute(statement, values).fetchall()
        return map(ticket_of, rows)

    def _read(self, statement: str, *values: object) -> Iterator[Request]:
        with sqlite.explained(self._path):
            rows = self._connection.execute(statement, values).fetchall()
        for found in rows:
            row = msgspec.convert(found, _Row)
            votes = self._connection.execute(
                "SELECT by, approved, reason, channel, at, glass FROM vote"
                " WHERE approval = ? AND revision = ? ORDER BY at",
                (row.id, row.revision),
            ).fetchall()
            yield Request(
                question=self._question(row),
                state=row.state,
                revision=row.revision,
                moved=row.moved,
                deadline=row.deadline,
                votes=tuple(vote_of(each) for each in votes),
                joined=row.joined,
                by=row.by,
                reason=row.reason,
            )

    def _question(self, row: _Row) -> Question:
        try:
            data = Envelope(self._keys, row.id).open("question", row.request)
            return msgspec.json.decode(data, type=Question)
        except (StoreError, msgspec.MsgspecError):
            return self._from_ledger(row)

    def _from_ledger(self, row: _Row) -> Question:
        """What the ledger has of a question whose key is gone: what it was about, for the record.

        Nothing of it can be answered: values that were sealed are not in it.
        """
        found = self._connection.execute(
            "SELECT body FROM entry WHERE seq = ?", (row.decision,)
        ).fetchone()
        try:
            asked = parse(found[0]) if found is not None else None
        except EntryError:
            asked = None
        entry = None if asked is None else asked.entry
        if asked is None or not isinstance(entry, DecisionEntry):
            return Question(id=row.id, tool=row.tool, args={}, demands=(), lost=True)
        run = None
        if entry.run is not None:
            user = {"id": entry.user} if entry.user is not None else {}
            run = RunRef(
                run_id=entry.run, root=entry.run, agent=entry.agent, user=user, tenant=entry.tenant
            )
        args = entry.args if isinstance(entry.args, dict) else {}
        return Question(
            id=row.id,
            tool=entry.tool,
            args=args,
            hidden=tuple(args),
            run=run,
            reasons=entry.reasons,
            demands=(),
            policy=entry.policy,
            digest=entry.digest or "",
            asked=asked.time,
            lost=True,
        )
