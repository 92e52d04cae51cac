"""The schema of a store: an old one is brought up to date, with all that it holds."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from publishing import Published
from saferun.call import Call
from saferun.control import Limit
from saferun.errors import StoreError
from saferun.ledger import ApprovalEntry
from saferun.store import Answer, Reader, Store, sqlite
from saferun.store.versions import assignment_of, kept_version
from storing import FIRST, SECOND, admit, as_of, asking, audit, due, kinds, settle

ALLOWS = "version: 1\nname: shop\ndefault: allow\n"
OLD = range(1, sqlite.VERSION)
CALL = Call(tool="refund", args={"order": "A-17"})
LIMIT = Limit(id="per-order", max=1, per=("args.order",))


def shape(file: Path) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as found:
        return found.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("schema", OLD)
def test_an_old_store_comes_to_the_schema_of_a_new_one(
    open_store: Callable[..., Store], file: Path, tmp_path: Path, schema: int
) -> None:
    open_store().close()
    as_of(file, schema)
    open_store().close()
    new = tmp_path / "new" / "saferun.db"
    Store(f"sqlite:///{new}").close()
    assert shape(file) == shape(new)
    with contextlib.closing(sqlite3.connect(file)) as found:
        assert found.execute("PRAGMA user_version").fetchone() == (sqlite.VERSION,)


@pytest.mark.parametrize("schema", OLD)
def test_the_ledger_of_an_old_store_goes_on_where_it_was(
    open_store: Callable[..., Store], file: Path, schema: int
) -> None:
    store = open_store()
    first = store.commit(admit(store, key=b"k"))
    store.commit(settle(store, first.seq, key=b"k"))
    origin, before = store.origin, kinds(file)
    store.close()
    as_of(file, schema)
    again = open_store()
    assert again.origin == origin
    assert kinds(file) == before
    recorded = again.commit(admit(again, key=b"k"))
    assert (recorded.seq, recorded.starts) == (first.seq, False)
    assert again.commit(admit(again)).seq == len(before)
    assert audit(file).problem is None


@pytest.mark.parametrize("schema", OLD)
def test_calls_that_were_open_in_an_old_store_are_found(
    open_store: Callable[..., Store], file: Path, schema: int
) -> None:
    store = open_store()
    store.commit(admit(store, key=b"k"))
    store.close()
    as_of(file, schema)
    assert open_store().recovered == 1
    assert audit(file).unknown == 1


@pytest.mark.parametrize("schema", range(1, 5))
def test_a_request_of_an_old_store_counts_no_more(
    open_store: Callable[..., Store], file: Path, schema: int
) -> None:
    asks = {"entry": {"verdict": "ask"}, "key": b"k"}
    store = open_store()
    store.commit(admit(store, request=asking(store, key=b"k"), **asks))
    store.close()
    as_of(file, schema)
    again = open_store()
    yes = Answer(FIRST, "approved", ApprovalEntry(id=FIRST, event="approved", by="dana"))
    assert again.commit(yes) == "cancelled"
    waits = again.commit(admit(again, request=asking(again, SECOND, key=b"k"), **asks))
    assert (waits.starts, waits.approval_id) == (False, SECOND)


@pytest.mark.parametrize("schema", OLD)
def test_counts_hold_and_those_from_before_the_third_schema_begin_anew(
    open_store: Callable[..., Store], file: Path, schema: int
) -> None:
    store = open_store()
    store.commit(admit(store, due=due(store, CALL, LIMIT)))
    store.close()
    as_of(file, schema)
    again = open_store()
    starts = [again.commit(admit(again, due=due(again, CALL, LIMIT))).starts for _ in range(3)]
    assert starts == [schema < 3, False, False]


def test_what_was_published_in_the_second_schema_still_decides(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    said = Published(store).publish(ALLOWS)
    store.close()
    as_of(file, 2)
    open_store()
    with Reader(file) as reader:
        assert assignment_of(reader, "shop") == said.sealed(None)
        assert kept_version(reader, said.live)


def test_from_the_first_schema_on_versions_can_be_published(
    open_store: Callable[..., Store], file: Path
) -> None:
    open_store().close()
    as_of(file, 1)
    shop = Published(open_store())
    shop.publish(ALLOWS)
    assert len(shop.history()) == 1


@pytest.mark.parametrize("schema", OLD)
def test_a_step_that_fails_leaves_the_version_before_it(
    open_store: Callable[..., Store],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    schema: int,
) -> None:
    open_store().close()
    as_of(file, schema)
    before = shape(file)
    broken = {**sqlite._MIGRATIONS, schema + 1: "DROP TABLE run; SELECT nothing FROM nowhere;"}
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_MIGRATIONS", broken)
        with pytest.raises(StoreError):
            open_store()
    assert shape(file) == before
    open_store()
    assert audit(file).problem is None
