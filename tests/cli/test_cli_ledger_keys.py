"""`saferun ledger rotate`, `restart`, `backup` and `vkey --all`."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import Result

from cli.project import PEOPLE, lines, live
from saferun import Gate, gate, guard
from saferun.errors import GateUnavailable
from saferun.ledger import Checkpoint, Signer, sign_checkpoint
from saferun.store import Reader, Store, shared
from saferun.store.checkpoints import newest_checkpoint
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
    new = dana("ledger", "vkey").stdout.split("+")[1]
    first = f"✓ rotated  in entry 13; the old key has signed that key {new} follows\n"
    assert said.startswith(first)
    assert max(map(len, said.splitlines())) <= 80
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


def test_a_file_with_every_key_opens_what_each_of_them_has_signed(dana: Run) -> None:
    Path("first.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    dana("ledger", "prove", "1", "-o", "one.tlog-proof")
    dana("ledger", "rotate")
    Path("second.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    Path("all.vkey").write_bytes(dana("ledger", "vkey", "--all").stdout_bytes)
    for note in ("first.note", "second.note"):
        for option in ("--checkpoint", "--since"):
            result = dana("ledger", "verify", option, note, "--vkey", "all.vkey")
            assert (result.exit_code, result.stderr) == (0, "")
    assert dana("ledger", "check", "one.tlog-proof", "--vkey", "all.vkey").exit_code == 0


@pytest.mark.parametrize("option", ["--checkpoint", "--since"])
def test_a_checkpoint_by_a_key_before_the_one_that_was_given_is_a_mistake_and_no_finding(
    dana: Run, option: str
) -> None:
    Path("first.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    Path("first.vkey").write_bytes(dana("ledger", "vkey").stdout_bytes)
    dana("ledger", "rotate")
    Path("second.vkey").write_bytes(dana("ledger", "vkey").stdout_bytes)
    result = dana("ledger", "verify", option, "first.note", "--vkey", "second.vkey")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "was signed by an earlier key of this ledger" in result.stderr
    name, key_id, _ = Path("first.vkey").read_text("utf-8").split("+", 2)
    assert f"{name}+{key_id}" in result.stderr
    # By a key that the ledger has never named, it is evidence.
    with Reader(Path(".saferun/saferun.db")) as reader:
        stranger, size = Signer(reader.origin, b"f" * 32), reader.head().size
    note = sign_checkpoint(Checkpoint(stranger.name, size, bytes(32)), stranger)
    Path("first.note").write_bytes(note)
    result = dana("ledger", "verify", option, "first.note", "--vkey", "second.vkey")
    assert result.exit_code == (1 if option == "--checkpoint" else 64)


@pytest.mark.parametrize("written", ["", "\n\n", "no key\n"])
def test_a_file_without_any_key_is_a_mistake(dana: Run, written: str) -> None:
    Path("none.vkey").write_text(written, "utf-8")
    result = dana("ledger", "verify", "--vkey", "none.vkey")
    assert (result.exit_code, "holds no verifier key" in result.stderr) == (64, True)


# Backup and restart.


def test_a_backup_says_what_it_holds_and_that_the_keys_are_not_in_it(dana: Run) -> None:
    said = dana("ledger", "backup", "copy.db").stdout
    assert said.startswith("✓ copied  to copy.db, ")
    assert "not in it; keep .saferun/keys as well, somewhere else" in said
    assert audit(Path("copy.db")).entries == 13


def test_a_backup_in_json_has_the_checkpoint(dana: Run) -> None:
    done = told(dana("ledger", "backup", "copy.db", "--json"))
    stated = done["checkpoint"]
    assert (done["entries"], stated["size"]) == (13, 13)
    assert Checkpoint.parse(stated["note"].partition("\n\n")[0] + "\n").size == 13
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
    assert (done["by"], done["seq"]) == ("dana", 13)
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


def test_a_checkpoint_of_the_former_name_is_proven_to_be_the_beginning(
    dana: Run, lost: Path
) -> None:
    # The copy has the checkpoint that was signed for it.
    with Reader(lost) as reader:
        Path("former.note").write_bytes(newest_checkpoint(reader) or b"")
        size = reader.head().size
    dana("ledger", "restart", "--reason", "the disk", "--yes")
    Path("now.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    result = dana("ledger", "consistency", "former.note", "now.note")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"the first {size} entries are the beginning" in result.stdout
    Store("sqlite:///other/other.db").close()
    other = dana("ledger", "checkpoint", "--store", "sqlite:///other/other.db").stdout_bytes
    Path("other.note").write_bytes(other)
    result = dana("ledger", "consistency", "other.note", "now.note")
    assert (result.exit_code, "and this store holds" in result.stderr) == (64, True)


def test_after_a_restart_a_folder_is_held_under_the_former_name_too(
    dana: Run, lost: Path, database: Path
) -> None:
    with Reader(database) as reader:
        former = reader.signer()
    assert former is not None
    Path("outside").mkdir()
    config = 'durability = "process"\n[anchors.folder.share]\npath = "outside"\n'
    Path("saferun.toml").write_text(config, "utf-8")
    dana("ledger", "restart", "--reason", "the disk", "--yes")
    assert dana("ledger", "anchor").exit_code == 0
    forged = sign_checkpoint(Checkpoint(former.name, 5, bytes(32)), former)
    slug = former.name.replace("/", "-")
    Path(f"outside/{slug}.{5:018}.checkpoint").write_bytes(forged)
    result = dana("ledger", "anchor")
    assert result.exit_code == 1
    assert "entries that are not the first 5 of this ledger" in " ".join(result.stdout.split())


def test_all_keys_from_before_and_after_a_restart_verify_together(dana: Run, lost: Path) -> None:
    with Reader(lost) as reader:
        Path("former.note").write_bytes(newest_checkpoint(reader) or b"")
    dana("ledger", "restart", "--reason", "the disk", "--yes")
    Path("now.note").write_bytes(dana("ledger", "checkpoint").stdout_bytes)
    Path("all.vkey").write_bytes(dana("ledger", "vkey", "--all").stdout_bytes)
    for note in ("former.note", "now.note"):
        result = dana("ledger", "verify", "--checkpoint", note, "--vkey", "all.vkey")
        assert (result.exit_code, result.stderr) == (0, "")


def test_somebody_who_is_not_known_to_the_old_copy_can_still_log_in(dana: Run, lost: Path) -> None:
    assert dana("login", "erin", "--new").exit_code == 0
    done = told(
        dana("ledger", "restart", "--as", "erin", "--reason", "the disk", "--yes", "--json")
    )
    assert done["by"] == "erin"


def test_what_was_published_still_decides_after_a_restart(dana: Run, database: Path) -> None:
    Path("saferun.toml").write_text(
        f'durability = "process"\npolicies = "store"\n{PEOPLE}', "utf-8"
    )
    assert dana("policy", "publish", "policies/production.yaml").exit_code == 0
    assert dana("ledger", "backup", "old.db").exit_code == 0
    assert dana("ledger", "rotate").exit_code == 0
    for store in shared._stores.values():
        store.close()
    shutil.copy("old.db", database)
    assert dana("ledger", "restart", "--reason", "the disk", "--yes").exit_code == 0
    live("r-after")
    assert dana("policy", "versions", "production").exit_code == 0
