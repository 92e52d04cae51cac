from collections.abc import Iterator

import pytest

from anchor.offering import SIGNER
from anchor.witnessing import WitnessServer, listening


@pytest.fixture
def server() -> Iterator[WitnessServer]:
    """A witness that knows the ledger of `offering`."""
    with listening() as found:
        found.logs[SIGNER.name] = SIGNER.vkey()
        yield found
