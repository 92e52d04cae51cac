"""What a call looks like, as keyed digests: the ledger keeps them, and they tell no arguments."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from saferun.control.loop import mask, words

Digest: TypeAlias = Callable[[bytes], bytes]
"""A keyed digest of 16 bytes."""


class Sign(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A call as the loop control knows it.

    `exact` is equal for the same arguments, `masked` also for such that differ only in what
    belongs to the attempt: times of the call, request ids, the model's reasons. `words` has a
    mark of two bytes for each of the words in which something is asked or searched for.
    """

    tool: str
    exact: bytes
    masked: bytes
    words: bytes = b""


def sign(tool: str, data: bytes, digest: Digest) -> Sign:
    """The sign of a call. `data` is the canonical JSON of its arguments."""
    name = tool.encode(errors="surrogatepass") + b"\0"
    exact = digest(name + data)
    masked = mask.arguments(data)
    return Sign(
        tool,
        exact,
        exact if masked == data else digest(name + masked),
        b"".join([digest(word)[:2] for word in words.asked(data)]),
    )
