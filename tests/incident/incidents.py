"""A store with an incident in it, and what a file is made of, taken apart and put together."""

import contextlib
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recording import OF, Script, indexed, write
from saferun.call import PolicyRef
from saferun.incident import Packed, pack
from saferun.incident.container import Pack, Unpack
from saferun.incident.manifest import seal
from saferun.ledger import (
    ControlEntry,
    DecisionEntry,
    Entry,
    Signer,
    Verifier,
    blob_hash,
    encode,
    placeholder,
)
from saferun.policy import loads
from saferun.store import Append, Reader, Store
from saferun.store.work.append import Blob

POLICY = loads(
    "version: 1\nname: production\ntools:\n  refund: {effect: write, args: {amount: {}}}\n"
)
SALT, LARGE = b"s" * 16, json.dumps("a large value " * 4_000).encode()
NAME = blob_hash(SALT, LARGE)


def incident(store: Store) -> Script:
    """Run r-1 with a child r-2, a large value and a policy, and r-9 that is nobody's business."""
    run, other = Script(store, prompt="Refund the duplicate."), Script(store, "r-9", agent="other")
    for number in range(20):
        run.call("refund", {"amount": number})
        other.model(f"It is my secret number {number}.")
    child = Script(store, "r-2", root="r-1", parent="r-1")
    child.call("look_up", {"id": 7}, result={"total": 40})
    child.end()
    policy = PolicyRef(name=POLICY.name, version=POLICY.version)
    keep(store)
    entry = DecisionEntry(
        run="r-1",
        tool="refund",
        args=placeholder(NAME, len(LARGE)),
        verdict="deny",
        policy=policy,
        blobs={NAME.hex(): len(LARGE)},
        **OF,
    )
    blobs = [Blob(NAME, SALT, LARGE)]
    store.commit(Append(entries=[encode(entry)], boot=store.boot, blobs=blobs))
    write(store, ControlEntry(event="stopped", scope="all", by="dana"))
    write(store, ControlEntry(event="stopped", scope="agent", value="other", by="dana"))
    run.model("Done.")
    run.end()
    other.end()
    return run


def keep(store: Store) -> None:
    store.flush()
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        row = (POLICY.version, POLICY.name, 0, POLICY.canonical)
        connection.execute("INSERT INTO version VALUES (?, ?, ?, ?)", row)


def packed(store: Store, file: Path, *, signed: bool = True, **options: Any) -> Packed:
    store.flush()
    with indexed(store.path) as index:
        signer = index.reader.signer() if signed else None
        return pack(index, options.pop("run", "r-1"), file, signer=signer, **options)


def key(store: Store) -> Verifier:
    with Reader(store.path) as reader:
        return Verifier(reader.named_keys().vkeys[-1][1])


class Hiding:
    """Redacts by a function, and calls runs what they are called."""

    def __init__(self, entry: Callable[[Entry], Entry | None]) -> None:
        self.entry = entry
        self.met: list[Entry] = []

    def meet(self, entries: Iterator[Entry]) -> None:
        self.met += entries

    def run(self, run_id: str) -> str:
        return run_id

    def beside(self, name: bytes) -> tuple[bytes, bytes] | None:
        return (SALT, LARGE) if name == NAME else None

    def version(self, data: bytes) -> bool:
        return bool(data)


class Apart(NamedTuple):
    """The parts of a file by their names; `manifest` is what it says, as one can change it."""

    parts: dict[str, bytes]
    manifest: dict[str, Any]


def apart(file: Path) -> Apart:
    with file.open("rb") as opened:
        unpack = Unpack(opened.fileno())
        parts = {}
        for name in unpack.names:
            parts[name] = b"".join(unpack._pieces(unpack._members[name], None))
    return Apart(parts, json.loads(parts["manifest.json"]))


def together(file: Path, given: Apart, *, signer: Signer | None = None) -> None:
    """Put a file together as whoever edits it would who knows its format, and seal it anew."""
    import msgspec

    from saferun.incident.manifest import Manifest

    out = io.BytesIO()
    packing = Pack(out)
    parts = []
    for name, content in given.parts.items():
        if not name.startswith("manifest."):
            parts.append(packing.add(name, [content], deflate=not name.endswith(".bin")))
    manifest = {**given.manifest, "parts": msgspec.to_builtins(parts)}
    data = msgspec.convert(manifest, Manifest).encode()
    packing.add("manifest.json", [data], deflate=False)
    packing.add("manifest.note", [seal(manifest["origin"], data, signer)], deflate=False)
    packing.end()
    file.write_bytes(out.getvalue())
