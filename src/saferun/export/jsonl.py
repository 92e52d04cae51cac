"""The ledger's own bytes, one entry a line, and the checkpoint that vouches for all of them.

The lines are the bodies to the byte, and none of them holds a newline. So whoever has the file, its
checkpoint and the ledger's key can tell whether it is whole and as it was written: hash each line
as a leaf, and the root of their tree is the one that is signed. A choice of entries has no such
root, and nothing vouches for it as a whole.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from saferun import files
from saferun.export.lines import GrowingFile, Line
from saferun.export.source import ExportError, written
from saferun.export.tiles import stated
from saferun.ledger import Frontier, TreeError, leaf_hash


def export(
    path: Path,
    note: bytes,
    about: dict[str, str],
    bodies: Callable[[int, int], Iterable[tuple[int, bytes]]],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Bring a file up to the checkpoint in `note`, which is put beside it, as `PATH.checkpoint`.

    Returns how many entries were new to it. `bodies` gives the entries from one number up to,
    and without, another.

    Raises:
        ExportError: the file holds something else, or more than the checkpoint vouches for, or
            the entries do not come to its root. The checkpoint beside it is as it was then.

    """
    checkpoint = stated(note)
    with written(path), GrowingFile(path, about) as file:
        begun = file.state.next
        frontier = _frontier(file)
        if begun > checkpoint.size:
            raise ExportError(
                f"{path} has {begun:,} entries, and the checkpoint vouches for "
                f"{checkpoint.size:,}: entries were lost."
            )

        def lines() -> Iterator[Line]:
            for seq, body in bodies(begun, checkpoint.size):
                frontier.append(leaf_hash(body))
                yield Line(body + b"\n", seq + 1)

        file.write(lines(), lambda: b64encode(frontier.encode()).decode(), progress)
        if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
            raise ExportError(
                f"The entries in {path} do not come to the root that the checkpoint vouches for; "
                "run saferun ledger verify, and export to a new file."
            )
        file.sync(checkpoint.size, b64encode(frontier.encode()).decode())
        files.put(path.with_name(path.name + ".checkpoint"), note, mode=0o666)
    return checkpoint.size - begun


def _frontier(file: GrowingFile) -> Frontier:
    """The right edge of the tree of what the file has already."""
    try:
        edge = Frontier.decode(b64decode(file.state.edge)) if file.state.edge else Frontier()
    except (TreeError, ValueError):
        edge = Frontier()
    if edge.size != file.state.next:
        raise ExportError(
            f"What lies beside {file.path} was changed, and it cannot go on; name another file."
        )
    return edge
