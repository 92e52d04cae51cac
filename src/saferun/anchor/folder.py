"""A folder elsewhere, such as a mounted share: a new file for each checkpoint, and none replaced.

What already lies there is held against the ledger, as a witness would, as far as this ledger's
key has signed it. Anybody may put other files there; they count for nothing.
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from saferun.anchor.place import AnchorError, Kind, Offered, Patience, RefusedError, slug_of
from saferun.files import beginning, sync
from saferun.ledger import Checkpoint, NoteError, Verifier, open_checkpoint
from saferun.ledger.note import MAX_NOTE

SUFFIX = ".checkpoint"

_LOOKED_AT = 16
"""Files, the newest first, among which one that this ledger has signed is looked for."""

_DIGITS = 18
"""As many as the number of an entry has at most, so that names sort as their sizes do."""


class FolderPlace:
    """One folder. Its files are called `LEDGER.SIZE.checkpoint`."""

    kind: Kind = "folder"
    seconds = 10.0

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    def take(self, offered: Offered, _last: int, _patience: Patience) -> bytes:
        """See `Place`. The file is whole and on disk on return, or not there at all."""
        checkpoint = offered.checkpoint
        try:
            if not self.path.is_dir():
                raise AnchorError(f"There is no folder {self.path}; make it, or mount it.")
            for name in offered.former:
                # What is longer was lost, and the ledger itself says so.
                last = self.newest(offered.verifiers, name.origin, name.size)
                if last is not None:
                    _held_against(last, offered)
            newest = self.newest(offered.verifiers, checkpoint.origin)
            if newest is not None:
                _held_against(newest, offered)
            if newest is None or newest.size < checkpoint.size:
                self._write(offered)
        except OSError as problem:
            raise AnchorError(f"{self.path} cannot be written: {problem.strerror}.") from None
        return offered.note

    def newest(
        self, verifiers: Sequence[Verifier], origin: str, most: int | None = None
    ) -> Checkpoint | None:
        """The longest checkpoint in the folder that a ledger's keys have signed under a name.

        Of those over at most so many entries, where that is said. Raises OSError where the folder
        cannot be read.
        """
        for path in self._files(origin, most)[:_LOOKED_AT]:
            with contextlib.suppress(NoteError, OSError):
                found = open_checkpoint(beginning(path, MAX_NOTE), verifiers, origin)
                if most is None or found.size <= most:
                    return found
        return None

    def _files(self, origin: str, most: int | None) -> list[Path]:
        name = re.compile(
            rf"{re.escape(slug_of(origin))}\.(\d{{{_DIGITS}}}){re.escape(SUFFIX)}", re.ASCII
        )
        found = sorted(self._named(name), reverse=True)
        return [self.path / name for size, name in found if most is None or size <= most]

    def _named(self, name: re.Pattern[str]) -> Iterator[tuple[int, str]]:
        """The sizes in the names of files, and the names."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if (match := name.fullmatch(entry.name)) is not None:
                    yield int(match[1]), entry.name

    def _write(self, offered: Offered) -> None:
        path = self.path / f"{offered.slug}.{offered.checkpoint.size:0{_DIGITS}}{SUFFIX}"
        draft = self.path / f".{path.name}.{secrets.token_hex(4)}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(offered.note)
                file.flush()
                os.fsync(fd)
            _put(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        # Some shares cannot sync a folder; the file itself is synced.
        with contextlib.suppress(OSError):
            sync(self.path)


def _held_against(theirs: Checkpoint, offered: Offered) -> None:
    """Raises RefusedError where what lies in the folder is not of this ledger as it is."""
    size = offered.checkpoint.size
    if theirs.size > size:
        raise RefusedError(
            f"It has a checkpoint over {theirs.size:,} entries, and this ledger has {size:,}: the "
            "tail was cut off, or an older copy was put back."
        )
    whole = theirs.size == size
    root = offered.checkpoint.root if whole else offered.history.root(theirs.size)
    if root != theirs.root:
        raise RefusedError(
            f"It has a checkpoint over {theirs.size:,} entries that are not the first "
            f"{theirs.size:,} of this ledger: they were rewritten."
        )


def _put(draft: Path, path: Path) -> None:
    """Give the draft its name, unless something bears it already."""
    try:
        # Unlike a rename, a link never replaces what is there.
        os.link(draft, path)
    except FileExistsError:
        raise AnchorError(
            f"{path} is there already and is no checkpoint of this ledger's key; take it away."
        ) from None
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # Some shares have no links.
        if path.exists():
            raise AnchorError(
                f"{path} is there already and is no checkpoint of this ledger's key; take it away."
            ) from None
        draft.rename(path)
