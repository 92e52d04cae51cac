"""A file that was changed anywhere is refused, by whatever means."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident.incidents import NAME, POLICY, Apart, apart, incident, key, packed, together
from saferun.incident import IncidentError, NewerError, examine
from saferun.ledger import Signer
from saferun.store import Reader, Store


@pytest.fixture(scope="module")
def data(sound: Path) -> bytes:
    return sound.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edits") / "edited.saferun"


@given(drawn=st.data())
@settings(max_examples=300)
def test_a_byte_that_is_another_one_is_found(data: bytes, scratch: Path, drawn: st.DataObject):
    at = drawn.draw(st.integers(0, len(data) - 1))
    flip = drawn.draw(st.integers(1, 255))
    scratch.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
    with pytest.raises(IncidentError):
        examine(scratch)


@given(drawn=st.data())
def test_bytes_that_are_taken_out_or_put_in_are_found(
    data: bytes, scratch: Path, drawn: st.DataObject
):
    at = drawn.draw(st.integers(0, len(data)))
    out = drawn.draw(st.integers(0, 40))
    more = drawn.draw(st.binary(min_size=0 if out and at < len(data) else 1, max_size=40))
    edited = data[:at] + more + data[at + out :]
    if edited == data:
        return
    scratch.write_bytes(edited)
    with pytest.raises(IncidentError):
        examine(scratch)


@pytest.mark.parametrize("cut", [0, 1, 21, 22, 1_000])
def test_a_file_that_ends_early_is_none(data: bytes, scratch: Path, cut: int) -> None:
    scratch.write_bytes(data[:cut])
    with pytest.raises(IncidentError, match="not a whole one"):
        examine(scratch)


def line(given: Apart, change: Callable[[bytes], bytes], at: int = 2) -> None:
    lines = given.parts["entries.jsonl"].split(b"\n")
    lines[at] = change(lines[at])
    given.parts["entries.jsonl"] = b"\n".join(lines)


def cut(given: Apart) -> None:
    lines = given.parts["entries.jsonl"].split(b"\n")
    given.parts["entries.jsonl"] = b"\n".join([*lines[:3], *lines[4:]])
    given.manifest["entries"] -= 1


def swapped(given: Apart) -> None:
    lines = given.parts["entries.jsonl"].split(b"\n")
    lines[3], lines[4] = lines[4], lines[3]
    given.parts["entries.jsonl"] = b"\n".join(lines)


def renamed(given: Apart) -> None:
    old, new = f"blobs/{NAME.hex()}", "blobs/" + "0" * 64
    kept = {new if name == old else name: part for name, part in given.parts.items()}
    given.parts.clear()
    given.parts.update(kept)


def set_part(name: str, change: Callable[[bytes], bytes]) -> Callable[[Apart], None]:
    def act(given: Apart) -> None:
        given.parts[name] = change(given.parts[name])

    return act


def set_said(**about: object) -> Callable[[Apart], None]:
    def act(given: Apart) -> None:
        given.manifest.update(about)

    return act


EDITS: dict[str, tuple[Callable[[Apart], None], str]] = {
    "an entry": (lambda it: line(it, lambda b: b.replace(b"refund", b"refuse")), "do not lead"),
    "an entry's number": (lambda it: line(it, lambda b: b.replace(b'"seq":', b'"seq":9', 1)), ""),
    "an entry that is none": (lambda it: line(it, lambda _: b"{}"), "does not begin with"),
    "an entry of somebody else's": (
        lambda it: line(it, lambda b: b.replace(b'"run":"r-1"', b'"run":"r-9"')),
        "of none of the runs",
    ),
    "an entry less": (cut, "lead"),
    "two entries": (swapped, ""),
    "entry 0": (lambda it: line(it, lambda _: b"", at=0), ""),
    "no last newline": (set_part("entries.jsonl", lambda b: b[:-1]), "does not end where a line"),
    "an endless line": (set_part("entries.jsonl", lambda b: b + b"x" * 600_000), "longer than"),
    "a root": (set_part("proof.bin", lambda b: bytes(32) + b[32:]), "do not lead"),
    "a root less": (set_part("proof.bin", lambda b: b[:-32]), "not all there"),
    "a root more": (set_part("proof.bin", lambda b: b + bytes(32)), "more or fewer"),
    "half a root": (set_part("proof.bin", lambda b: b + bytes(7)), "does not end where a hash"),
    "a large value": (
        set_part(f"blobs/{NAME.hex()}", lambda b: b + b" "),
        "does not have the hash",
    ),
    "a large value's name": (renamed, "does not have the hash"),
    "a policy": (
        set_part(f"policies/{POLICY.version}.json", lambda b: b.replace(b"write", b"reads")),
        "does not have the hash",
    ),
    "the size": (set_said(size=200), "lead|none that can stand|another root|not all there"),
    "a size that no ledger has": (set_said(size=10**15), "contradicts itself"),
    "the root": (set_said(root="A" * 43 + "="), "lead to the root"),
    "the runs": (set_said(runs=["r-1"]), "of none of the runs"),
    "the run": (set_said(run="r-2"), "contradicts itself"),
    "the count": (set_said(entries=7), "more or fewer"),
    "what was redacted": (set_said(redacted=[3]), ""),
    "what was redacted and is not there": (set_said(redacted=[4_000]), "more or fewer"),
    "the checkpoint": (set_said(checkpoint="saferun\n1\nAA==\n\n"), "checkpoint"),
    "the ledger's name": (set_said(origin="other"), "states another root"),
}


@pytest.mark.parametrize("what", EDITS)
def test_whoever_knows_the_format_cannot_edit(what: str, sound: Path, tmp_path: Path) -> None:
    act, why = EDITS[what]
    given = apart(sound)
    act(given)
    together(tmp_path / "a.saferun", given)
    with pytest.raises(IncidentError, match=why or None):
        examine(tmp_path / "a.saferun")


def test_a_file_put_together_anew_is_no_longer_signed(
    world: Store, sound: Path, tmp_path: Path
) -> None:
    given = apart(sound)
    given.manifest["environment"]["python"] = "2.7"
    together(tmp_path / "a.saferun", given)
    found = examine(tmp_path / "a.saferun", [key(world)])
    # Its entries still are the ledger's, by its checkpoint; the rest is nobody's word.
    assert (found.signed, found.manifest.environment.python) == (False, "2.7")


def test_a_strangers_signature_is_none(world: Store, sound: Path, tmp_path: Path) -> None:
    given = apart(sound)
    stranger = Signer(given.manifest["origin"], b"7" * 32)
    together(tmp_path / "a.saferun", given, signer=stranger)
    for trusted in ([], [key(world)]):
        with pytest.raises(IncidentError, match="file was not signed by a key that its ledger"):
            examine(tmp_path / "a.saferun", trusted)


def test_a_ledger_made_up_by_a_stranger_is_refused_by_the_key(
    world: Store, store: Store, tmp_path: Path
) -> None:
    incident(store)
    packed(store, tmp_path / "a.saferun")
    assert examine(tmp_path / "a.saferun").exit_code == 2
    with pytest.raises(IncidentError, match="given"):
        examine(tmp_path / "a.saferun", [key(world)])


def test_a_newer_format_is_told_from_one_that_was_changed(
    world: Store, sound: Path, tmp_path: Path
) -> None:
    import io

    from saferun.incident.container import Pack
    from saferun.incident.manifest import seal

    given = apart(sound)
    data = json.dumps({**given.manifest, "format": 2, "more": 1}).encode()
    out = io.BytesIO()
    packing = Pack(out)
    packing.add("manifest.json", [data], deflate=False)
    with Reader(world.path) as reader:
        note = seal(given.manifest["origin"], data, reader.signer())
    packing.add("manifest.note", [note], deflate=False)
    packing.end()
    (tmp_path / "a.saferun").write_bytes(out.getvalue())
    with pytest.raises(NewerError, match=r"format 2.*upgrade saferun-sdk"):
        examine(tmp_path / "a.saferun")


def test_the_directory_says_only_what_the_file_has(data: bytes, scratch: Path) -> None:
    # The count of parts, once more than there are.
    end = data[-22:]
    many = struct.unpack_from("<H", end, 10)[0]
    edited = end[:8] + struct.pack("<2H", many + 1, many + 1) + end[12:]
    scratch.write_bytes(data[:-22] + edited)
    with pytest.raises(IncidentError, match="directory is none"):
        examine(scratch)
