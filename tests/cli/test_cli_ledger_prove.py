"""`saferun ledger prove`, `check` and `consistency`."""

import base64
import sqlite3
from pathlib import Path

import pytest
from tlog_scales import tlog

from cli.project import lines, live
from saferun.ledger import Signer, Verifier
from saferun.ledger.receipt import open_receipt


@pytest.fixture
def key(saferun, history) -> str:
    Path("kept.key").write_bytes(saferun("ledger", "vkey").stdout_bytes)
    return "kept.key"


@pytest.fixture
def receipt(saferun, key) -> str:
    assert saferun("ledger", "prove", "5", "-o", "five.tlog-proof").exit_code == 0
    return "five.tlog-proof"


def root_of(saferun) -> bytes:
    [told] = lines(saferun("ledger", "checkpoint", "--json"))
    return base64.b64decode(told["root"])


def test_a_receipt_is_written_to_the_byte(saferun, shell, key, receipt) -> None:
    data = Path(receipt).read_bytes()
    verifier = Verifier(Path(key).read_text("utf-8").strip())
    assert open_receipt(data, verifier).entry.seq == 5
    assert shell("ledger", "prove", "5").stdout == data
    [told] = lines(saferun("ledger", "prove", "5", "--json"))
    assert told == {"seq": 5, "size": 12, "receipt": data.decode()}


def test_a_receipt_is_checked_where_there_is_no_store(
    saferun, key, receipt, tmp_path, monkeypatch
) -> None:
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in (key, receipt):
        (there / name).write_bytes(Path(name).read_bytes())
    monkeypatch.chdir(there)
    result = saferun("ledger", "check", receipt, "--vkey", key)
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ Proven: entry 5 is one of 12")
    assert "450000" in result.stdout
    [told] = lines(saferun("ledger", "check", receipt, "--vkey", key, "--json"))
    assert (told["proven"], told["seq"], told["kind"]) == (True, 5, "decision")
    assert told["fields"]["args"]["amount"] == 450_000
    assert sorted(path.name for path in there.iterdir()) == [receipt, key]


def test_a_receipt_that_was_changed_exits_1(saferun, key, receipt) -> None:
    data = Path(receipt).read_text("utf-8")
    Path(receipt).write_text(data.replace("index 5", "index 6"), "utf-8")
    result = saferun("ledger", "check", receipt, "--vkey", key)
    assert (result.exit_code, result.stdout.startswith("✕ Not proven: ")) == (1, True)
    [told] = lines(saferun("ledger", "check", receipt, "--vkey", key, "--json"))
    assert told["proven"] is False
    assert "does not lead from the entry to the checkpoint" in told["problem"]


def test_a_receipt_by_another_key_exits_1(saferun, key, receipt) -> None:
    name = Path(key).read_text("utf-8").split("+")[0]
    Path("other.key").write_text(Signer(name, b"x" * 32).vkey(), "utf-8")
    assert saferun("ledger", "check", receipt, "--vkey", "other.key").exit_code == 1


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff" * 100])
def test_a_file_that_is_no_receipt_proves_nothing(saferun, key, data) -> None:
    Path("odd").write_bytes(data)
    assert saferun("ledger", "check", "odd", "--vkey", key).exit_code == 1


def test_a_receipt_or_key_that_is_not_there_is_a_mistake(saferun, key, receipt) -> None:
    assert saferun("ledger", "check", "none", "--vkey", key).exit_code == 64
    assert saferun("ledger", "check", receipt, "--vkey", "none").exit_code == 64
    assert saferun("ledger", "check", receipt).exit_code == 64


def test_what_an_entry_says_cannot_move_the_cursor(saferun, key) -> None:
    live("r-evil", order="A\x1b[2J\u202e")
    Path("evil").write_bytes(saferun("ledger", "prove", "15").stdout_bytes)
    result = saferun("ledger", "check", "evil", "--vkey", key)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_a_checkpoint_is_made_where_the_newest_does_not_cover_the_entry(
    saferun, key, database
) -> None:
    saferun("ledger", "checkpoint")
    signing = database.parent / "keys" / "default.signing.key"
    # An agent whose process does not have the key leaves no checkpoint at its end.
    signing.rename("away.key")
    live("r-later")
    Path("away.key").rename(signing)
    [old] = lines(saferun("ledger", "prove", "5", "--json"))
    [new] = lines(saferun("ledger", "prove", "20", "--json"))
    assert (old["size"], new["size"]) == (12, 23)


def test_without_the_signing_key_what_is_covered_can_still_be_proven(
    saferun, receipt, database
) -> None:
    (database.parent / "keys" / "default.signing.key").unlink()
    live("r-later")
    assert saferun("ledger", "prove", "5").exit_code == 0
    result = saferun("ledger", "prove", "20")
    assert (result.exit_code, "signing.key" in result.stderr) == (64, True)


@pytest.mark.parametrize("seq", ["12", "99999999999999999999", "-1", "x"])
def test_an_entry_that_is_not_there_is_a_mistake(saferun, history, seq) -> None:
    result = saferun("ledger", "prove", seq)
    assert (result.exit_code, result.stdout) == (64, "")


def test_a_ledger_that_was_changed_gives_no_receipt(saferun, receipt, database) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 6")
    connection.close()
    result = saferun("ledger", "prove", "5")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "the ledger was changed; run saferun ledger verify" in result.stderr


def test_a_file_that_cannot_be_written_is_a_mistake(saferun, history) -> None:
    result = saferun("ledger", "prove", "5", "-o", "no/such/folder/five")
    assert (result.exit_code, "cannot be written" in result.stderr) == (64, True)


def test_a_consistency_proof_is_accepted_by_tlog_scales(saferun, history) -> None:
    old = root_of(saferun)
    live("r-later")
    new = root_of(saferun)
    [told] = lines(saferun("ledger", "consistency", "12", "23", "--json"))
    hashes = [base64.b64decode(each) for each in told["proof"]]
    tlog.ConsistencyProof(12, 23, hashes).check(old, new)


def test_checkpoints_in_files_serve_as_sizes(saferun, history) -> None:
    for name in ("old", "new"):
        Path(name).write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
        live(f"r-{name}")
    result = saferun("ledger", "consistency", "old", "new")
    assert result.exit_code == 0
    assert "the first 12 entries are the beginning of the first 23" in result.stdout
    [told] = lines(saferun("ledger", "consistency", "old", "new", "--json"))
    assert all(each in result.stdout for each in told["proof"])


def test_a_checkpoint_that_the_ledger_does_not_hold_has_no_proof(saferun, history) -> None:
    note = saferun("ledger", "checkpoint").stdout
    Path("odd").write_text(note.replace("\n12\n", "\n11\n"), "utf-8")
    result = saferun("ledger", "consistency", "odd", "12")
    assert (result.exit_code, "the ledger was changed" in result.stderr) == (64, True)


@pytest.mark.parametrize("sizes", [("12", "5"), ("5", "13"), ("x", "5"), ("5", "١٢")])
def test_sizes_that_cannot_be_are_a_mistake(saferun, history, sizes) -> None:
    result = saferun("ledger", "consistency", *sizes)
    assert (result.exit_code, result.stdout) == (64, "")
