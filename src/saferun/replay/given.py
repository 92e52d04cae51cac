"""What a model was given in one turn, in full: put together from what earlier turns had of it.

Bounded, since a conversation of ten thousand turns leads back through all of them: what is
further back than somebody reads is counted and not read.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from saferun.ledger import Blobs, Entry, EntryError, read
from saferun.replay import large
from saferun.replay.conversation import told

TURNS = 200
"""Turns that are read for one."""

BYTES = 1_000_000
"""Bytes of their entries."""

MESSAGES = 400
"""Messages of which one turn is told, the newest."""

BESIDE = 64 * 1024
"""Bytes of messages that lie beside the ledger which are read here; more are looked at in slices.
"""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that a model was given, in their order.

    The last `new` of them came with this turn, and earlier turns had the others. `lost` ones
    before them are too far back, or can be read no more.
    """

    messages: tuple[Any, ...]
    new: int
    lost: int = 0


def given(
    fields: Mapping[str, Any],
    seqs: Mapping[str, int],
    bodies: Callable[[list[int]], Iterator[bytes]],
    blobs: Blobs,
    fill: Callable[[dict[str, Any]], object],
) -> Given | None:
    """What the model of a turn was given; None where nothing is known of that.

    `fields` are those of the turn, `seqs` has the entries of the run's turns by their `turn`, and
    `fill` opens what is sealed as far as that is wanted.
    """
    own = fields.get("messages")
    if own is None and fields.get("after") is None:
        return None
    if not isinstance(own, list | None) and large.named(fields, "messages") is None:
        return Given(messages=(own,), new=1)

    def whole(of: Mapping[str, Any]) -> Any:
        beside = large.named(of, "messages")
        if beside is not None and beside[1] > BESIDE:
            return None
        return large.found(of, "messages", blobs)

    mine = whole(fields)
    turns = _Turns(seqs, bodies, fill)
    name = fields.get("turn") if isinstance(fields.get("turn"), str) else ""
    turns.known[name or ""] = fields
    messages, lost = told(name or "", turns, whole)
    new = len(mine) if isinstance(mine, list) else 0
    over = max(len(messages) - MESSAGES, 0)
    return Given(messages=tuple(messages[over:]), new=min(new, MESSAGES), lost=lost + over)


def fresh(fields: Mapping[str, Any]) -> Given | None:
    """What came new with a turn, by itself; None where the turn has nothing of it."""
    own = fields.get("messages")
    if own is None:
        return None
    messages = tuple(own) if isinstance(own, list) else (own,)
    return Given(messages=messages, new=len(messages))


def spoken(message: Any) -> tuple[str, Any]:
    """By whom a message is, as it says itself, and its words: text where it is no more than that.

    Whatever else a message has beside its words, such as the tools that it calls, is told with it.
    """
    if not isinstance(message, Mapping):
        return "", message
    by = message.get("role") or message.get("type")
    rest = {key: each for key, each in message.items() if key != "role" and each is not None}
    if not isinstance(by, str):
        return "", message
    return by, rest["content"] if set(rest) == {"content"} else rest


class _Turns(Mapping[str, Mapping[str, Any]]):
    """The turns of a run, each read when it is looked for, and no more than is bounded."""

    def __init__(
        self,
        seqs: Mapping[str, int],
        bodies: Callable[[list[int]], Iterator[bytes]],
        fill: Callable[[dict[str, Any]], object],
    ) -> None:
        self.known: dict[str, Mapping[str, Any]] = {}
        self._seqs, self._bodies, self._fill = seqs, bodies, fill
        self._left = BYTES

    def __getitem__(self, turn: str) -> Mapping[str, Any]:
        if turn not in self.known:
            if len(self.known) > TURNS or self._left <= 0:
                raise KeyError(turn)
            self.known[turn] = self._read(self._seqs[turn])
        return self.known[turn]

    def _read(self, seq: int) -> Mapping[str, Any]:
        for body in self._bodies([seq]):
            self._left -= len(body)
            try:
                entry: Entry = read(body)
            except (EntryError, TypeError):
                break
            self._fill(entry.fields)
            return entry.fields
        raise KeyError(seq)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seqs)

    def __len__(self) -> int:
        return len(self._seqs)
