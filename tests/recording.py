"""Runs as a store's ledger has them, put there entry by entry, and played back."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saferun.ledger import (
    AnyEntry,
    ApprovalEntry,
    DecisionEntry,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    encode,
    leaf_hash,
)
from saferun.replay import Playback
from saferun.store import Append, Reader, Store
from saferun.store.index import Index

OF = {"agent": "support", "user": "maria"}


def write(store: Store, *entries: AnyEntry) -> int:
    """The number of the last of them."""
    store.commit(Append(entries=[encode(entry) for entry in entries], boot=store.boot))
    return store.size() - 1


class Script:
    """One run, told step by step. Each step gives the number of its first entry."""

    def __init__(self, store: Store, run: str = "r-1", **about: Any) -> None:
        self.store, self.run = store, run
        user = {"id": about.pop("user", OF["user"])}
        start = RunEntry(
            event="start", run=run, user=user, **{"root": run, "agent": OF["agent"], **about}
        )
        self.first = write(store, start)

    def model(self, output: Any = "I will.", **about: Any) -> int:
        return write(self.store, ModelEntry(run=self.run, output=output, **OF, **about))

    def decided(self, tool: str = "refund", args: Any = None, **about: Any) -> int:
        args = {"amount": 4} if args is None else args
        digest = about.pop("digest", leaf_hash(repr((tool, args)).encode()).hex())
        entry = DecisionEntry(
            run=self.run, tool=tool, args=args, digest=digest, **{"verdict": "allow", **about}, **OF
        )
        return write(self.store, entry)

    def ended(self, of: int, status: Any = "ok", **about: Any) -> int:
        return write(self.store, OutcomeEntry(run=self.run, of=of, status=status, **about, **OF))

    def call(
        self, tool: str = "refund", args: Any = None, result: Any = "done", **about: Any
    ) -> int:
        seq = self.decided(tool, args)
        self.ended(seq, result=result, **about)
        return seq

    def denied(self, tool: str = "refund", args: Any = None) -> int:
        return self.decided(tool, args, verdict="deny")

    def approved(self, tool: str = "refund", args: Any = None, own: str = "a-1") -> int:
        seq = self.decided(tool, args, verdict="ask", approval=own)
        about = {"run": self.run, "id": own, "tool": tool, **OF}
        write(
            self.store,
            ApprovalEntry(event="requested", groups=("finance",), **about),
            ApprovalEntry(event="approved", by="dana", reason="a good customer", **about),
        )
        self.ended(self.decided(tool, args, approval=own), result="done")
        return seq

    def end(self, error: str | None = None) -> int:
        return write(self.store, RunEntry(event="end", run=self.run, error=error))


@contextlib.contextmanager
def indexed(file: Path) -> Iterator[Index]:
    with Reader(file) as reader, Index(reader) as index:
        index.build()
        yield index


@contextlib.contextmanager
def played(file: Path, run: str = "r-1", **options: Any) -> Iterator[Playback]:
    with indexed(file) as index:
        yield Playback(index, run, **options)


def tamper(file: Path, seq: int, before: bytes, after: bytes, *, leaf: bool = False) -> None:
    """Change the bytes of an entry, and with `leaf` what stands beside them to fit."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        [(body,)] = connection.execute("SELECT body FROM entry WHERE seq = ?", (seq,)).fetchall()
        changed = body.replace(before, after)
        assert changed != body
        connection.execute("UPDATE entry SET body = ? WHERE seq = ?", (changed, seq))
        if leaf:
            own = leaf_hash(changed)
            connection.execute("UPDATE entry SET leaf = ? WHERE seq = ?", (own, seq))
