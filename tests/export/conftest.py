from collections.abc import Iterator
from pathlib import Path

import pytest

from export.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "store")
    yield made
    made.close()
