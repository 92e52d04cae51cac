"""The zip of an incident file: one form, and bounds on what it may do to whoever reads it."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.incident import IncidentError
from saferun.incident.container import FREE, MAX_MEMBERS, MAX_RATIO, Pack, Unpack


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.saferun"


@given(pieces=st.lists(st.binary(max_size=3_000), max_size=20), deflate=st.booleans())
def test_what_goes_in_comes_out(pieces: list[bytes], deflate: bool, tmp_path: Path) -> None:
    out = io.BytesIO()
    pack = Pack(out)
    part = pack.add("entries.jsonl", pieces, deflate=deflate)
    pack.end()
    (tmp_path / "a").write_bytes(out.getvalue())
    with (tmp_path / "a").open("rb") as opened:
        assert b"".join(Unpack(opened.fileno()).read(part)) == b"".join(pieces)
    with zipfile.ZipFile(out) as other:
        assert other.read("entries.jsonl") == b"".join(pieces)


@pytest.mark.parametrize("pieces", [1, 80])
def test_what_packs_very_well_is_no_bomb(tmp_path: Path, pieces: int) -> None:
    file = tmp_path / "a"
    with file.open("wb") as out:
        pack = Pack(out)
        part = pack.add("entries.jsonl", (bytes((20 << 20) // pieces) for _ in range(pieces)))
        pack.end()
    assert file.stat().st_size * MAX_RATIO > part.bytes
    with file.open("rb") as opened:
        assert sum(map(len, Unpack(opened.fileno()).read(part))) == 20 << 20
    with zipfile.ZipFile(file) as other:
        assert other.testzip() is None


def zipped(*parts: tuple[str, bytes]) -> bytes:
    """A zip as any program makes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts:
            made.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x05\x06" + bytes(18) + b"more",
        b"{}" * 100,
        zipped(("manifest.json", b"{}")),
        zipped(("../../etc/passwd", b"x")),
    ],
    ids=["nothing", "a comment", "JSON", "another's zip", "a path"],
)
def test_what_was_not_written_here_is_no_incident_file(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with file.open("rb") as opened, pytest.raises(IncidentError, match="no incident file"):
        Unpack(opened.fileno())


def test_a_name_that_stands_twice_is_refused(file: Path) -> None:
    out = io.BytesIO()
    pack = Pack(out)
    pack.add("manifest.json", [b"{}"])
    pack.add("manifest.json", [b"[]"])
    pack.end()
    file.write_bytes(out.getvalue())
    with file.open("rb") as opened, pytest.raises(IncidentError, match="no incident file"):
        Unpack(opened.fileno())


@pytest.mark.parametrize("name", ["a/../b.json", "/etc/passwd", "blobs/..", "C:x", "ENTRIES.jsonl"])
def test_no_name_is_a_path(file: Path, name: str) -> None:
    out = io.BytesIO()
    pack = Pack(out)
    pack.add(name, [b"x"])
    pack.end()
    file.write_bytes(out.getvalue())
    with file.open("rb") as opened, pytest.raises(IncidentError, match="no incident file"):
        Unpack(opened.fileno())


def test_a_bomb_is_refused_before_any_of_it_is_unpacked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(content: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        yield content[0], deflate.compress(content[0]) + deflate.flush()

    monkeypatch.setattr("saferun.incident.container._deflated", packed)
    with file.open("wb") as out:
        pack = Pack(out)
        pack.add("entries.jsonl", [bytes(64 << 20)])
        pack.end()
    monkeypatch.setattr(zlib, "decompressobj", lambda *_: pytest.fail("it was unpacked"))
    assert file.stat().st_size * MAX_RATIO + FREE < 64 << 20
    with file.open("rb") as opened, pytest.raises(IncidentError, match="to do harm"):
        Unpack(opened.fileno())


def test_a_directory_of_very_many_names_is_not_read(file: Path) -> None:
    import struct

    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65_535, 65_535, 0, 0, 0)
    file.write_bytes(end)
    assert MAX_MEMBERS < 65_535
    with file.open("rb") as opened, pytest.raises(IncidentError, match="no incident file"):
        Unpack(opened.fileno())
