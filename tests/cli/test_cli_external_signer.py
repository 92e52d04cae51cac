"""Commands on a ledger whose key never comes here: a command that the project names signs."""

import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cli.project import PEOPLE, lines, live
from saferun.ledger import Checkpoint, Signer

Run = Callable[..., Result]

SEED = bytes(range(32))
PUBLIC = base64.b64encode(
    base64.b64decode(Signer("any", SEED).vkey().split("+", 2)[2])[1:]
).decode()
SIGNS = f"""\
import base64, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

key = Ed25519PrivateKey.from_private_bytes({SEED!r})
print(base64.b64encode(key.sign(sys.stdin.buffer.read())).decode())
"""
DAY_NS = 86_400 * 10**9


def signer(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "kms-sign.py"


@pytest.fixture
def dana(saferun: Run, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, for Dana: a run of a hundred days ago has a checkpoint, one of today none."""
    program = signer(tmp_path)
    program.parent.mkdir()
    program.write_text(SIGNS, "utf-8")
    Path("saferun.toml").write_text(
        f"[signing]\ncommand = ['{sys.executable}', '{program}']\npublic_key = '{PUBLIC}'\n"
        f"{PEOPLE}",
        "utf-8",
    )
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    with monkeypatch.context() as patched:
        now = time.time_ns()
        patched.setattr("saferun.store.clock.time.time_ns", lambda: now - 100 * DAY_NS)
        live("r-old")
    assert saferun("login", "dana", "--new").exit_code == 0
    program.write_text("raise SystemExit(3)", "utf-8")
    live("r-new")
    program.write_text(SIGNS, "utf-8")
    return saferun


def upto(note: str) -> int:
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n").size


@pytest.mark.parametrize("form", ["jsonl", "tiles"])
def test_an_export_goes_up_to_a_new_checkpoint(dana: Run, form: str) -> None:
    [told] = lines(dana("ledger", "export", "--format", form, "out", "--json"))
    assert told["upto"] == upto(dana("ledger", "checkpoint").stdout) > 20


def test_a_receipt_covers_the_newest_entry(dana: Run) -> None:
    [found] = lines(dana("ledger", "search", "--json", "-n", "1"))
    Path("kept.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    result = dana("ledger", "prove", str(found["seq"]), "-o", "newest")
    assert result.exit_code == 0, result.stderr
    assert dana("ledger", "check", "newest", "--vkey", "kept.key").exit_code == 0


def test_old_entries_are_archived_and_vouched_for(dana: Run) -> None:
    Path("kept.key").write_bytes(dana("ledger", "vkey").stdout_bytes)
    result = dana("ledger", "archive", "old", "--by", "all", "--keep", "30d")
    assert result.exit_code == 0, result.stderr
    assert dana("ledger", "archive", "old", "--check", "--vkey", "kept.key").exit_code == 0


def test_what_is_verified_is_held_against_the_command_that_signs(dana: Run) -> None:
    Path("kept").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    result = dana("ledger", "verify", "--checkpoint", "kept")
    assert result.exit_code == 0, result.stderr


def test_a_command_that_signs_nothing_ends_an_export_in_one_sentence(
    dana: Run, tmp_path: Path
) -> None:
    signer(tmp_path).write_text("raise SystemExit(3)", "utf-8")
    result = dana("ledger", "export", "--format", "jsonl", "out")
    assert result.exit_code == 64
    assert "ended with status 3" in result.stderr
