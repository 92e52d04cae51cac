"""A project in the working folder, and ways to call the command on it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.project import POLICY, live
from saferun.cli import app


@pytest.fixture
def saferun() -> Callable[..., Result]:
    """The command in this process; its result has `exit_code`, `stdout` and `stderr`."""

    def call(*args: str, **options: Any) -> Result:
        return CliRunner().invoke(app, list(args), **options)

    return call


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The command as a process of its own."""

    def call(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "saferun", *args]
        return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)

    return call


@pytest.fixture
def policy() -> Path:
    path = Path("policies/production.yaml")
    path.parent.mkdir()
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def database() -> Path:
    return Path(".saferun/saferun.db")


@pytest.fixture
def history(policy: Path) -> str:
    """The id of a run that the store holds."""
    live("r-refunds", prompt="Refund the duplicate charge on A-17.")
    return "r-refunds"
