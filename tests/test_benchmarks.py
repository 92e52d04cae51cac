"""The benchmarks go with the house: what they name is there."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = sorted(file.stem for file in (ROOT / "benchmarks").glob("[!_]*.py"))
PEERS = {"cedar", "engine", "govern"}
"""These are read in environments of their own, with what they are compared with."""


@pytest.mark.parametrize("name", [each for each in NAMES if each not in PEERS])
def test_a_benchmark_finds_all_that_it_measures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    assert importlib.import_module(f"benchmarks.{name}").__doc__
