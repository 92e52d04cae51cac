"""The ledger's tree, for proofs to places that have seen less of it."""

from pathlib import Path

from saferun.ledger import Frontier
from saferun.store import Reader
from saferun.store.proving import grown


class Kept:
    """The tree of a store's ledger, read where a place asks for it. Several may ask at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries, none of them read.

        Raises StoreError where they are not there.
        """
        with Reader(self._path) as reader:
            return Frontier.at(size, reader.tree()).root()

    def proof(self, old: int, new: int) -> list[bytes]:
        """RFC 6962, section 2.1.2: that the first `old` of `new` entries are these still.

        Raises StoreError where the ledger does not hold them.
        """
        return grown(self._path, old, new)
