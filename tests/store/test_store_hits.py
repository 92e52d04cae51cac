"""How often rules have spoken, counted in the index without an entry being read."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saferun.call import PolicyRef, Reason
from saferun.ledger import DecisionEntry, ModelEntry, Other, encode
from saferun.store import Append, Reader, Store
from saferun.store import hits as counting
from saferun.store.hits import Hits, hits
from saferun.store.index import Index
from storing import Clock

SHOP = PolicyRef(name="shop", version="v" * 64)


@pytest.fixture
def store(file: Path, clock: Clock) -> Iterator[Store]:
    with contextlib.closing(Store(f"sqlite:///{file}", durability="process", clock=clock)) as store:
        yield store


def reason(own: str) -> Reason:
    return Reason(id=own, effect="deny", source="rule", message="No.")


def decided(store: Store, verdict: Any, *rules: str, **about: Any) -> int:
    about = {"policy": SHOP, "tool": "refund", "run": "r-1", **about}
    entry = DecisionEntry(verdict=verdict, reasons=tuple(map(reason, rules)), **about)
    store.commit(Append(entries=[encode(entry)], boot=store.boot))
    return store.size() - 1


def counted(store: Store, *rules: str, policy: str = "shop") -> dict[str, Hits]:
    with Reader(store.path) as reader, Index(reader) as index:
        index.build()
        return hits(index, policy, rules)


def test_a_rule_is_counted_by_what_was_decided_in_the_end(store: Store) -> None:
    decided(store, "deny", "big", "huge")
    decided(store, "ask", "big")
    last = decided(store, "defer", "big")
    newest = decided(store, "allow", "other")
    found = counted(store, "big", "huge", "other", "never")
    assert found["big"] == Hits(ask=1, deny=1, defer=1, last=last)
    assert found["huge"].deny == found["huge"].all == 1
    assert found["other"] == Hits(allow=1, last=newest)
    assert found["never"] == Hits()


def test_what_counts_for_nothing_is_shadow(store: Store) -> None:
    decided(store, "allow", shadow=(reason("tried"),))
    decided(store, "deny", "tried", mode="shadow")
    other = Other(policy=PolicyRef(name="shop", version="w" * 64), verdict="deny", rules=("tried",))
    decided(store, "allow", other=other)
    decided(store, "deny", "tried")
    found = counted(store, "tried")["tried"]
    assert (found.shadow, found.deny, found.allow) == (3, 1, 0)


def test_a_rule_that_spoke_for_both_versions_counts_once_and_for_what_held(store: Store) -> None:
    other = Other(policy=PolicyRef(name="shop", version="w" * 64), verdict="deny", rules=("big",))
    decided(store, "deny", "big", other=other)
    assert counted(store, "big")["big"] == Hits(deny=1, last=store.size() - 1)


def test_rules_of_the_same_name_in_another_policy_are_not_its_own(store: Store) -> None:
    decided(store, "deny", "big", policy=PolicyRef(name="bank", version="b" * 64))
    decided(store, "deny", "big")
    assert counted(store, "big")["big"].all == 1
    assert counted(store, "big", policy="b" * 64)["big"].all == 1
    assert counted(store, "big", policy="nobody")["big"] == Hits()


def test_counts_go_over_more_than_one_chunk(store: Store, monkeypatch: Any) -> None:
    from saferun.store import postings
    from saferun.store.index import building, index, terms

    for module in (building, index, terms, postings, counting):
        monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(postings, "_BITS", 8)
    monkeypatch.setattr(postings, "_MOST", 2)
    for number in range(200):
        if number % 3:
            entry = encode(ModelEntry(run="r-1", output="Hello."))
            store.commit(Append(entries=[entry], boot=store.boot))
        else:
            last = decided(store, "deny", "big")
    assert counted(store, "big")["big"] == Hits(deny=67, last=last)


def test_what_is_looked_for_stands_before_a_number(store: Store) -> None:
    from saferun.store.index import Query

    seqs = [decided(store, "deny", "big") for _ in range(5)]
    with Reader(store.path) as reader, Index(reader) as index:
        index.build()
        query = Query(facets={"rule": ("big",)})
        found = [hit.seq for hit in index.find(query, before=seqs[3])]
        assert found == [seqs[2], seqs[1], seqs[0]]
        found = [hit.seq for hit in index.find(query, newest=False, first=seqs[1], before=seqs[3])]
        assert found == [seqs[1], seqs[2]]
