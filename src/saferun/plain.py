"""Taking values down: from what a caller passed to plain JSON values that nobody else holds.

A decision is only worth something if what was decided on is what runs. So every argument
is walked once and taken down twice: as a `plain` value, which policy reads and the ledger
stores, and as a `live` value, which the tool receives. The live value is built from the
same walk and never shares a mutable object with the caller, so a list that changes, a
mapping that answers differently the second time or a model with a lazy field cannot make
the tool see something that policy did not. Where a value is plain already, plain and live
are one object.

What has no faithful plain form (a connection, a handle, a generator) is refused by name;
nothing is ever decided on a `repr`.
"""

import copy
import dataclasses
import datetime as dt
import decimal
import enum
import math
import numbers
import pathlib
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

MAX_DEPTH = 100
"""JSON parsers give up near 1,000 levels; no tool's schema comes near 100."""

MAX_ITEMS = 1_000_000
"""Values in one call's arguments: about a second of walking, and the end of what is an argument."""

MAX_BYTES = 16 * 1024 * 1024
"""The encoded arguments of one call, or one result, that the store keeps whole."""

MAX_INTEGER_BITS = 1024
"""Every amount and id fits; turning larger integers into digits costs quadratic time."""


class NotPlainError(Exception):
    """A value that cannot be taken down. `where` is its path, `why` completes a sentence on it.

    Neither names the value itself: what cannot be read cannot be redacted either.
    `opaque` is True where the value is of a foreign type, which a policy may let pass unread.
    """

    def __init__(self, where: str, why: str, *, opaque: bool = False) -> None:
        self.where = where
        self.why = why
        self.opaque = opaque
        super().__init__(f"{where} {why}")


def take_down(value: Any, where: str) -> tuple[Any, Any]:
    """One argument as `(plain, live)`; see the module. Raises NotPlainError."""
    if type(value) is str and value.isascii() and "\0" not in value:
        return value, value
    return _Walk().value(value, where, 0)


