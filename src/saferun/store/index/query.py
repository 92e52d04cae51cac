"""What is looked for, and whether an entry is what was asked for."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from saferun.errors import SearchError
from saferun.store.facets import Facet, facets, plain
from saferun.store.index.entry import Hit

MAX_TEXT = 1_000
MAX_PHRASES = 32
"""Characters and phrases of one search for words."""

_PHRASE = re.compile(r'"([^"]*)"?|([^\s"]+)')


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: entries that have everything that is asked for here.

    Of a facet with several values, one is enough. `text` holds words, all of which an entry has
    to have, in any order; those in double quotes stand one after the other. `since` and `until`
    are in microseconds since 1970, UTC: from the one up to, and without, the other.
    """

    text: str = ""
    facets: Mapping[Facet, tuple[str, ...]] = {}
    since: int | None = None
    until: int | None = None


def meets(hit: Hit, query: Query, terms: Sequence[Sequence[tuple[str, str]]]) -> bool:
    """Whether an entry is what was asked for; what it says is for whoever reads it to see.

    Of one that is away there is the index's word for it, and nothing to hold that against.
    """
    since, until = comparable(query.since, -1), comparable(query.until, 1 << 62)
    if hit.entry is None:
        return hit.time is None or since <= hit.time < until
    if not since <= hit.entry.time < until:
        return False
    if not terms:
        # Thousands of entries may have a word, and what else they are is not asked.
        return True
    mine = facets(hit.entry, hit.verdict)
    return all(not mine.isdisjoint(some) for some in terms)


def comparable(given: int | None, otherwise: int) -> int:
    """A time that SQLite can compare with."""
    return otherwise if given is None else min(max(given, -1), 1 << 62)


def expression(text: str) -> str:
    """Words as FTS5 takes them: each in quotes, so that nothing in them is taken for an operator.

    Raises SearchError where there are too many, or none.
    """
    found = [phrase or word for phrase, word in _PHRASE.findall(plain(text))]
    # Without a letter or a digit in it, a phrase has nothing to be found by.
    phrases = [each for each in found if any(char.isalnum() for char in each)]
    if len(text) > MAX_TEXT or len(phrases) > MAX_PHRASES:
        raise SearchError(
            f"A search has at most {MAX_PHRASES} words of {MAX_TEXT:,} characters; look for fewer."
        )
    if text.strip() and not phrases:
        raise SearchError(f"There is no word in {text!r} that an entry could be found by.")
    return " ".join(f'"{each}"' for each in phrases)
