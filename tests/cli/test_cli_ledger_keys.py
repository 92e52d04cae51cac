"""`saferun ledger rotate`, `restart`, `backup` and `vkey --all`."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import Result

from cli.project import lines, live
from saferun import Gate, gate, guard
from saferun.errors import GateUnavailable
from saferun.ledger import Checkpoint, Signer
from saferun.store import Reader
from storing import audit, kinds

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def dana(saferun: Run, history: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, where dana is logged in and the store has a run."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    assert saferun("login", "dana", "--new").exit_code == 0
    return saferun


def told(result: Result) -> Any:
    [document] = lines(result)
    return document


@pytest.fixture
def lost(dana: Run, database: Path) -> Path:
    """A store that has lost its newest run: the path of the copy that was put back."""
    assert dana("ledger", "backup", "old.db").exit_code == 0
    live("r-later")
    shutil.copy("old.db", database)
    return Path("old.db")


# Rotation.


def test_a_rotation_names_the_new_key_and_who_has_done_it(dana: Run, database: Path) -> None:
    before = dana("ledger", "vkey").stdout.strip()
    done = told(dana("ledger", "rotate", "--as", "dana", "--reason", "yearly", "--json"))
    assert (done["before"], done["by"]) == (before, "dana")
    assert dana("ledger", "vkey").stdout.strip() == done["vkey"]
    assert dana("ledger", "vkey", "--all").stdout.split() == [before, done["vkey"]]
    assert told(dana("ledger", "vkey", "--all", "--json"))["vkeys"] == [
        {"seq": 0, "vkey": before},
        {"seq": done["seq"], "vkey": done["vkey"]},
    ]
    assert kinds(database)[-1] == "key"


def test_a_rotation_is_told_in_a_few_lines(dana: Run) -> None:
    said = dana("ledger", "rotate").stdout
    assert said.startswith("✓ rotated  in entry 12; the old key has signed that it hands over to\n")
    assert "saferun ledger vkey --all > FILE" in said


def test_somebody_elses_secret_rotates_nothing(dana: Run, database: Path, tmp_path: Path) -> None:
    (tmp_path / "login" / "dana.secret").write_text("mallory's")
    result = dana("ledger", "rotate", "--as", "dana")
    assert result.exit_code == 1
    assert "That secret is not dana's" in result.stderr
    assert "key" not in kinds(database)


@pytest.mark.parametrize("reason", ["", "x" * 2001, "a\0b"])
def test_a_reason_is_text_of_a_bounded_length(dana: Run, reason: str) -> None:
    assert dana("ledger", "rotate", "--reason", reason).exit_code == 64


def test_a_secret_in_a_reason_does_not_reach_the_ledger(dana: Run, database: Path) -> None:
    dana("ledger", "rotate", "--reason", "leaked AKIAIOSFODNN7EXAMPLE")
    assert b"AKIAIOSFODNN7EXAMPLE" not in database.read_bytes()


def test_a_key_from_elsewhere_hands_over_to_another_from_elsewhere(
    dana: Run, monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    monkeypatch.setenv(
        "SAFERUN_SIGNING_KEY", (database.parent / "keys/default.signing.key").read_text("ascii")
    )
    refused = dana("ledger", "rotate")
    assert refused.exit_code == 64
    assert "say with --to FILE where the next one is" in refused.stderr
    Path("next.key").write_bytes(base64.b64encode(bytes(32)))
    Path("next.toml").write_text('[signing]\nfile = "next.key"\n', "utf-8")
    done = told(dana("ledger", "rotate", "--to", "next.toml", "--json"))
    with Reader(database) as reader:
        assert done["vkey"] == Signer(reader.origin, bytes(32)).vkey()
    assert dana("ledger", "checkpoint").exit_code == 64
    monkeypatch.setenv("SAFERUN_SIGNING_KEY", Path("next.key").read_text("ascii"))
    assert dana("ledger", "checkpoint").exit_code == 0


# Backup and restart.


def test_a_backup_says_what_it_holds_and_that_the_keys_are_not_in_it(dana: Run) -> None:
    said = dana("ledger", "backup", "copy.db").stdout
    assert said.startswith("✓ copied  to copy.db, ")
    assert "not in it; keep .saferun/keys as well, somewhere else" in said
    assert audit(Path("copy.db")).entries == 12


def test_a_backup_in_json_has_the_checkpoint(dana: Run) -> None:
    done = told(dana("ledger", "backup", "copy.db", "--json"))
    stated = done["checkpoint"]
    assert (done["entries"], stated["size"]) == (12, 12)
    assert Checkpoint.parse(stated["note"].partition("\n\n")[0] + "\n").size == 12
    assert dana("ledger", "checkpoint").stdout == stated["note"]


def test_a_backup_replaces_nothing_unless_it_is_told_to(dana: Run) -> None:
    assert dana("ledger", "backup", "copy.db").exit_code == 0
    assert dana("ledger", "backup", "copy.db").exit_code == 64
    assert dana("ledger", "backup", "copy.db", "--force").exit_code == 0
    assert dana("ledger", "backup", ".saferun/saferun.db", "--force").exit_code == 64


def test_an_old_store_denies_every_call_until_a_person_has_decided(
    dana: Run, lost: Path, database: Path
) -> None:
    def refund(order_id: str, amount: int, currency: str = "USD") -> str:
        return "done"

    safe = guard(refund, gate=Gate(policy="production"))
    with pytest.raises(GateUnavailable):
        safe("A-17", 4_000)
    [wrong] = [
        each for each in told(dana("doctor", "--json"))["checks"] if each["state"] == "error"
    ]
    assert wrong["name"] == "checkpoint"
    assert "saferun ledger restart" in wrong["found"]
    done = told(dana("ledger", "restart", "--reason", "the disk", "--yes", "--json"))
    assert (done["by"], done["seq"]) == ("dana", 12)
    gate.configured.cache_clear()
    assert guard(refund, gate=Gate(policy="production"))("A-17", 4_000) == "done"


def test_a_restart_asks_a_person_who_is_there(dana: Run, lost: Path, database: Path) -> None:
    result = dana("ledger", "restart", "--reason", "the disk")
    assert result.exit_code == 64
    assert "say --yes" in result.stderr
    assert "restart" not in kinds(database)


def test_a_store_that_has_lost_nothing_is_not_restarted(dana: Run) -> None:
    result = dana("ledger", "restart", "--reason", "the disk", "--yes")
    assert result.exit_code == 64
    assert "there is nothing to restart" in result.stderr


def test_there_is_nothing_to_restart_where_there_is_no_store(saferun: Run, database: Path) -> None:
    assert saferun("ledger", "restart", "--reason", "x", "--yes").exit_code == 64
    assert not database.exists()


def test_somebody_who_is_not_known_to_the_old_copy_can_still_log_in(dana: Run, lost: Path) -> None:
    assert dana("login", "erin", "--new").exit_code == 0
    done = told(
        dana("ledger", "restart", "--as", "erin", "--reason", "the disk", "--yes", "--json")
    )
    assert done["by"] == "erin"


def test_what_was_published_still_decides_after_a_restart(dana: Run, database: Path) -> None:
    Path("saferun.toml").write_text('durability = "process"\npolicies = "store"\n', "utf-8")
    assert dana("policy", "publish", "policies/production.yaml").exit_code == 0
    assert dana("ledger", "backup", "old.db").exit_code == 0
    assert dana("ledger", "rotate").exit_code == 0
    for store in gate._stores.values():
        store.close()
    shutil.copy("old.db", database)
    assert dana("ledger", "restart", "--reason", "the disk", "--yes").exit_code == 0
    live("r-after")
    assert dana("policy", "versions", "production").exit_code == 0
