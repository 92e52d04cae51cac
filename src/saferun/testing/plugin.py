"""The pytest plugin: collects `NAME.test.yaml`, and gives tests a gate.

It is loaded by every pytest of an environment that SafeRun is installed in, so it imports what
it needs when a test needs it, and takes no file for its own that another tool may have put there.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from saferun.rerun import Rerun
    from saferun.testing.collect import SuiteFile
    from saferun.testing.scratch import ScratchGate

_ENDING = ".test.yaml"
_MAX_BYTES = 1 << 20
_CASES = re.compile(rb"^cases\s*:", re.MULTILINE)
_POLICY = re.compile(rb"^policy\s*:", re.MULTILINE)


@pytest.fixture
def saferun_gate() -> "Iterator[Callable[..., ScratchGate]]":
    """Makes gates as `saferun.testing.gate` does, and closes them when the test is over."""
    from saferun.testing.scratch import gate

    with ExitStack() as gates:
        yield lambda *args, **options: gates.enter_context(gate(*args, **options))


@pytest.fixture
def saferun_rerun() -> "Iterator[Callable[..., Rerun]]":
    """Begins a rerun as `saferun.rerun` does, which ends with the test.

    What the code has left undone by then is told at the test's end; to have it told before, use
    `with saferun.rerun(...)`.
    """
    from saferun.rerun import Rerun

    with ExitStack() as reruns:
        yield lambda *args, **options: reruns.enter_context(Rerun(*args, **options))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "SuiteFile | None":
    """Take what looks like tests of a policy: it has cases, and a policy beside it or named."""
    if not file_path.name.endswith(_ENDING):
        return None
    with file_path.open("rb") as file:
        text = file.read(_MAX_BYTES)
    beside = file_path.with_name(file_path.name.removesuffix(_ENDING) + ".yaml")
    if _CASES.search(text) and (_POLICY.search(text) or beside.is_file()):
        from saferun.testing.collect import SuiteFile

        return SuiteFile.from_parent(parent, path=file_path)
    return None
