"""What a candidate has said of the calls that were really made, beside what held.

The ledger has both on every decision, so this only adds up: nothing is decided again.
"""

from collections.abc import Iterator

import msgspec

from saferun.call import Verdict
from saferun.ledger import DecisionEntry, EntryError, parse
from saferun.store import Reader

RUNS = 5
"""Runs that are named for each difference, the newest of them."""


class Difference(msgspec.Struct, kw_only=True):
    """One way in which candidate and live version differ: how often, and where to look."""

    tool: str
    live: Verdict
    candidate: Verdict
    rules: tuple[str, ...]
    calls: int = 0
    runs: list[str] = []


class Trial(msgspec.Struct, kw_only=True):
    """What came of trying a candidate so far; `calls` are all on which both have spoken."""

    calls: int = 0
    differences: list[Difference] = []


def compared(reader: Reader, name: str, candidate: str) -> Trial:
    """All that the store has recorded of a policy's candidate beside the live version.

    `rules` are those by which the candidate came to its verdict. A call that a person was asked
    about counts
    once, as asked. Raises StoreError where the store cannot be read.
    """
    trial = Trial()
    found: dict[tuple[object, ...], Difference] = {}
    for entry in _decisions(reader):
        if entry.other is None or entry.policy is None or entry.policy.name != name:
            continue
        if entry.approval is not None and entry.verdict != "ask":
            # What became of the question; the question itself stands further up.
            continue
        if candidate not in (entry.policy.version, entry.other.policy.version):
            continue
        trial.calls += 1
        said, other = entry.verdict, entry.other.verdict
        if said == other:
            continue
        if entry.policy.version == candidate:
            live, tried = other, said
            rules = tuple(reason.id for reason in entry.reasons)
        else:
            live, tried, rules = said, other, entry.other.rules
        key = (entry.tool, live, tried, rules)
        if key not in found:
            found[key] = Difference(tool=entry.tool, live=live, candidate=tried, rules=rules)
        one = found[key]
        one.calls += 1
        if entry.run is not None and entry.run not in one.runs:
            one.runs = [*one.runs, entry.run][-RUNS:]
    trial.differences = sorted(found.values(), key=lambda each: (-each.calls, each.tool))
    return trial


def _decisions(reader: Reader) -> Iterator[DecisionEntry]:
    for _, body, _ in reader.rows():
        try:
            entry = parse(body).entry
        except (EntryError, TypeError):
            # A rewritten entry is for `ledger verify` to report.
            continue
        if isinstance(entry, DecisionEntry):
            yield entry
