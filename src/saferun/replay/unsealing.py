"""What is sealed in an entry, put back for people as far as it can be opened."""

from typing import Any

from saferun.ledger import ERASED, LOST, filled, opened
from saferun.store.index import Index
from saferun.store.openings import Openings

OUT_OF_REACH = "[sealed]"
"""What is shown in place of a sealed value whose key is not here, or that is not to be opened."""

EITHER = "[erased or lost]"
"""What is shown in place of one that nobody can open, where some were erased and others lost."""

SEALED = frozenset(
    {
        "args",
        "result",
        "output",
        "answer",
        "text",
        "messages",
        "given",
        "error",
        "prompt",
        "plan",
        "user",
        "context",
    }
)
"""The fields of an entry in which sensitive values may be sealed."""


class Unsealing:
    """Fills in what is sealed in entries of one store.

    Without `opens`, a word stands in the place of each value: for whoever may look at runs and
    not at what is sensitive in them.
    """

    def __init__(self, index: Index, *, opens: bool = True) -> None:
        self._index = index
        self._opens = opens
        self._openings = Openings(index.reader)

    def fill(self, fields: dict[str, Any]) -> None:
        """Put what is sealed in the place of its commitments, or a word where that cannot be."""
        names = fields.get("sealed")
        if not names:
            return
        for key in SEALED & fields.keys():
            value = fields[key]
            if self._opens:
                value = opened(value, names, self._openings.opening)
            fields[key] = filled(value, names, self._word)

    def _word(self, commitment: bytes) -> str:
        if self._index.reader.excerpt or self._openings.holds(commitment):
            return OUT_OF_REACH
        if not self._index.has("kind", "erasure"):
            return LOST
        # Whose of the two it was, only the key could tell that is gone.
        return EITHER if self._openings.lacks() else ERASED
