from collections.abc import Iterator

import pytest

from adapters.provider import Provider, provider


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as told:
        yield told
