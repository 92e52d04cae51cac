"""What the controls keep: what is stopped, what is used of limits, and what may yet be."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from saferun.control import Switch
from saferun.store.reading import Reader, undamaged

_PAGE = 2_000

_SCHEMA = 3
"""The schema of the first stores that had any of it."""


class Group(NamedTuple):
    """What the controls keep of one group: of one user by one policy, say, or of one tool.

    `time` is when it moved last. `about` says the group as pairs of a scope and its value, and
    `states` has what is kept, by the names of limits and `admission.HEALTH`.
    """

    key: int
    time: int
    about: list[tuple[str, str]]
    states: dict[str, Any]


_ABOUT = msgspec.msgpack.Decoder(list[tuple[str, str]])
_KEPT = msgspec.msgpack.Decoder(dict[str, Any])
_HELD = msgspec.msgpack.Decoder(list[tuple[int, str, int]])


def switches(reader: Reader) -> list[Switch]:
    """What is stopped, the oldest first."""
    found = "SELECT scope, value, by, reason, since FROM switch ORDER BY since, scope, value"
    names = ("scope", "value", "by", "reason", "since")
    rows = [dict(zip(names, row, strict=True)) for row in reader.every(found, schema=_SCHEMA)]
    with undamaged(reader.path):
        return [msgspec.convert({**row, "value": row["value"] or None}, Switch) for row in rows]


def groups(reader: Reader, since: int = 0, kept: str = "") -> Iterator[Group]:
    """What the controls keep, group by group, in no order that means anything.

    Of those that have not moved `since`, only such as have something `kept` under a name that has
    that in it. Raises StoreError where it was changed.
    """
    last = -(1 << 63)
    while True:
        found = (
            "SELECT key, time, about, data FROM control WHERE key > ?"
            " AND (time >= ? OR (? AND instr(data, ?))) ORDER BY key LIMIT ?"
        )
        named = kept.encode()
        page = reader.every(found, last, since, bool(named), named, _PAGE, schema=_SCHEMA)
        for key, moved, about, data in page:
            with undamaged(reader.path):
                at = msgspec.convert((key, moved), tuple[int, int])
                group = Group(*at, _ABOUT.decode(about), _KEPT.decode(data))
            yield group
        if len(page) < _PAGE:
            return
        last = page[-1][0]


def newest_groups(reader: Reader, most: int) -> tuple[int, int]:
    """Since when the `most` groups that moved last have moved, and how many moved before that.

    What they hold is not read. 0 and 0 where there are no more than `most`.
    """
    found = (
        "WITH last AS (SELECT time FROM control ORDER BY time DESC LIMIT 1 OFFSET ?) SELECT time,"
        " (SELECT count(*) FROM control WHERE control.time < last.time) FROM last"
    )
    rows = reader.every(found, most - 1, schema=_SCHEMA)
    with undamaged(reader.path):
        return msgspec.convert(rows[0], tuple[int, int]) if rows else (0, 0)


def held_amounts(reader: Reader) -> dict[tuple[int, str], int]:
    """What calls that are under way may come to, by group and the name of the limit."""
    total: dict[tuple[int, str], int] = {}
    found = "SELECT held FROM head WHERE seq >= 0 AND held IS NOT NULL"
    for (held,) in reader.every(found, schema=_SCHEMA):
        with undamaged(reader.path):
            for key, name, amount in _HELD.decode(held):
                if name.split(" ")[1] == "calls":
                    # A call that is under way has been made; only what it sums may change.
                    continue
                total[key, name] = total.get((key, name), 0) + amount
    return total
