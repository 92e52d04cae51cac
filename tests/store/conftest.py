from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saferun.store import Store
from storing import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "saferun.db"


@pytest.fixture
def open_store(file: Path) -> Iterator[Callable[..., Store]]:
    opened: list[Store] = []

    def open_one(**options: Any) -> Store:
        store = Store(f"sqlite:///{file}", **{"durability": "process", **options})
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()
