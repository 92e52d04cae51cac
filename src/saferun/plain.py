"""Taking values down: from what a caller passed to plain JSON values that nobody else holds.

A decision is only worth something if what was decided on is what runs. So every argument
is walked once and taken down twice: as a `plain` value, which policy reads and the ledger
stores, and as a `live` value, which the tool receives. The live value is built from the
same walk and never shares a mutable object with the caller, so a list that changes, a
mapping that answers differently the second time or a model with a lazy field cannot make
the tool see something that policy did not. Where a value is plain already, plain and live
are one object; everything else keeps its type on the live side.

What has no faithful plain form (a connection, a handle, a generator) is refused by name;
nothing is ever decided on a `repr`.
"""

import base64
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import numbers
import pathlib
import re
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from saferun.call import canonical

MAX_DEPTH = 100
"""JSON parsers give up near 1,000 levels; no tool's schema comes near 100."""

MAX_ITEMS = 1_000_000
"""Values in one call's arguments: about a second of walking, and the end of what is an argument."""

MAX_BYTES = 16 * 1024 * 1024
"""The encoded arguments of one call, or one result, that the store keeps whole."""

MAX_INTEGER_BITS = 1024
"""Every amount and id fits; turning larger integers into digits costs quadratic time."""

_WORD = re.compile(r"[\w-]{1,60}", re.ASCII)


