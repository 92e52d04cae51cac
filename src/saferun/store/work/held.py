"""What a call counts towards, kept with it until its end is known.

Should it turn out that it never started, that is given back.
"""

from collections.abc import Sequence

import msgspec

from saferun.admission import Hold
from saferun.control import Limit
from saferun.control import limit as limits
from saferun.store.transaction import Transaction

_Held = list[tuple[int, str, int]]
"""Group, name of the limit, and amount."""

_decode = msgspec.msgpack.Decoder(_Held).decode
_encode = msgspec.msgpack.Encoder().encode


def kept(holds: Sequence[Hold]) -> bytes | None:
    """Holds as they are kept with the call."""
    if not holds:
        return None
    return _encode([(hold.key, hold.limit.name, hold.amount) for hold in holds])


def give_back(tx: Transaction, held: bytes, at: int) -> int:
    """Take a call that was admitted at that time out of what counts. Returns how many limits.

    A group of which nothing is left has nothing to give back, and a rate never has.
    """
    given = 0
    for key, name, amount in _decode(held):
        group = tx.group(key)
        if name not in group:
            continue
        state = group[name]
        # As much of the limit as its state is corrected by: a total is a number, and the length
        # of a window ends its name.
        window = None if isinstance(state, int) else int(name.rpartition(" ")[2])
        limit = Limit(id=name.partition(" ")[0], max=0, per=(), window=window, name=name)
        after = limits.corrected(limit, state, -amount, at, tx.now)
        if after != state:
            tx.put(key, name, after, ())
            given += 1
    return given
