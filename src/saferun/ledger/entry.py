"""Entries as bytes: made once, hashed and stored as they are, never encoded again.

A body is a JSON object in UTF-8 that begins `{"seq":N,"time":T,"kind":"K",`. Number and
time are known only under the store's lock, everything else before; so `encode` makes the
rest wherever there is time, and `seal` splices the two numbers in front of it, and behind the
kind who wrote it.
"""

import re
from typing import Any, get_args

import msgspec

from saferun.errors import SafeRunError
from saferun.ledger.kind import AnyEntry, Kind

MAX_BODY = 65_535
"""The longest body, in bytes: entry bundles of C2SP tlog-tiles give a length 16 bits."""

MAX_NUMBER = 10**18 - 1
"""The highest sequence number and time: 18 digits, so that both fit a signed 64-bit integer."""

MAX_STAMP = 256
"""The longest stamp, in bytes."""

MAX_REST = MAX_BODY - len(f'"seq":{MAX_NUMBER},"time":{MAX_NUMBER},') - MAX_STAMP
"""The longest encoded rest that can be sealed under any number, time and stamp, in bytes."""

_KIND = len('{"kind":"')

_BEGINNING = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,17}),"time":(0|[1-9][0-9]{0,17}),"kind":"([a-z]{1,32})"'
)
_ENCODER = msgspec.json.Encoder()
_SHAPES: dict[bytes, msgspec.json.Decoder[AnyEntry]] = {
    str(kind.__struct_config__.tag).encode(): msgspec.json.Decoder(kind)
    for kind in get_args(AnyEntry)
}
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUES = msgspec.json.Decoder(dict[str, Any])


class EntryError(SafeRunError):
    """Bytes that are not an entry, or an entry that cannot be put into bytes.

    `what` says it as the rest of a sentence on the entry, whose number it does not know.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)

    def __str__(self) -> str:
        return f"The entry {self.what}."


class Entry(msgspec.Struct, frozen=True):
    """One entry as it is read back.

    `time` is in microseconds since 1970, UTC. `fields` are those of its kind, as they are
    written: one that was at its default is missing.
    """

    seq: int
    time: int
    kind: Kind
    fields: dict[str, Any]


class Parsed(msgspec.Struct, frozen=True):
    """One entry in the types of its kind."""

    seq: int
    time: int
    entry: AnyEntry


def encode(entry: AnyEntry) -> bytes:
    """All of a body but its number and time, ready to be sealed.

    Raises:
        EntryError: it holds what JSON has no form for, or it would be too long under the
            highest number; so what was encoded can always be sealed.

    """
    try:
        rest = _ENCODER.encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        # The value itself is not repeated: it may be what must not be shown.
        raise EntryError(
            f"cannot be written as JSON ({type(problem).__name__}): its values must be plain ones"
        ) from None
    if len(rest) > MAX_REST:
        raise EntryError(
            f"has {len(rest)} bytes, and {MAX_REST} is the most: "
            "put its large values beside it by hash"
        )
    return rest


def stamp(host: str, boot: str) -> bytes:
    """Who writes, as `seal` puts it into every entry: a host, and one life of a process there.

    A name that is too long is cut short, and what is not printable ASCII in it is a `?`.
    """
    # Which is two bytes a character at most, so that it always fits.
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in host[:64])
    return b"," + _ENCODER.encode({"host": plain, "boot": boot[:32]})[1:-1]


def seal(seq: int, time: int, rest: bytes, stamp: bytes = b"") -> bytes:
    """The body: what `encode` gave, with its number, its time and its writer in front.

    Raises:
        EntryError: the body is too long, which cannot happen to what `encode` gave.

    """
    kind = rest.index(b'"', _KIND) + 1
    body = f'{{"seq":{seq},"time":{time},'.encode() + rest[1:kind] + stamp + rest[kind:]
    if len(body) > MAX_BODY:
        raise EntryError(f"has {len(body)} bytes, and {MAX_BODY} is the most")
    return body


def parse(body: bytes) -> Parsed:
    """A body in the types of its kind. Fields that the kind does not have are passed over.

    A field that stands twice is not noticed here; what decides that two readers see the
    same is the hash of the bytes. `read` is strict about it.

    Raises:
        EntryError: the body is too long or not JSON, does not begin as it must, or has a
            kind that is not known, or a field that is missing or of the wrong type.

    """
    if len(body) > MAX_BODY:
        raise EntryError(f"has {len(body)} bytes, and {MAX_BODY} is the most")
    beginning = _BEGINNING.match(body)
    if beginning is None:
        raise EntryError("does not begin with its seq, time and kind")
    seq, time, kind = beginning.groups()
    shape = _SHAPES.get(kind)
    if shape is None:
        raise EntryError(f"is of kind {kind.decode()!r}, which this version does not know")
    try:
        return Parsed(int(seq), int(time), shape.decode(body))
    except msgspec.MsgspecError as problem:
        raise EntryError(f"is not one of kind {kind.decode()!r}: {str(problem)[:200]}") from None
    except (ValueError, RecursionError):
        raise EntryError("is not JSON in UTF-8, or is nested too deeply") from None


def read(body: bytes) -> Entry:
    """An entry from its stored bytes.

    Raises:
        EntryError: as `parse`; or a field stands twice, or the top level is not written
            without spaces, as `seal` writes it.

    """
    parsed = parse(body)
    try:
        members = _MEMBERS.decode(body)
        fields = _VALUES.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise EntryError("is not JSON in UTF-8, or is nested too deeply") from None
    # Decoders keep the last of two members of one name. What they kept accounts for every byte
    # (two braces, and quotes, colon and comma for each) only where there was no other member,
    # no space, and no escape in a name.
    if len(body) != 1 + sum(len(name) + len(raw) + 4 for name, raw in members.items()):
        raise EntryError("has a field twice, or its top level is not in its one form")
    del fields["seq"], fields["time"]
    return Entry(parsed.seq, parsed.time, fields.pop("kind"), fields)
