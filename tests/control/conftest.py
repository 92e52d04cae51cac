from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driving import Agent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store" / "saferun.db"


@pytest.fixture
def agent(file: Path) -> Iterator[Callable[..., Agent]]:
    """Makes agents on one store, each in a process of its own."""
    made: list[Agent] = []

    def make(policy: str = "", **about: Any) -> Agent:
        made.append(Agent(file, policy, **about))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.kill()
