"""The zip that an incident file is: written in one form, and read in no other.

Any program that unpacks zips unpacks it. It is read more narrowly than they do: each byte of the
file is either packed content, which the manifest has a hash of, or what this writer would have
written around it. So there is nowhere to hide anything, and nothing that two readers could take for
two things: no second directory, no comment, no extra fields, no gaps, no name twice.

A name is only ever compared, and never used as a path.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import BinaryIO, NamedTuple

import msgspec

from saferun.errors import SafeRunError

MAX_FILE = (1 << 32) - 1
"""Bytes of an incident file: what a zip without extensions can have."""

MAX_MEMBERS = 60_000
"""The most that lies in one."""

MAX_UNPACKED = 1 << 31
"""Bytes that all of it unpacks to."""

FREE = 1 << 20
MAX_RATIO = 400
"""How many times its size a part may unpack to, beyond its first `FREE` bytes."""

_RATIO = 100
"""How many times at most that is where it is written: from there on, content stays as it is."""

CHUNK = 256 * 1024
LEVEL = 1
"""Of deflate. Entries hold digests, which no higher level makes smaller."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_NAME = re.compile(r"[a-z]{1,16}(/[0-9a-f]{64})?(\.[a-z]{1,8})?")
_DEFLATED, _STORED = 8, 0
_DAY = 0x21
"""The first of January 1980, the first day that a zip knows: the same input has the same bytes."""


class IncidentError(SafeRunError):
    """A file that is no incident file, or not the one that was written: in one sentence."""


class NewerError(IncidentError):
    """A file of a format that this version does not know. It may be all right."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file as the manifest has it.

    `bytes` and `sha256` are of its content, and `packed` is the SHA-256 of the bytes by which it
    lies in the file, both in hex.
    """

    name: str
    bytes: int
    sha256: str
    packed: str


class Member(NamedTuple):
    """Where a part lies in the file, and how long it is there and unpacked."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    def local(self) -> bytes:
        name = self.name.encode()
        head = (b"PK\x03\x04", 20, 0, self.method, 0, _DAY)
        return _LOCAL.pack(*head, self.crc, self.packed, self.size, len(name), 0) + name

    def central(self) -> bytes:
        name = self.name.encode()
        head = (b"PK\x01\x02", 0x0314, 20, 0, self.method, 0, _DAY)
        sizes = (self.crc, self.packed, self.size, len(name))
        return _CENTRAL.pack(*head, *sizes, 0, 0, 0, 0, 0o100600 << 16, self.offset) + name

    @property
    def start(self) -> int:
        return self.offset + _LOCAL.size + len(self.name)


class Pack:
    """Writes the parts of a file one after the other. Raises IncidentError, OSError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: list[Member] = []
        self._unpacked = 0

    def add(self, name: str, content: Iterable[bytes], *, deflate: bool = True) -> Part:
        """Write a part, or with `deflate` off have its content lie in the file as it is."""
        offset = self._file.tell()
        self._file.write(bytes(_LOCAL.size + len(name)))
        pieces = _deflated(content) if deflate else ((each, each) for each in content)
        crc = size = packed = 0
        whole, lying = sha256(), sha256()
        for piece, data in pieces:
            crc = zlib.crc32(piece, crc)
            whole.update(piece)
            lying.update(data)
            self._file.write(data)
            size, packed = size + len(piece), packed + len(data)
            if self._unpacked + size > MAX_UNPACKED:
                raise IncidentError(
                    f"The run has more than the {MAX_UNPACKED >> 20:,} MiB that an incident file "
                    "holds; leave out what nobody needs to see."
                )
        method = _DEFLATED if deflate else _STORED
        member = Member(name, method, crc, packed, size, offset)
        end = self._file.tell()
        self._file.seek(offset)
        self._file.write(member.local())
        self._file.seek(end)
        self._members.append(member)
        self._unpacked += size
        if len(self._members) > MAX_MEMBERS:
            raise IncidentError(
                f"The run has more than the {MAX_MEMBERS:,} large values that an incident file "
                "holds; leave out what nobody needs to see."
            )
        return Part(name=name, bytes=size, sha256=whole.hexdigest(), packed=lying.hexdigest())

    def end(self) -> None:
        self._file.write(_directory(self._members, self._file.tell()))


