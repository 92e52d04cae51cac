"""The floors of the house: imports only lean down, and what should be pure is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_imports_only_lean_down_the_house() -> None:
    # The floors stand in pyproject.toml, under `tool.importlinter`.
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as go; go()",
    ]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_saferun_loads_neither_frameworks_nor_what_only_commands_need() -> None:
    heavy = ("rich", "typer", "cryptography", "ruamel", "pydantic", "aiosmtpd", "opentelemetry")
    script = f"import sys, saferun; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout == "[]\n"