class NotPlainError(Exception):
    """A value that cannot be taken down. `why` completes a sentence on it; `str` is the sentence.

    Neither holds the value itself: what cannot be read cannot be redacted either.
    `opaque` is True where the value is of a foreign type, which a policy may let pass unread.
    """

    def __init__(self, why: str, *, opaque: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.opaque = opaque
        self._path: list[str | int] = []

    def within(self, step: str | int) -> "NotPlainError":
        """The same error, as seen from the container that holds the value under `step`."""
        self._path.insert(0, step)
        return self

    def __str__(self) -> str:
        return f"{_place(self._path)} {self.why}"


def shown(name: str) -> str:
    """A name that somebody else chose, without characters that act on a reader.

    A long one is left out and not cut: half of a secret would not be known for one.
    """
    if _WORD.fullmatch(name):
        return name
    if len(name) > 60:
        return "`…`"
    return f"`{''.join(c if c.isprintable() and c != '`' else '?' for c in name)}`"


def _place(path: list[str | int]) -> str:
    if len(path) > 6:
        path = [*path[:3], "…", *path[-2:]]
    steps = (f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return "".join(steps).removeprefix(".")


def take_down(value: Any, name: str) -> tuple[Any, Any]:
    """One argument as `(plain, live)`; see the module. Raises NotPlainError."""
    try:
        return _Walk().value(value, 0)
    except NotPlainError as problem:
        raise problem.within(name) from None
    except Exception:  # noqa: BLE001 - foreign objects may raise anything while they are read
        raise NotPlainError("cannot be read", opaque=True).within(name) from None


class _Walk:
    """One walk over one argument, counting what it has seen."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = 0

    def value(self, value: Any, depth: int) -> tuple[Any, Any]:
        self.seen += 1
        if self.seen > MAX_ITEMS:
            raise NotPlainError(f"has more than {MAX_ITEMS:,} values")
        kind = type(value)
        if kind is str:
            return _text(value), value
        if kind is int:
            return _integer(value), value
        if value is None or kind is bool:
            return value, value
        if kind is float:
            return _number(value), value
        if depth >= MAX_DEPTH:
            raise NotPlainError(f"is nested deeper than {MAX_DEPTH} levels")
        if kind is list:
            return self.items(value, depth)
        if kind is dict:
            return self.mapping(value, depth)
        return self.rich(value, depth)

    def items(self, values: Iterable[Any], depth: int) -> tuple[list[Any], list[Any]]:
        plain: list[Any] = []
        live: list[Any] = []
        same = True
        try:
            for item in values:
                one, other = self.value(item, depth + 1)
                plain.append(one)
                live.append(other)
                same = same and one is other
        except NotPlainError as problem:
            raise problem.within(len(plain)) from None
        return plain, plain if same else live

    def mapping(self, values: dict[Any, Any], depth: int) -> tuple[dict[str, Any], dict[str, Any]]:
        plain: dict[str, Any] = {}
        live: dict[str, Any] = {}
        same = True
        # A list of them at once, since another thread may be changing the mapping.
        for key, item in list(values.items()):
            if not isinstance(key, str):
                raise NotPlainError("has a key that is not text")
            name = str.__str__(key)
            try:
                plain[_text(name)], live[name] = one, other = self.value(item, depth + 1)
            except NotPlainError as problem:
                raise problem.within(name) from None
            same = same and one is other
        return plain, plain if same else live

    def rich(self, value: Any, depth: int) -> tuple[Any, Any]:
        """Types that JSON lacks but tools take; each keeps its type on the live side."""
        if isinstance(value, enum.Enum):
            return self.value(value.value, depth + 1)[0], value
        if isinstance(value, str | int | float | bytes | numbers.Integral | decimal.Decimal):
            return _scalar(value), value
        if isinstance(value, dt.date | dt.time | dt.timedelta | uuid.UUID):
            return _written(value), value
        if isinstance(value, pathlib.PurePath):
            path = _text(str(value))
            if not isinstance(value, pathlib.Path):
                return path, value
            # A relative path means another file after a chdir, and a link another after a rename.
            resolved = value.resolve()
            return _text(str(resolved)), resolved
        if isinstance(value, bytearray):
            held = bytes(value)
            return _scalar(held), type(value)(held)
        if isinstance(value, dict):
            named, filled = self.mapping(dict(value), depth)
            return named, _refilled(value, dict, filled)
        kind: type[Any]
        for kind in (list, tuple, set, frozenset):
            if isinstance(value, kind) and not hasattr(value, "_fields"):
                plain, live = self.items(list(value), depth)
                if kind in (set, frozenset):
                    plain = sorted(plain, key=canonical.encode)
                return plain, _refilled(value, kind, live)
        return self.record(value, depth)

    def record(self, value: Any, depth: int) -> tuple[dict[str, Any], Any]:
        """Objects made of named fields: dataclasses, attrs, msgspec, named tuples, pydantic."""
        names = _fields(value)
        if names is None:
            raise NotPlainError(
                f"is a {type_name(value)}, which cannot be taken down as plain values", opaque=True
            )
        plain, live = self.mapping({name: getattr(value, name) for name in names}, depth)
        rebuilt = _rebuilt(value, live)
        if type(rebuilt) is not type(value):
            raise _unfaithful()
        _forget_derived(rebuilt)
        for name, item in live.items():
            # A copy hook, a property or a descriptor may still give back something else than
            # what was read. Reading the rebuilt object is the only proof that it does not.
            again = getattr(rebuilt, name)
            if again is not item and self.value(again, depth + 1)[0] != plain[name]:
                raise _unfaithful()
        return plain, rebuilt


def _text(value: str) -> str:
    if "\0" in value:
        raise NotPlainError("holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlainError("holds half of a surrogate pair, which is no text") from None
    return value


def _integer(value: int) -> int:
    if value.bit_length() > MAX_INTEGER_BITS:
        raise NotPlainError(f"is an integer of more than {MAX_INTEGER_BITS} bits")
    return value


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise NotPlainError("is not a finite number")
    return value


def _scalar(value: Any) -> Any:
    """The content of a value that cannot change, whatever its class makes of it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise NotPlainError("is not a finite number")
        return _text(decimal.Decimal.__str__(value))
    if isinstance(value, str):
        content: Any = _text(str.__str__(value))
        read: Any = str(value)
    elif isinstance(value, float):
        content, read = _number(float.__float__(value)), float(value)
    else:
        content, read = _integer(_whole(value)), value
    if read != content:
        raise _unfaithful()
    return content


def _whole(value: Any) -> int:
    # By the base class, so that a class with another opinion of its own number has no say.
    return int.__add__(value, 0) if isinstance(value, int) else int(value)


def _written(value: dt.date | dt.time | dt.timedelta | uuid.UUID) -> str:
    if isinstance(value, dt.timedelta):
        # A duration of ISO 8601. Subclasses are not the encoder's business.
        span = dt.timedelta(value.days, value.seconds, value.microseconds)
        return str(msgspec.to_builtins(span))
    return _text(str(value) if isinstance(value, uuid.UUID) else value.isoformat())


def type_name(value: Any) -> str:
    kind = type(value)
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # noqa: BLE001 - a metaclass may raise anything
        return "a type without a name"


def _fields(value: Any) -> tuple[str, ...] | None:
    kind = type(value)
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return tuple(field.name for field in dataclasses.fields(value))
    for marker in ("_fields", "__pydantic_fields__", "model_fields"):
        found = getattr(kind, marker, None)
        if found is not None:
            extra = getattr(value, "__pydantic_extra__", None) or ()
            return (*found, *extra)
    attrs = getattr(kind, "__attrs_attrs__", None)
    return tuple(field.name for field in attrs) if attrs is not None else None


def _refilled(value: Any, kind: type[Any], live: Any) -> Any:
    """A collection of the same class as `value`, a kind of `kind`, that holds `live`."""
    if kind is tuple:
        rebuilt = tuple.__new__(type(value), live)
    elif kind in (set, frozenset):
        rebuilt = type(value)(live)
    else:
        rebuilt = _copied(value)
        rebuilt.clear()
        (rebuilt.update if kind is dict else rebuilt.extend)(live)
    if type(rebuilt) is not type(value) or kind(rebuilt) != kind(live):
        raise _unfaithful()
    return rebuilt


def _rebuilt(value: Any, live: dict[str, Any]) -> Any:
    """A record of the same class as `value` whose fields are `live`."""
    try:
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **live)
        if isinstance(value, tuple):
            return type(value)._make(live.values())  # type: ignore[attr-defined]
        if hasattr(type(value), "__pydantic_fields__"):
            # Without validation: a validator could change what has been decided on.
            return value.model_copy(update=live)
        rebuilt = _copied(value)
        for name, item in live.items():
            # Frozen classes raise from their own `__setattr__`, which guards the caller's
            # object and not a copy of it that nobody has seen yet.
            object.__setattr__(rebuilt, name, item)
    except NotPlainError:
        raise
    except Exception:  # noqa: BLE001 - the caller's own copy hooks may raise anything
        raise NotPlainError("cannot be rebuilt from its fields", opaque=True) from None
    return rebuilt


def _copied(value: Any) -> Any:
    """A shallow copy, which is to be changed and must therefore not be the caller's object."""
    rebuilt = copy.copy(value)
    if rebuilt is value:
        raise _unfaithful()
    return rebuilt


def _forget_derived(rebuilt: Any) -> None:
    """Drop what was worked out from fields that may have changed since; it is worked out anew."""
    kept = getattr(rebuilt, "__dict__", {})
    for name in [
        name
        for name in kept
        if isinstance(getattr(type(rebuilt), name, None), functools.cached_property)
    ]:
        del kept[name]


def _unfaithful() -> NotPlainError:
    return NotPlainError("does not keep its values when it is taken down", opaque=True)


def encode_result(value: Any) -> bytes:
    """A tool's result as JSON, as faithfully as it goes; never raises.

    Results are recorded, not decided on, so a foreign object stands there by its type
    and an unreadable one by the reason. The caller always gets the result itself.
    """
    try:
        return _results.encode(value)
    except (RecursionError, UnicodeEncodeError, TypeError, ValueError, OverflowError) as problem:
        why = type(problem).__name__
    except Exception:  # noqa: BLE001 - properties of a foreign result may raise anything
        why = "it cannot be read"
    return _results.encode({"$type": type_name(value), "$why": f"not recorded: {why}"})


def _foreign(value: Any) -> Any:
    names = _fields(value)
    if names is None:
        return {"$type": type_name(value)}
    return {name: getattr(value, name) for name in names}


_results = msgspec.json.Encoder(enc_hook=_foreign)
