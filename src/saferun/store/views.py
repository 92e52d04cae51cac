"""Views of runs that people have named, in a small file beside the store.

They are a convenience and no history: nothing decides by them, no backup needs them, and whoever
can write the file can rename what others see. So what it holds is bounded, and read as what
strangers have written.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from saferun import files
from saferun.errors import SafeRunError
from saferun.store.locks import FileLock
from saferun.store.synopsis import Trait

MOST = 24
"""Views of one person."""

MOST_PEOPLE = 1_000

MAX_NAME = 60
"""Characters in the name of a view."""

MAX_VALUE = 200
"""Characters of what one of its filters asks for."""

MAX_FILE = 8_000_000
"""Bytes that are read: all that may be kept, with each character escaped."""


class ViewError(SafeRunError):
    """A view cannot be kept so."""


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Filters under a name. A filter that is empty asks for nothing."""

    name: str
    trait: Trait | None = None
    agent: str = ""
    user: str = ""
    tool: str = ""
    text: str = ""
    within: str = ""
    children: bool = False


class Views:
    """The views of all people on one store. Each of its doings is whole, across processes.

    Raises ViewError for what cannot be kept.
    """

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".views")

    def of(self, person: str) -> list[View]:
        """The views of one person, in the order in which they were made."""
        return self._read().get(person, [])

    def named(self, name: str) -> list[tuple[str, View]]:
        """Everybody's views of that name, or the one of `PERSON/NAME`."""
        every = self._read()
        person, slash, rest = name.partition("/")
        return [
            (whose, each)
            for whose, some in every.items()
            for each in some
            if each.name == name or (slash and whose == person and each.name == rest)
        ]

    def keep(self, person: str, view: View) -> None:
        """Keep a view, in place of one of the same name."""
        _check(view)
        with self._changing() as every:
            own = every.setdefault(person, [])
            if len(every) > MOST_PEOPLE:
                raise ViewError("There is no room for the views of one more person.")
            places = [place for place, each in enumerate(own) if each.name == view.name]
            if places:
                own[places[0]] = view
                return
            if len(own) >= MOST:
                raise ViewError(f"You have {MOST} views, which is the most; delete one first.")
            own.append(view)

    def rename(self, person: str, name: str, to: str) -> None:
        """Call a view something else."""

        def renamed(own: list[View], place: int) -> None:
            view = msgspec.structs.replace(own[place], name=to)
            _check(view)
            if to != name and any(each.name == to for each in own):
                raise ViewError("You have a view of that name already.")
            own[place] = view

        self._change(person, name, renamed)

    def drop(self, person: str, name: str) -> None:
        """Delete a view."""
        self._change(person, name, lambda own, place: own.pop(place))

    def _change(self, person: str, name: str, do: Callable[[list[View], int], object]) -> None:
        with self._changing() as every:
            own = every.get(person, [])
            place = next((place for place, each in enumerate(own) if each.name == name), None)
            if place is None:
                raise ViewError("There is no such view any more.")
            do(own, place)
            if not own:
                del every[person]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, list[View]]]:
        try:
            with contextlib.closing(
                FileLock(self.path.with_name(self.path.name + ".lock"))
            ) as lock:
                lock.acquire()
                every = self._read()
                yield every
                files.put(self.path, msgspec.json.encode(every))
        except OSError as problem:
            raise ViewError(f"The views cannot be written: {problem.strerror}.") from None

    def _read(self) -> dict[str, list[View]]:
        """All of them; none where the file is not there, or was made into something else."""
        try:
            data = files.beginning(self.path, MAX_FILE)
            every = msgspec.json.decode(data, type=dict[str, list[View]])
        except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
            return {}
        return {
            person: [each for each in some if _fits(each)][:MOST]
            for person, some in list(every.items())[:MOST_PEOPLE]
        }


def _check(view: View) -> None:
    if not view.name.strip():
        raise ViewError("A view needs a name.")
    if len(view.name) > MAX_NAME:
        raise ViewError(f"The name of a view has {MAX_NAME} characters at most.")
    if not _fits(view):
        raise ViewError(f"What a filter asks for has {MAX_VALUE} characters at most.")


def _fits(view: View) -> bool:
    values = (view.agent, view.user, view.tool, view.text)
    return (
        0 < len(view.name.strip()) <= len(view.name) <= MAX_NAME
        and all(len(each) <= MAX_VALUE for each in values)
        and len(view.within) <= 2 * MAX_VALUE
    )
