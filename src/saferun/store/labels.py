"""What people have said of calls: whether it is right to stop them."""

from collections.abc import Iterator
from typing import NamedTuple

from saferun.ledger import Mark
from saferun.store.index import Index, Query


class Labelled(NamedTuple):
    """The last word on one call: what stopping it is, by whom, why, and when."""

    of: int
    mark: Mark
    by: str
    reason: str | None
    at: int


def labels(index: Index) -> dict[int, Labelled]:
    """The calls of which something is said, by the number of the entry that each began with.

    The index has to be built.
    """
    found: dict[int, Labelled] = {}
    for each in _said(index):
        # The last one holds, and it may take back what was said before.
        found.pop(each.of, None)
        if each.mark != "none":
            found[each.of] = each
    return found


def _said(index: Index) -> Iterator[Labelled]:
    for hit in index.find(Query(facets={"kind": ("label",)}), newest=False):
        if hit.entry is not None:
            fields = hit.entry.fields
            yield Labelled(
                fields["of"], fields["mark"], fields["by"], fields.get("reason"), hit.entry.time
            )
