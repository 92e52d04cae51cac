"""The figures of a store as text, for Prometheus and whatever else reads its format.

https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4. All of it is read from
the store, so that it is of every process that writes there, and the same whoever is asked.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from saferun.ledger import EntryError, parse
from saferun.store import Reader
from saferun.telemetry.account import Account
from saferun.telemetry.tally import Buckets, Labels, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

AT_ONCE = 20_000
"""Entries that are read for one answer. A long history takes several until all of it is counted;
`saferun_ledger_unread_entries` says how much is left."""

MOST_STORES = 8
"""Stores whose figures are kept at hand; those of another are added up anew."""

_PAGE = 1_000


class _Read(NamedTuple):
    """How far a ledger was read, with the leaf of the last entry, and what it came to."""

    origin: str
    upto: int
    leaf: bytes | None
    account: Account
    tally: Tally


_kept: OrderedDict[Path, _Read] = OrderedDict()
_reading = threading.Lock()


def metrics(path: Path, now: int) -> bytes:
    """The figures of the store in a file, at `now`, in microseconds since 1970, UTC.

    What was added up before is kept, and only what is new is read, if what was read before still
    stands there.

    Raises StoreError where there is no store or it cannot be read.
    """
    with _reading, Reader(path) as reader:
        read = _read(reader, _kept.pop(path, None))
        _kept[path] = read
        while len(_kept) > MOST_STORES:
            _kept.popitem(last=False)
        return "".join(line + "\n" for line in _lines(reader, read, now)).encode()


def _read(reader: Reader, known: _Read | None) -> _Read:
    if known is not None and (known.origin != reader.origin or not _stands(reader, known)):
        known = None
    read = known or _Read(reader.origin, 0, None, Account(), Tally())
    upto, leaf = read.upto, read.leaf
    stop = upto + AT_ONCE
    found = "SELECT seq, body, leaf FROM entry WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?"
    while page := reader.every(found, upto, stop, _PAGE):
        for seq, body, leaf in page:  # noqa: B007 - the last one is kept
            upto = seq + 1
            # One that was archived, or changed, says nothing here.
            with contextlib.suppress(EntryError, TypeError):
                parsed = parse(body)
                for event in read.account.take(parsed.seq, parsed.time, parsed.entry):
                    read.tally.add(event)
        if len(page) < _PAGE:
            break
    return read._replace(upto=upto, leaf=leaf)


def _stands(reader: Reader, read: _Read) -> bool:
    """Whether what was read last is still what stands there: a store may have been put back."""
    if read.upto == 0:
        return True
    row = reader.one("SELECT leaf FROM entry WHERE seq = ?", read.upto - 1)
    return row is not None and row[0] == read.leaf


def _lines(reader: Reader, read: _Read, now: int) -> Iterator[str]:
    tally, size = read.tally, reader.head().size
    yield from _family(
        "saferun_calls_total", "counter", "Calls, by what was decided and how they ended."
    )
    yield from _values("saferun_calls_total", ("tool", "verdict", "status"), tally.calls)
    yield from _family(
        "saferun_denials_total", "counter", "What spoke for calls that were not let start."
    )
    yield from _values("saferun_denials_total", ("rule", "source"), tally.denials)
    yield from _family("saferun_tool_duration_seconds", "histogram", "The time that tools took.")
    yield from _buckets("saferun_tool_duration_seconds", ("tool",), tally.times)
    yield from _family("saferun_cost_usd_total", "counter", "What turns and calls have cost.")
    yield from _values("saferun_cost_usd_total", ("of", "name"), tally.costs)
    yield from _family("saferun_model_tokens_total", "counter", "Tokens of model turns.")
    yield from _values("saferun_model_tokens_total", ("model", "type"), tally.tokens)
    yield from _family(
        "saferun_approval_duration_seconds", "histogram", "How long requests to people stood."
    )
    yield from _buckets("saferun_approval_duration_seconds", ("state",), tally.answers)
    yield from _family("saferun_approvals_waiting", "gauge", "Requests that people have open.")
    yield f"saferun_approvals_waiting {_waiting(reader, now)}"
    yield from _family("saferun_breaker_open", "gauge", "Breakers that are open.")
    yield from _values("saferun_breaker_open", ("tool", "tenant"), tally.breakers)
    yield from _family("saferun_stopped", "gauge", "Switches that are off, by what they stop.")
    yield from _values("saferun_stopped", ("scope",), _stopped(reader))
    yield from _family("saferun_ledger_entries", "gauge", "Entries of the ledger.")
    yield f"saferun_ledger_entries {size}"
    yield from _family(
        "saferun_ledger_unread_entries", "gauge", "Entries that these figures do not count yet."
    )
    yield f"saferun_ledger_unread_entries {max(0, size - read.upto)}"


def _waiting(reader: Reader, now: int) -> int:
    row = reader.one(
        "SELECT count(*) FROM approval WHERE state = 'pending' AND lead IS NULL AND deadline > ?",
        now,
        schema=5,
    )
    return 0 if row is None else int(row[0])


def _stopped(reader: Reader) -> Mapping[Labels, int]:
    found = "SELECT scope, count(*) FROM switch GROUP BY scope LIMIT 20"
    return {(str(scope),): int(count) for scope, count in reader.every(found, schema=3)}


def _family(name: str, kind: str, said: str) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} {kind}"


def _values(
    name: str, labels: tuple[str, ...], values: Mapping[Labels, int] | Mapping[Labels, float]
) -> Iterator[str]:
    for given, value in sorted(values.items()):
        yield f"{name}{_labelled(labels, given)} {value}"


def _buckets(name: str, labels: tuple[str, ...], values: Mapping[Labels, Buckets]) -> Iterator[str]:
    for given, buckets in sorted(values.items(), key=lambda each: each[0]):
        total = 0
        for bound, count in zip((*buckets.bounds, "+Inf"), buckets.counts, strict=True):
            total += count
            yield f"{name}_bucket{_labelled((*labels, 'le'), (*given, str(bound)))} {total}"
        yield f"{name}_sum{_labelled(labels, given)} {buckets.sum}"
        yield f"{name}_count{_labelled(labels, given)} {total}"


def _labelled(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = zip(names, values, strict=True)
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    """A label's value as the format has it. What is no character would break the encoding."""
    plain = value.encode("utf-8", "replace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