class _Walk:
    """One walk over one argument, counting what it has seen."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = 0

    def value(self, value: Any, where: str, depth: int) -> tuple[Any, Any]:
        self.seen += 1
        if self.seen > MAX_ITEMS:
            raise NotPlainError(where, f"has more than {MAX_ITEMS:,} values")
        kind = type(value)
        if value is None or kind is bool:
            return value, value
        if kind is int:
            return _integer(value, where), value
        if kind is str:
            return _text(value, where), value
        if kind is float:
            return _number(value, where), value
        if depth >= MAX_DEPTH:
            raise NotPlainError(where, f"is nested deeper than {MAX_DEPTH} levels")
        if kind is list:
            return self.items(value, where, depth)
        if kind is dict:
            return self.mapping(value, where, depth)
        return self.rich(value, where, depth)

    def items(self, values: Iterable[Any], where: str, depth: int) -> tuple[Any, Any]:
        plain: list[Any] = []
        live: list[Any] = []
        same = True
        for at, item in enumerate(values):
            one, other = self.value(item, f"{where}[{at}]", depth + 1)
            plain.append(one)
            live.append(other)
            same = same and one is other
        return plain, plain if same else live

    def mapping(self, values: dict[Any, Any], where: str, depth: int) -> tuple[Any, Any]:
        plain: dict[str, Any] = {}
        live: dict[str, Any] = {}
        same = True
        for key, item in values.items():
            if not isinstance(key, str):
                raise NotPlainError(where, "has a key that is not a string")
            name = _text(str.__str__(key), f"a key of {where}")
            plain[name], live[name] = self.value(item, f"{where}.{name:.80}", depth + 1)
            same = same and plain[name] is live[name]
        return plain, plain if same else live

    def rich(self, value: Any, where: str, depth: int) -> tuple[Any, Any]:
        """Types that JSON lacks but tools take; each keeps its type on the live side."""
        if isinstance(value, enum.Enum):
            return self.value(value.value, where, depth + 1)[0], value
        if isinstance(value, bool | int | numbers.Integral):
            number = _integer(int(value), where)
            return number, number
        if isinstance(value, str):
            text = _text(str.__str__(value), where)
            return text, text
        if isinstance(value, float):
            real = _number(float(value), where)
            return real, real
        if isinstance(value, decimal.Decimal):
            if not value.is_finite():
                raise NotPlainError(where, "is not a finite number")
            return _text(format(value), where), value
        if isinstance(value, bytes):
            return msgspec.to_builtins(value), value
        if isinstance(value, bytearray | memoryview):
            held = bytes(value)
            return msgspec.to_builtins(held), held if isinstance(value, memoryview) else bytearray(
                held
            )
        if isinstance(value, dt.datetime | dt.date | dt.time):
            return value.isoformat(), value
        if isinstance(value, dt.timedelta | uuid.UUID):
            return msgspec.to_builtins(value), value
        if isinstance(value, pathlib.Path):
            # A relative path means another file after a chdir, and a link another after a rename.
            resolved = value.resolve()
            return _text(str(resolved), where), resolved
        if isinstance(value, pathlib.PurePath):
            return _text(str(value), where), value
        if isinstance(value, dict):
            return self.mapping(dict(value), where, depth)
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            plain, live = self.items(value, where, depth)
            return plain, tuple(live)
        if isinstance(value, list):
            return self.items(list(value), where, depth)
        if isinstance(value, set | frozenset):
            plain, live = self.items(value, where, depth)
            plain = sorted(plain, key=msgspec.json.Encoder(order="deterministic").encode)
            return plain, type(value)(live)
        return self.record(value, where, depth)

    def record(self, value: Any, where: str, depth: int) -> tuple[Any, Any]:
        """Objects made of named fields: dataclasses, attrs, msgspec, named tuples, pydantic."""
        names = _fields(value)
        if names is None:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise NotPlainError(
                where, f"is a {kind}, which cannot be taken down as plain values", opaque=True
            )
        plain, live = self.mapping(
            {name: _read(value, name, where) for name in names}, where, depth
        )
        rebuilt = _rebuild(value, live, where)
        # A copy hook, a property or a descriptor may still give back something else than what
        # was read. Reading the rebuilt object again is the only proof that it did not.
        again = {name: _read(rebuilt, name, where) for name in names}
        if self.mapping(again, where, depth)[0] != plain:
            raise NotPlainError(where, "does not keep its values when it is rebuilt", opaque=True)
        return plain, rebuilt


def _integer(value: int, where: str) -> int:
    if value.bit_length() > MAX_INTEGER_BITS:
        raise NotPlainError(where, f"is an integer of more than {MAX_INTEGER_BITS} bits")
    return value


def _number(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise NotPlainError(where, "is not a finite number")
    return value


def _text(value: str, where: str) -> str:
    if "\0" in value:
        raise NotPlainError(where, "holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlainError(where, "holds half of a surrogate pair, which is no text") from None
    return value


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


def _read(value: Any, name: str, where: str) -> Any:
    try:
        return getattr(value, name)
    except Exception:  # noqa: BLE001 - a property of the caller's object may raise anything
        raise NotPlainError(f"{where}.{name}", "cannot be read", opaque=True) from None


def _rebuild(value: Any, live: dict[str, Any], where: str) -> Any:
    try:
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **live)
        if isinstance(value, tuple):
            return type(value)._make(live.values())  # type: ignore[attr-defined]
        if hasattr(type(value), "__pydantic_fields__"):
            # Without validation: a validator could change what has been decided on.
            return value.model_copy(update=live)
        rebuilt = copy.copy(value)
        for name, item in live.items():
            # Frozen classes raise from their own `__setattr__`, which guards the caller's
            # object and not a copy of it that nobody has seen yet.
            object.__setattr__(rebuilt, name, item)
    except Exception:  # noqa: BLE001 - the caller's own copy hooks may raise anything
        raise NotPlainError(where, "cannot be rebuilt from its fields", opaque=True) from None
    return rebuilt


def encode_result(value: Any) -> bytes:
    """A tool's result as JSON, as faithfully as it goes; never raises.

    Results are recorded, not decided on, so a foreign object stands there by its type
    and an unreadable one by the reason. The caller always gets the result itself.
    """
    try:
        encoded = _results.encode(value)
    except (RecursionError, UnicodeEncodeError, TypeError, ValueError, OverflowError) as problem:
        encoded = _results.encode(_named(value, f"not recorded: {type(problem).__name__}"))
    except Exception:  # noqa: BLE001 - properties of a foreign result may raise anything
        encoded = _results.encode(_named(value, "not recorded: it cannot be read"))
    return encoded


def _named(value: Any, why: str | None = None) -> dict[str, str]:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    return {"$type": name} if why is None else {"$type": name, "$why": why}


def _foreign(value: Any) -> Any:
    names = _fields(value)
    return _named(value) if names is None else {name: getattr(value, name) for name in names}


_results = msgspec.json.Encoder(enc_hook=_foreign)
