"""A policy file's text, read into plain values that remember their lines.

The text is hostile until shown otherwise. It is read as a stream of YAML 1.2 events,
so nothing is built before it has been bounded, and no tag can name a Python type.
What readers of YAML are known to disagree on (dates, `007`, `0x1F`, `1_000`, `1:30`)
is refused rather than guessed: a policy must mean the same to everybody who reads it.
"""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from typing import Any, NamedTuple, TypeAlias

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from saferun.policy.wording import named

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 50_000
"""Together these keep the reading of any file to some seconds and some megabytes."""

MAX_FAULTS = 200
"""A file with more than these is no policy with mistakes in it; the first ones will do."""

_MAX_DIGITS = 100
_MAX_PROBLEM = 200

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top of the file."""

Place: TypeAlias = tuple[int, int]
"""A line and a column, both counted from 1."""


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a file. `file` is None for the policy's own."""

    code: str
    message: str
    line: int | None = None
    column: int | None = None
    file: str | None = None


class _Text(NamedTuple):
    """Where the characters of a scalar stand: the first one, and the lines that follow it."""

    place: Place
    indents: tuple[int, ...] | None


class Source:
    """What a file says, where each part of it stands, and what is wrong with it.

    One fault is kept for each place, the first one found: a value that cannot be read
    does not also count as a value of the wrong type.
    """

    def __init__(self, value: Any = None, file: str | None = None) -> None:
        self.value = value
        self.file = file
        self._places: dict[Path, Place] = {}
        self._files: dict[Path, str | None] = {}
        self._texts: dict[Path, _Text] = {}
        self._faults: dict[Path, Fault] = {}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that is wrong, in the order of the file."""
        return tuple(
            sorted(
                self._faults.values(),
                key=lambda fault: (fault.file or "", fault.line or 0, fault.column or 0),
            )
        )

    def sound(self, path: Path) -> bool:
        """Whether nothing is wrong at this place or inside it."""
        return not any(at[: len(path)] == path for at in self._faults)

    def holds(self, path: Path) -> bool:
        """Whether the file itself says something at this place."""
        return path in self._places

    def line(self, path: Path) -> int | None:
        place = self._place(path)
        return place[0] if place else None

    def fault(self, path: Path, code: str, message: str, place: Place | None = None) -> None:
        """Note a fault. Raises TooManyFaultsError where there are more than will be read."""
        if len(self._faults) == MAX_FAULTS:
            raise TooManyFaultsError
        line, column = place or self._place(path) or (None, None)
        self._faults.setdefault(path, Fault(code, message, line, column, self.file_of(path)))

    def stands(self, path: Path, place: Place) -> None:
        self._places.setdefault(path, place)

    def reads(self, path: Path, text: _Text) -> None:
        self._texts.setdefault(path, text)

    def within(self, path: Path, offset: int) -> Place | None:
        """Where a character of the text at `path` stands, as far as that can be told."""
        text = self._texts.get(path)
        said = self._value(path)
        if text is None or not isinstance(said, str):
            return self._place(path)
        (line, column), indents = text
        before = said[:offset]
        if indents is None:
            return (line, column) if "\n" in said else (line, column + offset)
        below = before.count("\n")
        if below >= len(indents):
            return line, column
        return line + below, indents[below] + offset - (before.rfind("\n") + 1) + 1

    def take_in(self, other: "Source", inner: Path, outer: Path) -> None:
        """Take over what another file says at `inner`, as if it stood here at `outer`."""
        for path, place in other._places.items():  # noqa: SLF001 - it is of the same class
            if path[: len(inner)] == inner:
                self._places.setdefault((*outer, *path[len(inner) :]), place)
        for path, text in other._texts.items():  # noqa: SLF001 - it is of the same class
            if path[: len(inner)] == inner:
                self._texts.setdefault((*outer, *path[len(inner) :]), text)
        # Only the top of what was taken in is noted: what lies under it is of the same file.
        self._files[outer] = other.file

    def blame(self, other: "Source") -> None:
        """Take over what is wrong with another file."""
        for path, fault in other._faults.items():  # noqa: SLF001 - it is of the same class
            self._faults.setdefault((other.file or "", *path), fault)

    def file_of(self, path: Path) -> str | None:
        """The file that the value at `path` comes from."""
        while path and path not in self._files:
            path = path[:-1]
        return self._files.get(path, self.file)

    def _value(self, path: Path) -> Any:
        found = self.value
        for step in path:
            found = found[step]
        return found

    def _place(self, path: Path) -> Place | None:
        # A key that is missing has no place of its own; the mapping that lacks it has one.
        while path and path not in self._places:
            path = path[:-1]
        return self._places.get(path)


def read(text: str | bytes, file: str | None = None) -> Source:
    """The values of a YAML file; what is wrong with its text stands in `Source.faults`."""
    source = Source(file=file)
    with suppress(TooManyFaultsError):
        try:
            decoded = _decoded(text)
            source.value = _Reader(source, _events(decoded), decoded.split("\n")).document()
        except _UnreadableError as found:
            source.fault((), "syntax", found.message, found.place)
    return source


class TooManyFaultsError(Exception):
    """There are so many faults that looking for more serves nobody."""


class _UnreadableError(Exception):
    """The text makes no sense from here on."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        self.message = message
        self.place = place
        super().__init__(message)


