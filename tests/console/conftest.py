from collections.abc import Iterator

import pytest

from console import asking
from saferun import Gate
from saferun.console import Console


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = asking.made()
    yield gate
    gate.close()


@pytest.fixture
def console(gate: Gate) -> Console:
    return asking.console(gate)
