"""What every room's tests share: a folder of their own, and nothing of the machine's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# One fixed choice of examples at every landing; `make soak` draws new ones, and many.
settings.register_profile(
    "landing",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "soak", parent=settings.get_profile("landing"), derandomize=False, max_examples=2_000
)
settings.load_profile("landing")


WORLD = """\
durability = "process"

[approval]
timeout = 30

[people.dana]

[groups]
finance = ["dana"]
desk = ["dana"]
lead = ["dana"]
operations = ["dana"]
ops = ["dana"]
"""


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads the configuration, the store, the log-in or the environment of who runs it."""
    for name in [name for name in os.environ if name.startswith("SAFERUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "nobody"))
    world = tmp_path / "world"
    world.mkdir()
    (world / "saferun.toml").write_text(WORLD, encoding="utf-8")
    monkeypatch.chdir(world)
    _forget()
    yield
    _forget()


def _forget() -> None:
    """Nothing that this process knows by heart is of another world than the test's own."""
    from saferun import gate
    from saferun.store import shared

    gate.configured.cache_clear()
    for store in list(shared._stores.values()):
        store.close()
    shared._stores.clear()