def _decoded(text: str | bytes) -> str:
    # A str may take up to four times as many bytes as it has characters, and no more.
    if len(text) > MAX_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_BYTES:,} bytes; split the policy")
    if isinstance(text, str):
        return _lined(text)
    try:
        return _lined(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(
            "the file is not UTF-8 text; save it in that encoding", (line, 1)
        ) from None


def _lined(text: str) -> str:
    # YAML ends a line, and with it a comment, at a carriage return that many editors do not show.
    alone = re.search(r"\r(?!\n)", text)
    if alone is not None:
        line = text.count("\n", 0, alone.start()) + 1
        what = "a carriage return without a line feed stands here; save with ordinary line ends"
        raise _UnreadableError(what, (line, 1))
    return text


def _events(text: str) -> Iterator[Any]:
    try:
        yield from YAML(typ="safe", pure=True).parse(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        if "'\\t'" in problem:
            problem = "a tab stands where YAML wants spaces; indent with spaces"
        what = f"not readable as YAML: {problem[:_MAX_PROBLEM]}"
        raise _UnreadableError(what, mark and _place(mark)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _UnreadableError(
            f"the character U+{error.character:04X} does not belong in a text file", (line, 1)
        ) from None
    except Exception:  # noqa: BLE001
        # On some malformed text (an escape past the last code point, say) the parser
        # fails with plain Python errors of many kinds, so all of them mean the same here.
        raise _UnreadableError("not readable as YAML: an escape in it is malformed") from None


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DISPUTED = re.compile(
    r"[-+]?0[0-9]+"  # octal in YAML 1.1, decimal in 1.2
    r"|[-+]?0[xob][0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_.]*_[0-9_.]*"  # a number in 1.1, text in 1.2
    r"|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"  # sexagesimal in 1.1
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"  # a date in 1.1
)


class _Reader:
    """One pass over the events of one file."""

    def __init__(self, source: Source, events: Iterator[Any], lines: list[str]) -> None:
        self._source = source
        self._events = events
        self._lines = lines
        self._values = 0

    def document(self) -> Any:
        next(self._events)
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            raise _UnreadableError("the file is empty; a policy starts with `version: 1`")
        self._accept(start)
        value = self._node(next(self._events), (), None)
        next(self._events)
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            raise _UnreadableError(
                "a second document starts here; a policy file holds one", _place(after.start_mark)
            )
        return value

    def _accept(self, start: DocumentStartEvent) -> None:
        if start.version not in (None, (1, 2)) or start.tags:
            raise _UnreadableError(
                "policies are YAML 1.2 without tags; leave the `%` lines out",
                _place(start.start_mark),
            )

    def _node(self, event: Any, path: Path, place: Place | None) -> Any:
        place = place or _place(event.start_mark)
        self._source.stands(path, place)
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise _UnreadableError(
                f"a policy holds at most {MAX_VALUES:,} values, nested at most {MAX_DEPTH} deep",
                place,
            )
        if isinstance(event, AliasEvent) or event.anchor:
            self._source.fault(
                path,
                "syntax",
                "anchors and aliases (`&`, `*`) are not allowed; write the value out",
            )
        elif event.tag:
            self._source.fault(path, "syntax", "tags (`!`) are not allowed; write the plain value")
        if isinstance(event, ScalarEvent):
            self._source.reads(path, self._text(event))
            return self._scalar(event, path)
        if isinstance(event, SequenceStartEvent):
            return self._list(path)
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        return None

    def _text(self, event: ScalarEvent) -> _Text:
        line, column = _place(event.start_mark)
        if event.style in ("|", ">"):
            if event.style == ">":
                return _Text((line, column), ())
            # The text of a block begins on the line after its mark.
            last = min(event.end_mark.line, len(self._lines))
            block = self._lines[line:last]
            indent = next((len(each) - len(each.lstrip()) for each in block if each.strip()), 0)
            return _Text((line + 1, indent + 1), (indent,) * len(block))
        # A quote stands before the first character.
        start = column + (1 if event.style in ("'", '"') else 0)
        if event.end_mark.line + 1 != line:
            return _Text((line, column), ())
        return _Text((line, start), None)

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), None))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            place = _place(event.start_mark)
            key = self._key(event, path, place)
            at = (*path, key)
            value = self._node(next(self._events), at, place)
            if key in found:
                first = self._source.line(at)
                self._source.fault(
                    at,
                    "duplicate",
                    f"{named(key)} stands here a second time (first in line {first})",
                    place,
                )
            else:
                found[key] = value
        return found

    def _key(self, event: Any, path: Path, place: Place) -> str:
        if not isinstance(event, ScalarEvent):
            raise _UnreadableError("a key is a plain word; a list, mapping or alias is none", place)
        at = (*path, event.value)
        if event.value == "<<" and _plain(event):
            self._source.fault(
                at, "syntax", "merge keys (`<<`) are not allowed; write the keys out", place
            )
        elif event.anchor or event.tag:
            self._source.fault(at, "syntax", "a key carries no anchor and no tag", place)
        elif not isinstance(self._scalar(event, at, place), str):
            self._source.fault(
                at,
                "syntax",
                f"the key {named(event.value)} is not text; put it in quotes if it is meant",
                place,
            )
        return str(event.value)

    def _scalar(self, event: ScalarEvent, path: Path, place: Place | None = None) -> Any:
        text: str = event.value
        fault = _unwanted(text)
        value: Any = text
        if fault is None and _plain(event):
            value, fault = _resolved(text)
        if fault is not None:
            self._source.fault(path, "syntax", fault, place)
        return value


