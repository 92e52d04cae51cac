"""What opens sealed values, as far as it is kept and its key is here."""

from pathlib import Path

from saferun.ledger import Opening
from saferun.store.reading import Reader
from saferun.store.vault import KEPT, KEY, Vault

_SCHEMA = 4
"""The schema of the first stores in which anything was sealed."""


class Openings:
    """The openings that a store keeps, with the key that lies beside it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # The name comes from the database, so it may be no more than the name of a file.
        self._vault = Vault(reader.path.parent / "keys", Path(reader.ledger).name)

    def opening(self, commitment: bytes) -> Opening | None:
        """What opens a commitment: salt, path and value.

        None where nobody has it any more, where its key is not here, or where it was changed;
        `holds` tells the first from the others.
        """
        # Between looking for the key and looking into its file, it may have been renewed.
        for _ in range(3):
            row = self._reader.one(KEPT, commitment, schema=_SCHEMA)
            if row is None:
                return None
            found = self._vault.opening(commitment, row)
            if found is not None:
                return found
        return None

    def holds(self, commitment: bytes) -> bool:
        """Whether what opens a commitment is still kept, though perhaps not within reach here."""
        found = "SELECT 1 FROM opening WHERE hash = ?"
        return self._reader.one(found, commitment, schema=_SCHEMA) is not None

    def subjects(self) -> int:
        """Of how many subjects anything is kept."""
        row = self._reader.one("SELECT count(*) FROM subject", schema=_SCHEMA)
        return 0 if row is None else int(row[0])

    def reaches(self) -> bool:
        """Whether the key is here that sensitive values are kept under, if any are."""
        row = self._reader.one("SELECT value FROM meta WHERE name = ?", KEY, schema=_SCHEMA)
        return row is None or self._vault.reaches(str(row[0]))

    def lacks(self) -> bool:
        """Whether what opens sealed values was lost when the store was salvaged."""
        return self._reader.one("SELECT 1 FROM meta WHERE name = 'lost'") is not None

    def unfinished(self) -> str | None:
        """What is still due of an erasure: the renewal of the `key`, or the end of the `log`."""
        row = self._reader.one("SELECT value FROM meta WHERE name = 'erasing'")
        return None if row is None else str(row[0])
