"""The search index: what finds entries again, in a file of its own beside the store.

It is made of the ledger and of nothing else, off the path of calls and without the store's write
lock. No decision ever asks it, no backup needs it, and whoever deletes it loses the time that it
takes to make it anew. The order of work:

1. `build` takes up the entries that came since, a page in one transaction, so that a process that
   is killed leaves an index that ends a page earlier. One process builds at a time.
2. Before, it makes sure that the entries it knows are still those of the ledger: the first and the
   last of them by their leaves, and all of them by the tree's right edge, which has to become that
   of the ledger's head. Where it does not, the index is of other entries, and is made anew.
3. What lay in an archive that was not at hand is taken up once one has it that the reader can read.
4. `find` has the numbers of the entries that the index names, and holds each against the ledger:
   its bytes have to give its leaf, and it has to say what was asked for.

So whoever can write the index can hide an entry from it and can never make one up. What the
ledger holds is for its verification to say.

`file` is the file itself, `building` what makes it, `terms` what it has under its values, and
`index` what finds by it: `query` says what is looked for, and `entry` holds what was found against
the ledger.
"""

from saferun.store.index.building import MINUTE
from saferun.store.index.entry import Hit
from saferun.store.index.index import HITS, Index
from saferun.store.index.query import Query

__all__ = ["HITS", "MINUTE", "Hit", "Index", "Query"]