def _plain(event: ScalarEvent) -> bool:
    return bool(event.implicit[0])


def _unwanted(text: str) -> str | None:
    for character in text:
        if (character < " " and character not in "\t\n") or "\x7f" <= character <= "\x9f":
            return f"the control character U+{ord(character):04X} does not belong in a policy"
        if "\ud800" <= character <= "\udfff":
            return f"U+{ord(character):04X} is half a character and cannot be written down"
    return None


def _resolved(text: str) -> tuple[Any, str | None]:
    """A plain scalar's value by the core schema of YAML 1.2, or why it has none."""
    if text in _NULL:
        return None, None
    if text in _BOOL:
        return _BOOL[text], None
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            return 0, f"a number of more than {_MAX_DIGITS} digits is surely a mistake"
        return int(text), None
    # The bound keeps the pattern, which may look at each `_` twice, from running long.
    if len(text) <= _MAX_DIGITS and _DISPUTED.fullmatch(text):
        return (
            text,
            f"readers of YAML disagree on what {named(text)} is; write a plain number or quote it",
        )
    if _ENDLESS.fullmatch(text):
        return 0.0, f"{named(text)} is not a number that a policy can compare with"
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            return 0.0, f"{named(text)} is larger than any number that a policy can compare with"
        return number, None
    return text, None
