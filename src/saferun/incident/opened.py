"""An incident file as a store: unpacked to where it can be read, for as long as somebody looks."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from saferun.call import canonical
from saferun.incident.container import IncidentError
from saferun.incident.reading import Grown, Incident, Line, gone_through
from saferun.ledger import KeyEntry, RestartEntry, RunEntry, Verifier
from saferun.store import excerpt

SUFFIX = ".saferun"
"""How the name of an incident file ends."""

STORE = "incident.db"


class Opened(NamedTuple):
    """The store of an incident file, what was found in the file, and which file it is."""

    path: Path
    incident: Incident
    file: Path


def is_incident(path: Path) -> bool:
    """Whether a name is that of an incident file, and a file is there."""
    return path.suffix == SUFFIX and path.is_file()


@contextlib.contextmanager
def opened(
    file: Path, trusted: Sequence[Verifier] = (), *, within: Path | None = None
) -> Iterator[Opened]:
    """A block in which a file can be read as a store, under the numbers and ids that it has.

    The store lies in a folder of its own, made `within` another (that of temporary files by
    default) and gone at the end of the block. Nothing is ever written to it. The file was read to
    its end and held against itself, and the keys that were given, before the block begins.

    Raises IncidentError as `examine`, and OSError.
    """
    # Who still indexes it when the block ends may make a file as the others go.
    with tempfile.TemporaryDirectory(
        prefix="saferun-incident-", dir=within, ignore_cleanup_errors=True
    ) as folder:
        # The folder is for this user alone, and no name in it comes from the file.
        path = Path(folder) / STORE
        unpacking = _Unpacking(path)
        try:
            found, grown = gone_through(file, trusted, unpacking)
            unpacking.finish(found, grown)
        finally:
            unpacking.close()
        yield Opened(path, found, file)


class _Unpacking:
    """Writes what a file has into an excerpt."""

    def __init__(self, path: Path) -> None:
        self._out = excerpt.Writing(path)
        self._roots: dict[str, str] = {}
        self._landmarks: list[int] = []

    def take(self, lines: Sequence[Line]) -> None:
        self._out.entries([excerpt.row(each.parsed.seq, each.body) for each in lines])
        self._out.nodes((0, each.parsed.seq, each.leaf) for each in lines if each.redacted)
        for each in lines:
            entry, seq = each.parsed.entry, each.parsed.seq
            if isinstance(entry, KeyEntry | RestartEntry):
                self._landmarks.append(seq)
            elif isinstance(entry, RunEntry) and entry.event == "start":
                # Bound to a list of two, as what was brought in is: no live run is bound so.
                self._out.run(entry.run, seq, canonical.encode(("incident", entry.run)))
                if entry.root is not None and entry.root != entry.run:
                    self._out.child(entry.root, entry.run)

    def blob(self, name: bytes, salt: bytes, data: bytes) -> None:
        self._out.blob(name, salt, data)

    def version(self, version: str, data: bytes) -> None:
        try:
            name = msgspec.json.decode(data, type=_Policy).name
        except (msgspec.MsgspecError, RecursionError):
            raise IncidentError(f"Policy {version[:12]} in the file is none.") from None
        self._out.version(version, name, data)

    def finish(self, found: Incident, grown: Grown) -> None:
        said = found.manifest
        self._out.nodes(grown.nodes)
        self._out.landmarks(self._landmarks)
        self._out.finish(
            excerpt.About(
                name=said.ledger,
                origin=said.origin,
                vkeys=found.keys,
                size=said.size,
                time=found.ended,
                frontier=grown.frontier,
                note=None if said.checkpoint is None else said.checkpoint.encode(),
            )
        )

    def close(self) -> None:
        self._out.close()


class _Policy(msgspec.Struct):
    name: str = ""
