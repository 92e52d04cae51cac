"""Changes of a policy file and of its tests: shown as a patch, or made, and never half of one."""

import difflib
import stat
from pathlib import Path
from typing import NamedTuple

from saferun import files
from saferun.cli.options import CannotError, contents, near
from saferun.cli.screen import raw


class Change(NamedTuple):
    """What a file held when it was read, None where there was none, and what it is to hold."""

    path: Path
    before: bytes | None
    after: bytes

    def patch(self) -> str:
        """The change as a unified diff, as `git apply` and `patch -p1` take it."""
        name = near(self.path)
        before = "" if self.before is None else self.before.decode("utf-8", "replace")
        old = "/dev/null" if self.before is None else f"a/{name}"
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            self.after.decode("utf-8", "replace").splitlines(keepends=True),
            old,
            f"b/{name}",
        )
        # A last line without its end would run into the next file.
        ends = (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )
        return "".join(ends)


def read(path: Path, limit: int) -> bytes | None:
    """What a file holds, None where there is none. Raises CannotError where it cannot be read."""
    return contents(path, limit) if path.exists() else None


def show(changes: list[Change]) -> None:
    """Print the changes as one patch."""
    raw("".join(each.patch() for each in changes).encode())


def make(changes: list[Change], limit: int) -> None:
    """Write the changes, each file whole or not at all.

    Raises CannotError where one has changed since it was read: then none is written.
    """
    for each in changes:
        if read(each.path, limit) != each.before:
            raise CannotError(
                f"{near(each.path)} has changed meanwhile, and nothing was written; do it again."
            )
    for each in changes:
        # Of a link, what it leads to is the file.
        path = each.path.resolve()
        mode = stat.S_IMODE(path.stat().st_mode) if each.before is not None else 0o644
        try:
            files.put(path, each.after, mode=mode)
        except OSError as problem:
            raise CannotError(f"{near(path)} cannot be written: {problem.strerror}.") from None