class Unpack:
    """Reads a file's parts. `fd` is open for reading, and never moved.

    Raises IncidentError where the file is not in the one form that it has.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._members = {each.name: each for each in _members(fd)}

    @property
    def names(self) -> list[str]:
        """The names of the parts, in their order."""
        return list(self._members)

    def whole(self, name: str, most: int) -> bytes:
        """A part of at most `most` bytes that lies in the file as it is, and unvouched for."""
        member = self._members.get(name)
        if member is None or member.method != _STORED:
            raise IncidentError(f"The file has no {name}: it is no incident file, or was changed.")
        if member.size > most:
            raise IncidentError(f"{name} in the file has more than {most:,} bytes.")
        return b"".join(self._pieces(member, None))

    def read(self, part: Part) -> Iterator[bytes]:
        """The content of a part, piece by piece. It is that part only once all of it has come."""
        member = self._members[part.name]
        if member.size != part.bytes:
            raise IncidentError(f"{part.name} in the file was changed: it has another length.")
        return self._pieces(member, part)

    def _pieces(self, member: Member, part: Part | None) -> Iterator[bytes]:
        crc = size = 0
        whole, lying = sha256(), sha256()
        inflate = zlib.decompressobj(-15) if member.method == _DEFLATED else None
        for at in range(member.start, member.start + member.packed, CHUNK):
            data = _at(self._fd, min(CHUNK, member.start + member.packed - at), at)
            if part is not None:
                lying.update(data)
            for piece in _inflated(inflate, data, member.name):
                size += len(piece)
                if size > member.size:
                    raise _changed(member.name)
                crc = zlib.crc32(piece, crc)
                if part is not None:
                    whole.update(piece)
                yield piece
        over = inflate is None or (inflate.eof and not inflate.unused_data)
        if not over or (size, crc) != (member.size, member.crc):
            raise _changed(member.name)
        if part is not None and (whole.hexdigest(), lying.hexdigest()) != (
            part.sha256,
            part.packed,
        ):
            raise _changed(member.name)


def _deflated(content: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Content piece by piece, each with the bytes that it is packed to.

    What would unpack to very many times its size is left as it is, so that a reader may take a
    file in which something does for one that is there to do harm.
    """
    deflate, size, packed, plain = zlib.compressobj(LEVEL, zlib.DEFLATED, -15), 0, 0, False
    for piece in _cut(content):
        size += len(piece)
        data = deflate.compress(piece)
        if (dense := size > FREE and size > packed * _RATIO) != plain:
            # Streams follow each other at the border of a byte; the later knows nothing of the
            # earlier, and a reader sees no difference.
            data += deflate.flush(zlib.Z_FULL_FLUSH)
            deflate, plain = zlib.compressobj(0 if dense else LEVEL, zlib.DEFLATED, -15), dense
        packed += len(data)
        yield piece, data
    yield b"", deflate.flush()


def _cut(content: Iterable[bytes]) -> Iterator[bytes]:
    for piece in content:
        for at in range(0, len(piece), CHUNK):
            yield piece[at : at + CHUNK]


def _inflated(inflate: "zlib._Decompress | None", data: bytes, name: str) -> Iterator[bytes]:
    if inflate is None:
        yield data
        return
    try:
        while data and not inflate.eof:
            yield inflate.decompress(data, CHUNK)
            data = inflate.unconsumed_tail
    except zlib.error:
        raise _changed(name) from None
    if data or inflate.unused_data:
        raise _changed(name)


def _changed(name: str) -> IncidentError:
    return IncidentError(f"{name} in the file was changed: it does not fit its hash.")


def _members(fd: int) -> Iterator[Member]:
    """What the directory at the end of a file says, where all of the file is as it says."""
    length = os.fstat(fd).st_size
    odd = IncidentError("This is no incident file, or not a whole one: its directory is none.")
    if not _END.size <= length <= MAX_FILE:
        raise odd
    tail = _at(fd, _END.size, length - _END.size)
    signature, _, _, many, _, extent, begin, _ = _END.unpack(tail)
    if signature != b"PK\x05\x06" or many > MAX_MEMBERS or begin + extent + _END.size != length:
        raise odd
    if extent > many * (_CENTRAL.size + 100):
        raise odd
    directory = _at(fd, extent, begin)
    found = list(_listed(directory, odd))
    if len(found) != many or _directory(found, begin) != directory + tail:
        raise odd
    due = unpacked = 0
    for member in found:
        if member.offset != due or _at(fd, member.start - due, due) != member.local():
            raise IncidentError(f"The file was changed: what stands before {member.name} is odd.")
        due = member.start + member.packed
        unpacked += member.size
        if member.size > FREE + member.packed * MAX_RATIO or unpacked > MAX_UNPACKED:
            raise IncidentError(
                "The file unpacks to more than an incident file does; it is there to do harm."
            )
    if due != begin or len({member.name for member in found}) != many:
        raise odd
    yield from found


def _listed(directory: bytes, odd: IncidentError) -> Iterator[Member]:
    at = 0
    while at < len(directory):
        if at + _CENTRAL.size > len(directory):
            raise odd
        fields = _CENTRAL.unpack_from(directory, at)
        method, crc, packed, size, length, offset = (fields[n] for n in (4, 7, 8, 9, 10, -1))
        at += _CENTRAL.size
        name = directory[at : at + length].decode("latin-1")
        at += length
        if method not in (_DEFLATED, _STORED) or not _NAME.fullmatch(name):
            raise odd
        if method == _STORED and packed != size:
            raise odd
        yield Member(name, method, crc, packed, size, offset)


def _directory(members: Sequence[Member], begin: int) -> bytes:
    listed = b"".join(each.central() for each in members)
    many = len(members)
    return listed + _END.pack(b"PK\x05\x06", 0, 0, many, many, len(listed), begin, 0)


def _at(fd: int, length: int, offset: int) -> bytes:
    """So many bytes from there on. Raises IncidentError where the file has fewer by now."""
    data = b""
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise IncidentError("The file has become shorter as it was read.")
        data += more
    return data
