"""Versions and assignments in a store: one after the other, whole, and by whoever may."""

import contextlib
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from publishing import Published
from saferun.errors import StoreError
from saferun.policy import assignment, loads
from saferun.store import Enrol, Pin, Reader, Store, Version, Vouch
from saferun.store.versions import PIN, assignment_of, kept_version, versions_of
from storing import audit, kinds

ALLOWS = "version: 1\nname: shop\ndefault: allow\n"
DENIES = "version: 1\nname: shop\ndefault: deny\n"


class PinOf:
    """What a run keeps, as an admission asks it."""

    def __init__(self, version: str, serial: int = 1, floor: int = 0) -> None:
        self.pin = Pin("r-1", "shop", version, serial, floor)

    def apply(self, tx):
        return self.pin.settled(tx)


@pytest.fixture
def shop(store: Store) -> Published:
    return Published(store)


def test_an_assignment_its_version_and_its_entry_are_there_together(
    shop: Published, file: Path
) -> None:
    said = shop.publish(ALLOWS)
    with Reader(file) as reader:
        assert sha256(kept_version(reader, said.live)).hexdigest() == said.live
        assert assignment_of(reader, "shop") == said.sealed(None)
    assert kinds(file)[-1] == "policy"
    assert audit(file).problem is None


def test_of_two_who_publish_at_once_the_second_is_told(shop: Published, file: Path) -> None:
    first = shop.publish(ALLOWS)
    one = assignment.published(first, first.live, **shop.who())
    shop.publish(DENIES)
    with pytest.raises(StoreError, match="meanwhile"):
        shop.put(one)
    assert [said.serial for said in shop.history()] == [1, 2]
    assert kinds(file).count("policy") == 2


def test_without_the_persons_secret_nothing_changes(shop: Published, file: Path) -> None:
    shop.credential = b"0" * 16
    with pytest.raises(StoreError, match="not alice's"):
        shop.publish(ALLOWS)
    assert shop.history() == []
    assert "policy" not in kinds(file)


def test_a_version_that_is_not_kept_cannot_decide(shop: Published) -> None:
    first = shop.publish(ALLOWS)
    with pytest.raises(StoreError, match="has no version"):
        shop.put(assignment.published(first, "f" * 64, **shop.who()))


def test_a_commit_that_fails_leaves_all_as_it_was(shop: Published, file: Path) -> None:
    first = shop.publish(ALLOWS)
    policy = loads(DENIES)
    said = assignment.published(first, policy.version, **shop.who())
    version = Version(policy.name, policy.version, policy.canonical)
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute(
            "CREATE TRIGGER sick BEFORE INSERT ON assignment"
            " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with pytest.raises(StoreError, match="is full"):
        shop.put(said, version)
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("DROP TRIGGER sick")
    with Reader(file) as reader:
        assert len(versions_of(reader, "shop")) == 1
    assert kinds(file).count("policy") == 1


def test_a_changed_version_is_not_read(shop: Published, file: Path) -> None:
    said = shop.publish(ALLOWS)
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("UPDATE version SET data = x'7b7d'")
    with Reader(file) as reader, pytest.raises(StoreError, match="damaged"):
        kept_version(reader, said.live)


def test_a_run_keeps_its_first_version(store: Store) -> None:
    store.commit(PinOf("one"))
    assert store.commit(PinOf("two", serial=2)).version == "one"


def test_a_pin_ends_after_a_day(open_store: Callable[..., Store]) -> None:
    times = [1_763_942_400_000_000]
    store = open_store(clock=lambda: times[0])
    store.commit(PinOf("one"))
    times[0] += PIN - 1
    assert store.commit(PinOf("two")).version == "one"
    times[0] += 1
    assert store.commit(PinOf("two")).version == "two"


def test_a_clock_that_goes_back_does_not_lengthen_a_pin(open_store: Callable[..., Store]) -> None:
    times = [1_763_942_400_000_000]
    store = open_store(clock=lambda: times[0])
    until = store.commit(PinOf("one")).until
    times[0] -= PIN
    assert store.commit(PinOf("two")).until == until


def test_a_pin_from_before_an_urgent_act_counts_no_more(store: Store) -> None:
    store.commit(PinOf("one", serial=1))
    assert store.commit(PinOf("two", serial=3, floor=2)).version == "two"
    assert store.commit(PinOf("three", serial=4, floor=2)).version == "two"


def test_a_person_has_one_secret(store: Store) -> None:
    store.commit(Enrol("alice", b"a" * 16))
    store.commit(Vouch("alice", b"a" * 16))
    for work in (Enrol("alice", b"b" * 16), Vouch("alice", b"b" * 16), Vouch("bob", b"")):
        with pytest.raises(StoreError, match="secret"):
            store.commit(work)


def test_a_version_is_kept_once(store: Store, file: Path) -> None:
    class Keep:
        def apply(self, tx):
            for _ in range(2):
                Version("shop", sha256(b"{}").hexdigest(), b"{}").write(tx)

    store.commit(Keep())
    store.commit(Keep())
    with Reader(file) as reader:
        assert len(versions_of(reader, "shop")) == 1
