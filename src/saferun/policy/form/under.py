"""`under: FOLDER`: a path that lies in a folder.

A policy looks at no disk. Links and `..` are resolved before it is asked, and the tool is given
the resolved path; what is left to look at here is text.
"""

from collections.abc import Iterator
from typing import Any

from saferun.policy.form.fault import Fault
from saferun.policy.form.fold import fold
from saferun.policy.wording import found, named


class Under:
    """A path in one of these folders; the folders themselves are in it.

    Roughly read, a path that is not absolute and normal might lie anywhere, and names that
    differ in case or in the form of their letters are one, as on many disks.
    """

    __slots__ = ("_alike", "_folders")

    def __init__(self, said: str | list[str]) -> None:
        self._folders = (said,) if isinstance(said, str) else tuple(said)
        self._alike = tuple(map(fold, self._folders))

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if not isinstance(value, str):
            return True
        if not is_normal(value):
            return not exactly
        if any(_lies_in(value, folder) for folder in self._folders):
            return True
        return not exactly and any(_lies_in(fold(value), folder) for folder in self._alike)


def is_normal(path: str) -> bool:
    """Whether a path is absolute and names each folder on its way, once and by its name."""
    if path == "/":
        return True
    head, *steps = path.split("/")
    return not head and bool(steps) and "\0" not in path and {"", ".", ".."}.isdisjoint(steps)


def under_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `under`."""
    if not isinstance(said, str | list) or not said:
        yield (), f"expected a folder such as `/srv/data`, or a list of folders; {found(said)}"
        return
    for steps, folder in (((), said),) if isinstance(said, str) else _numbered(said):
        if not isinstance(folder, str) or not folder.startswith("/"):
            yield steps, f"a folder is written from the root, such as `/srv/data`; {found(folder)}"
        elif not is_normal(folder):
            plain = "a folder is written without `.`, `..`, a double slash or one at its end"
            yield steps, f"{plain}; found {named(folder)}"


def _numbered(said: list[Any]) -> Iterator[tuple[tuple[int, ...], Any]]:
    return (((at,), each) for at, each in enumerate(said))


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder == "/" else f"{folder}/")
