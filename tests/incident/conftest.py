from collections.abc import Iterator
from pathlib import Path

import pytest

from incident.incidents import incident, packed
from saferun.store import Store
from storing import Clock


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[Store]:
    """A store that no test changes."""
    folder = tmp_path_factory.mktemp("incident")
    store = Store(f"sqlite:///{folder / 'saferun.db'}", durability="process", clock=Clock())
    incident(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def sound(world: Store) -> Path:
    """A file that is signed and whole."""
    file = world.path.with_name("sound.saferun")
    packed(world, file)
    return file


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store/saferun.db", durability="process", clock=Clock())
    yield store
    store.close()
