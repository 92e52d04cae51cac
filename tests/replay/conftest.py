from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recording import Script
from saferun.store import Store
from storing import Clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "saferun.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{file}", durability="process", clock=Clock())
    yield store
    store.close()


@pytest.fixture
def run(store: Store) -> Script:
    return Script(store)


@pytest.fixture
def begun(store: Store) -> Callable[[str], Script]:
    return lambda name: Script(store, name)
