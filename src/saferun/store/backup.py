"""A copy of a store, of one moment, while others go on writing to it.

The copy is made beside the place where it is to be, read anew from there and held against a
checkpoint that was signed a moment before. Only then, and once it is on disk, does it get its
name: so under that name there is a whole backup, or whatever was there before.

It holds no keys. A backup that is put in the place of a store knows nothing of what came after
it, and it is the high-water mark that tells: see `signing`.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from saferun.errors import StoreError
from saferun.files import move, sync
from saferun.ledger import Checkpoint, Signs, Verifier, open_checkpoint
from saferun.store import sqlite
from saferun.store.own import spare
from saferun.store.signing import checkpoint, regrown

_STEPS = 50_000
"""Steps of SQLite's machine between two looks at how far it is."""

Progress: TypeAlias = Callable[[int, int], None]


class BackedUp(NamedTuple):
    """What a copy holds: so many entries, the first of which its newest checkpoint vouches for."""

    entries: int
    checkpoint: Checkpoint
    note: bytes
    size: int


def backup(
    path: Path, to: Path, signer: Signs, *, force: bool = False, progress: Progress | None = None
) -> BackedUp:
    """Copy a store to a new file. `progress` is told of bytes done, and of how many.

    Raises StoreError where a file is there already (unless `force` says to replace it), where it
    is the store's own, or where the copy is not whole.
    """
    _free(path, to, force=force)
    note = checkpoint(path, signer)
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    with sqlite.explained(to):
        try:
            # SQLite would make it readable for everybody, and takes one that is there and empty.
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            _copy(path, draft, progress)
            entries, stated = _checked(draft, note, signer)
            sync(draft)
            if not force and to.exists():
                raise StoreError(f"{to} is there already; name another file, or say --force.")
            move(draft, to)
        finally:
            for file in (draft, *(draft.with_name(draft.name + end) for end in _ENDS)):
                file.unlink(missing_ok=True)
        return BackedUp(entries, stated, note, to.stat().st_size)


_ENDS = ("-journal", "-wal", "-shm")


def _free(path: Path, to: Path, *, force: bool) -> None:
    with sqlite.explained(path):
        spare(path.resolve(strict=True), to)
        wanted = to.resolve()
        if not wanted.parent.is_dir():
            raise StoreError(f"{to} cannot be written: there is no folder {wanted.parent}.")
        if wanted.is_dir():
            raise StoreError(f"{to} is a folder; name a file in it.")
        if wanted.exists() and not force:
            raise StoreError(f"{to} is there already; name another file, or say --force.")


def _copy(path: Path, draft: Path, progress: Progress | None) -> None:
    connection = sqlite.connect(path, "full", write=False)
    try:
        connection.execute("PRAGMA query_only = OFF")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()

        def look() -> int:
            assert progress is not None
            with contextlib.suppress(OSError):
                progress(draft.stat().st_size, pages * page)
            return 0

        if progress is not None:
            connection.set_progress_handler(look, _STEPS)
        # In one read transaction, so all of it is of one moment, whoever writes meanwhile.
        connection.execute("VACUUM INTO ?", (str(draft),))
    finally:
        connection.close()


def _checked(draft: Path, note: bytes, signer: Signs) -> tuple[int, Checkpoint]:
    """How many entries a copy has, all of which are those that the checkpoint says, and since."""
    stated = open_checkpoint(note, [Verifier(signer.vkey())], signer.name)
    connection = sqlite3.connect(f"{draft.absolute().as_uri()}?mode=ro", uri=True)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StoreError(f"The copy {draft} is damaged; look at the disk, and try again.")
        at, head, frontier = regrown(connection, stated.size)
    finally:
        connection.close()
    if at.root() != stated.root or head.encode() != frontier:
        raise StoreError(
            "The copy does not hold the entries that the checkpoint vouches for, so the store does "
            "not either; nothing was kept. Run saferun ledger verify."
        )
    return head.size, stated
