"""Time, chance and ids as a run had them, or at least the same ones each time.

A record knows when each of its frames was, so `time` gives the time of the newest frame that the
code has come to. It knows neither what `random` gave nor which ids were made: `random` and `ids`
are made of the run's id, and so the same in every rerun, which is not what they were in the run.
"""

import contextlib
import datetime as dt
import functools
import hashlib
import itertools
import random
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

Clock = Callable[[], int]
"""Microseconds since 1970, UTC."""

if TYPE_CHECKING:
    from datetime import date as _real_date
    from datetime import datetime as _real_datetime
else:
    _real_date, _real_datetime = dt.date, dt.datetime


@contextlib.contextmanager
def pinned_time(clock: Clock) -> Iterator[None]:
    """Have `time.time`, `time.time_ns`, `datetime.now`, `utcnow` and `today` go by a clock.

    Names that the program's own modules have imported are replaced too; those of installed
    packages and what is written in C are not. Waiting and measuring go on by real clocks.
    """
    changed = {
        time.time: lambda: clock() / 1e6,
        time.time_ns: lambda: clock() * 1_000,
        _real_datetime: _dated(clock),
        _real_date: _day(clock),
    }
    with _replaced(changed, (time, "time"), (time, "time_ns"), (dt, "datetime"), (dt, "date")):
        yield


@contextlib.contextmanager
def pinned_random(seed: str) -> Iterator[None]:
    """Have the functions of `random` give what follows from a seed."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextlib.contextmanager
def pinned_ids(seed: str) -> Iterator[None]:
    """Have `uuid.uuid1` and `uuid.uuid4` give ids that follow from a seed."""
    numbers = itertools.count()

    def made(*_: Any, **__: Any) -> uuid.UUID:
        digest = hashlib.sha256(f"{seed} {next(numbers)}".encode()).digest()
        return uuid.UUID(bytes=digest[:16], version=4)

    with _replaced({uuid.uuid4: made, uuid.uuid1: made}, (uuid, "uuid4"), (uuid, "uuid1")):
        yield


@contextlib.contextmanager
def _replaced(changed: Mapping[Any, Any], *places: tuple[Any, str]) -> Iterator[None]:
    """Have other values stand in some places, and under every name of the program's own."""
    put: list[tuple[dict[str, Any], str, Any]] = []
    for module, name in places:
        put.append((vars(module), name, getattr(module, name)))
    for module in list(sys.modules.values()):
        if _is_own(module):
            space = vars(module)
            for name, value in list(space.items()):
                if any(value is each for each in changed):
                    put.append((space, name, value))
    for space, name, value in put:
        space[name] = changed[value]
    try:
        yield
    finally:
        for space, name, value in put:
            space[name] = value


def _is_own(module: Any) -> bool:
    """Whether a module is neither of Python nor of an installed package, nor of SafeRun."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or module.__name__.partition(".")[0] == "saferun":
        return getattr(module, "__name__", "") == "__main__"
    return not any(file.startswith(folder) for folder in _installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    return tuple(
        {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )


class _Like(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, vars(cls)["real"])


def _dated(clock: Clock) -> Any:
    class Datetime(_real_datetime, metaclass=_Like):
        real = _real_datetime

        def __new__(cls, *args: Any, **named: Any) -> Any:
            return _real_datetime(*args, **named)

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return _real_datetime.fromtimestamp(clock() / 1e6, tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _real_datetime.fromtimestamp(clock() / 1e6, dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    Datetime.__name__, Datetime.__qualname__, Datetime.__module__ = (
        "datetime",
        "datetime",
        "datetime",
    )
    return Datetime


def _day(clock: Clock) -> Any:
    class Date(_real_date, metaclass=_Like):
        real = _real_date

        def __new__(cls, *args: Any, **named: Any) -> Any:
            return _real_date(*args, **named)

        @classmethod
        def today(cls) -> Any:
            return _real_date.fromtimestamp(clock() / 1e6)

    Date.__name__, Date.__qualname__, Date.__module__ = "date", "date", "datetime"
    return Date
