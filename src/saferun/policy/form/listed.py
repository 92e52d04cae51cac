"""Values that are listed: `forbid`, none of these, and `among`, one of these."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from saferun.policy.form.fault import Fault
from saferun.policy.form.fold import depth, fold, likeness
from saferun.policy.reading import written_alike
from saferun.policy.wording import found

MAX_FORBIDDEN = 1_000
MAX_AMONG = 50_000
_MAX_DEPTH = 16


class Forbid:
    """None of these values: roughly read, nothing that resembles one; exactly, not the very one."""

    __slots__ = ("_alike", "_levels", "_values")

    def __init__(self, said: list[Any]) -> None:
        self._values = said
        self._levels = max(map(depth, said))
        self._alike = frozenset(likeness(value, self._levels) for value in said)

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if likeness(value, self._levels) not in self._alike:
            return True
        return exactly and not any(written_alike(value, each) for each in self._values)


class Among:
    """One of these texts: exactly read, in these very characters; roughly, or one like it."""

    __slots__ = ("_alike", "_texts")

    def __init__(self, said: list[str]) -> None:
        self._texts, self._alike = _read(tuple(said))

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if not isinstance(value, str) or value in self._texts:
            return True
        return not exactly and fold(value) in self._alike


@lru_cache(maxsize=16)
def _read(said: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """A list as it stands and folded. One list may serve many arguments, and is folded once."""
    return frozenset(said), frozenset(map(fold, said))


def forbid_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `forbid`."""
    if not isinstance(said, list) or not said:
        yield (), f"`forbid` is a list of the values that are not allowed; {found(said)}"
    elif len(said) > MAX_FORBIDDEN:
        yield (), f"`forbid` lists up to {MAX_FORBIDDEN:,} values; this list has {len(said):,}"
    else:
        for at, value in enumerate(said):
            if depth(value) > _MAX_DEPTH:
                yield (at,), f"a forbidden value has up to {_MAX_DEPTH} levels"


def among_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `among`, once the file that it named has been read."""
    if not isinstance(said, list) or not said:
        yield (
            (),
            (
                "`among` is a list of texts, or `{file: NAME}` for a file with one text a line; "
                f"{found(said)}"
            ),
        )
    elif len(said) > MAX_AMONG:
        yield (), f"`among` lists up to {MAX_AMONG:,} texts; this list has {len(said):,}"
    else:
        for at, each in enumerate(said):
            if not isinstance(each, str):
                yield (at,), f"`among` lists texts; {found(each)}"
