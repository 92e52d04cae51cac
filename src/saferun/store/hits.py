"""How often the rules and limits of a policy have spoken, counted in the search index."""

from collections.abc import Iterable
from typing import NamedTuple

from saferun.store import postings
from saferun.store.facets import SHADOW
from saferun.store.index import Index
from saferun.store.postings import CHUNK

VERDICTS = ("allow", "ask", "deny", "defer")


class Hits(NamedTuple):
    """In how many decisions a rule has spoken, by what was decided in the end.

    In `shadow` ones it counted for nothing. `last` is the number of the newest one.
    """

    allow: int = 0
    ask: int = 0
    deny: int = 0
    defer: int = 0
    shadow: int = 0
    last: int | None = None

    @property
    def all(self) -> int:
        return self.allow + self.ask + self.deny + self.defer + self.shadow


def hits(index: Index, policy: str, rules: Iterable[str]) -> dict[str, Hits]:
    """How often each of some rules has spoken in decisions under a policy, in any version of it.

    `policy` is a name, or one whole version. No entry is read: it takes milliseconds for a
    million of them, and says what the index says.
    """
    of, made = index.held("policy", policy), index.held("kind", "decision")
    within = {
        chunk: postings.bits(some) & postings.bits(made[chunk])
        for chunk, some in of.items()
        if chunk in made
    }
    decided = [_bits(index.held("verdict", verdict)) for verdict in VERDICTS]
    found: dict[str, Hits] = {}
    for rule in rules:
        counts, beside_all, last = [0, 0, 0, 0], 0, None
        tried = index.held(SHADOW, rule)
        for chunk, some in sorted(index.held("rule", rule).items()):
            spoke = postings.bits(some) & within.get(chunk, 0)
            if not spoke:
                continue
            last = chunk * CHUNK + spoke.bit_length() - 1
            beside = spoke & postings.bits(tried[chunk]) if chunk in tried else 0
            spoke ^= beside
            for at, marks in enumerate(decided):
                counts[at] += (spoke & marks.get(chunk, 0)).bit_count()
            beside_all += beside.bit_count()
        allow, ask, deny, defer = counts
        found[rule] = Hits(allow, ask, deny, defer, beside_all, last)
    return found


def _bits(held: dict[int, bytes]) -> dict[int, int]:
    return {chunk: postings.bits(some) for chunk, some in held.items()}
