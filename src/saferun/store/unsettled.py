"""Calls that have no end so far, and calls of which nobody knows how they ended."""

from collections.abc import Iterator
from typing import NamedTuple

from saferun.ledger import DecisionEntry, parse
from saferun.store.locks import boots, lives
from saferun.store.reading import Reader

_SCHEMA = 4
"""The schema of the first stores that kept calls of which nobody knows the end."""


class Loose(NamedTuple):
    """A call without a known end: it is still under way, or it is recorded as unknown.

    `seq` is its decision and `body` that entry, empty where it is archived or was changed. `said`
    is the entry that says that nobody knows, None where it is still under way. `alive` says
    whether the process that made it is still there: then it may yet do its work.
    """

    seq: int
    tool: str
    at: int
    body: bytes
    said: bytes | None
    alive: bool

    @property
    def decision(self) -> DecisionEntry | None:
        """What was decided, None where that cannot be read here."""
        found = parse(self.body).entry if self.body else None
        return found if isinstance(found, DecisionEntry) else None


def open_calls(reader: Reader) -> list[int]:
    """The numbers of the decisions that have no outcome yet."""
    return [row[0] for row in reader.every("SELECT seq FROM head WHERE seq >= 0 ORDER BY seq")]


def open_requests(reader: Reader, now: int) -> set[str]:
    """The ids of the requests that wait for a person, or for their call to be made."""
    waiting = "SELECT id FROM approval WHERE state IN ('pending', 'approved') AND deadline > ?"
    return {row[0] for row in reader.every(waiting, now)}


def calls_under_way(reader: Reader) -> Iterator[Loose]:
    """Calls without an outcome so far, by ascending number of their decision."""
    rows = reader.every("SELECT seq, boot FROM head WHERE seq >= 0 ORDER BY seq")
    for seq, boot in rows:
        [body] = reader.bodies([seq])
        tool, at = "", 0
        if body:
            made = parse(body)
            tool, at = getattr(made.entry, "tool", ""), made.time
        yield Loose(seq, tool, at, body, None, lives(boots(reader.path), str(boot)))


def unknown_calls(
    reader: Reader, of: int | None = None, tool: str | None = None
) -> Iterator[Loose]:
    """Calls of which nobody knows how they ended, by ascending number of their decision.

    All of them, or that one, or those of a tool. Raises StoreError.
    """
    last = -1 if of is None else of - 1
    stop = 1 << 62 if of is None else of + 1
    while True:
        page = reader.every(
            "SELECT seq, tool, at, said FROM unknown WHERE seq > ? AND seq < ?"
            " AND (?3 IS NULL OR tool = ?3) ORDER BY seq LIMIT 1000",
            *(last, stop, tool),
            schema=_SCHEMA,
        )
        for seq, name, at, said in page:
            body, told = reader.bodies([seq, said])
            yield Loose(seq, name, at, body, told, _alive(reader, body))
        if len(page) < 1000:
            return
        last = page[-1][0]


def count_unknown(reader: Reader) -> int:
    """How many calls there are of which nobody knows how they ended."""
    found = reader.every("SELECT count(*) FROM unknown", schema=_SCHEMA)
    return int(found[0][0]) if found else 0


def _alive(reader: Reader, body: bytes) -> bool:
    boot = parse(body).entry.boot if body else None
    return boot is not None and lives(boots(reader.path), boot)
