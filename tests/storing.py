"""Work for a store, and what its ledger looks like afterwards, as tests put them."""

import contextlib
import os
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any

from saferun.admission import ASKING, Due
from saferun.approval import Question
from saferun.call import Call
from saferun.control import Charge, Groups, Limit, charges
from saferun.ledger import (
    ApprovalEntry,
    Archival,
    ArchiveEntry,
    DecisionEntry,
    Frontier,
    OutcomeEntry,
    Report,
    encode,
    read,
    sign_archival,
    verify,
)
from saferun.store import Admit, Append, Ask, Reader, Settle, Store, sqlite

NOON = 1_763_942_400_000_000


class Clock:
    """The time, as a test sets it, in microseconds since 1970, UTC."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def admit(store: Store, **about: Any) -> Admit:
    entry = DecisionEntry(**{"tool": "refund", "verdict": "allow", **about.pop("entry", {})})
    return Admit(entry=entry, rest=encode(entry), boot=store.boot, **about)


def due(store: Store, call: Call, *limits: Limit, cost: int | None = None, **about: Any) -> Due:
    """What a call has to pass, its groups under the numbers that the store keeps them by."""
    counted = charges(limits, call, "test", cost, Groups(store.group))
    return Due(charges=counted, **about)


FIRST, SECOND = "a-" + "1" * 20, "a-" + "2" * 20
"""Ids of requests."""


def asking(store: Store, own: str = FIRST, **about: Any) -> Ask:
    """A question to people, should a call turn out to need one."""
    envelope = store.envelope(own).make()
    fields: dict[str, Any] = {
        "key": None,
        "binding": b"this",
        "deadline": 600_000_000,
        "entry": ApprovalEntry(id=own, event="requested", tool="refund"),
        "question": Question(id=own, tool="refund", args={}),
        "pace": Charge(ASKING, 1),
    }
    return Ask(envelope=envelope, **{**fields, **about})


def settle(store: Store, of: int, status: str = "ok", **about: Any) -> Settle:
    rest = encode(OutcomeEntry(of=of, status=status))
    return Settle(of=of, status=status, rest=rest, boot=store.boot, **about)


def audit(file: Path) -> Report:
    """What verification finds in the store's ledger as it lies on disk."""
    with Reader(file) as reader:
        return verify(reader.rows(), reader.head(), blobs=reader.blob)


def shelve(store: Store, upto: int) -> None:
    """Have the ledger say that entries below `upto` lie elsewhere, and empty all but the first."""
    signer = store.signer()
    with Reader(store.path) as reader:
        root = Frontier.at(upto, reader.tree()).root()
    said = Archival(signer.name, 0, upto, root, bytes(32))
    entry = ArchiveEntry(
        first=0,
        size=upto,
        root=b64encode(root).decode(),
        note=sign_archival(said, signer).decode(),
        by="dana",
    )
    seq = store.size()
    store.commit(Append(entries=[encode(entry)], boot=store.boot))
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("INSERT INTO archive VALUES (0, ?, ?)", (upto, seq))
        connection.execute("UPDATE entry SET body = x'' WHERE seq BETWEEN 1 AND ?", (upto - 1,))


def kinds(file: Path) -> list[str]:
    with Reader(file) as reader:
        return [read(body).kind for _, body, _ in reader.rows()]


def as_of(file: Path, schema: int) -> None:
    """Make a store what an earlier version would have made of it: its tables, and what fits."""
    old = file.with_name("old.db")
    with contextlib.closing(sqlite3.connect(old)) as made, made:
        for step in range(1, schema + 1):
            made.executescript(sqlite._MIGRATIONS[step])
        made.execute(f"PRAGMA application_id = {sqlite.APPLICATION}")
        made.execute(f"PRAGMA user_version = {schema}")
        made.execute("ATTACH ? AS new", (str(file),))
        known = {name for (name,) in made.execute("SELECT name FROM new.sqlite_schema")}
        tables = made.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table in known:
                rows = made.execute(f"PRAGMA main.table_info({table})").fetchall()
                columns = ", ".join(row[1] for row in rows)
                # What controls keep stands there as well now, and is no head and no call.
                only = "WHERE seq >= -1" if table == "head" and schema < 3 else ""
                made.execute(f"INSERT INTO main.{table} SELECT {columns} FROM new.{table} {only}")
        # What it counted, by the keys that it had then.
        if "counter" in {table for (table,) in tables}:
            made.execute("INSERT INTO counter VALUES (?, 7)", (bytes(16),))
    for leftover in file.parent.glob(f"{file.name}-*"):
        leftover.unlink()
    os.replace(old, file)
