"""`saferun ledger verify`, `checkpoint` and `vkey`."""

import base64
import importlib
import os
import sqlite3
from pathlib import Path

import pytest

from cli.project import lines, live
from saferun.ledger import Signer, Verifier, open_checkpoint
from saferun.store import Store

# The package has a command of that name, which hides the module.
command = importlib.import_module("saferun.cli.ledger.verify")


@pytest.fixture
def kept(saferun, history) -> dict[str, str]:
    """What somebody has kept outside, while the ledger has grown by another run."""
    Path("kept.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    Path("kept.key").write_bytes(saferun("ledger", "vkey").stdout_bytes)
    live("r-later")
    return {"--checkpoint": "kept.note", "--vkey": "kept.key"}


def options(kept: dict[str, str]) -> list[str]:
    return [word for pair in kept.items() for word in pair]


def change(database: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(statement, values)
    connection.close()


def test_a_ledger_that_nothing_outside_vouches_for_exits_2(saferun, history) -> None:
    result = saferun("ledger", "verify")
    assert result.exit_code == 2
    assert result.stdout.startswith("! Consistent but not anchored: ")
    assert "saferun ledger checkpoint > FILE" in result.stdout


def test_a_ledger_is_verified_up_to_the_checkpoint_that_was_kept(saferun, kept) -> None:
    result = saferun("ledger", "verify", *options(kept))
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ Verified: ")
    assert "anchored  12 by kept.note" in result.stdout
    assert "past it   11 entries" in result.stdout


def test_verification_for_programs_is_one_document(saferun, kept) -> None:
    result = saferun("ledger", "verify", *options(kept), "--json")
    [told] = lines(result)
    assert result.exit_code == 0
    assert (told["state"], told["anchored"], told["unanchored"]) == ("verified", 12, 11)
    assert (told["problem"], told["key"]) == (None, "given")
    assert len(base64.b64decode(told["root"])) == 32


def test_without_a_key_from_outside_it_says_that_one_proves_more(saferun, kept) -> None:
    result = saferun("ledger", "verify", "--checkpoint", "kept.note")
    assert result.exit_code == 0
    assert "kept outside proves more" in " ".join(result.stdout.split())
    assert "proves more" not in saferun("ledger", "verify", *options(kept)).stdout


def test_a_changed_entry_exits_1_and_is_named(saferun, kept, database) -> None:
    change(
        database,
        "UPDATE entry SET body = CAST(replace(body, '450000', '4500') AS BLOB) WHERE seq = 5",
    )
    result = saferun("ledger", "verify", *options(kept))
    assert result.exit_code == 1
    assert result.stdout.startswith("✕ Tampered: Entry 5 was changed")
    assert "first bad  entry 5" in result.stdout
    [told] = lines(saferun("ledger", "verify", "--json"))
    assert (told["state"], told["problem"]["seq"]) == ("tampered", 5)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry WHERE seq = 7",
        "DELETE FROM entry WHERE seq = 22",
        "DELETE FROM entry",
        "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 3",
        "UPDATE entry SET body = 5 WHERE seq = 3",
        "UPDATE entry SET body = 'text' WHERE seq = 0",
        "UPDATE entry SET seq = 40 WHERE seq = 3",
        "INSERT INTO entry SELECT 23, body, leaf FROM entry WHERE seq = 5",
        "INSERT INTO entry SELECT 24, body, leaf FROM entry WHERE seq = 5",
        "INSERT INTO entry SELECT 90, body, leaf FROM entry WHERE seq = 5",
        "UPDATE head SET size = 20",
        "UPDATE head SET size = 30",
        "UPDATE head SET size = 'many'",
        "UPDATE head SET frontier = 7",
        "UPDATE head SET frontier = zeroblob(32)",
        "UPDATE meta SET value = 'saferun/other/00' WHERE name = 'origin'",
        "UPDATE meta SET value = 'no key bears this' WHERE name = 'origin'",
        "UPDATE checkpoint SET note = 'none'",
        "UPDATE checkpoint SET note = 1099511627776",
    ],
)
def test_whatever_is_changed_in_the_store_is_found(saferun, kept, database, statement) -> None:
    change(database, statement)
    result = saferun("ledger", "verify", *options(kept))
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith("✕ Tampered: ")
    assert saferun("ledger", "verify").exit_code == 1


def test_verifying_writes_nothing(saferun, kept, database) -> None:
    def held() -> list[tuple[str, bytes]]:
        connection = sqlite3.connect(database)
        dump = list(connection.iterdump())
        connection.close()
        files = sorted(str(path) for path in database.parent.rglob("*") if path != database)
        return [*((line, b"") for line in dump), *((name, b"") for name in files)]

    before = held()
    saferun("ledger", "verify", *options(kept))
    assert held() == before


def test_a_checkpoint_of_another_ledger_is_a_mistake_and_no_finding(saferun, kept) -> None:
    Store("sqlite:///other/other.db").close()
    other = saferun("ledger", "checkpoint", "--store", "sqlite:///other/other.db")
    Path("other.note").write_bytes(other.stdout_bytes)
    result = saferun("ledger", "verify", "--checkpoint", "other.note")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "other.note is of the ledger 'saferun/default/" in result.stderr


@pytest.mark.parametrize("note", [b"", b"hello\n", b"\xff\xfe\n\n", b"a\nb\nc\n\n- x\n", b"\n\n"])
def test_a_file_that_holds_no_checkpoint_is_a_mistake_and_no_finding(saferun, kept, note) -> None:
    Path("odd.note").write_bytes(note)
    result = saferun("ledger", "verify", "--checkpoint", "odd.note")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "odd.note holds no signed checkpoint" in result.stderr


def test_a_checkpoint_whose_signature_does_not_fit_is_a_finding(saferun, kept) -> None:
    note = Path("kept.note").read_text("utf-8")
    Path("forged.note").write_text(note.replace("\n12\n", "\n11\n"), "utf-8")
    result = saferun("ledger", "verify", "--checkpoint", "forged.note", "--vkey", "kept.key")
    assert result.exit_code == 1
    assert "names this ledger and does not open" in " ".join(result.stdout.split())


def test_a_key_that_was_replaced_beside_the_store_vouches_for_nothing(
    saferun, kept, database
) -> None:
    key = database.parent / "keys" / "default.signing.key"
    key.write_bytes(base64.b64encode(b"x" * 32))
    # It is the ledger that names its key, and what lies there cannot sign in its name.
    assert saferun("ledger", "verify", *options(kept)).exit_code == 0
    result = saferun("ledger", "checkpoint")
    assert (result.exit_code, "is not that of the ledger" in result.stderr) == (64, True)


def test_a_key_that_the_ledger_never_named_is_a_finding(saferun, kept, database) -> None:
    forged = Signer(Verifier(Path("kept.key").read_text("utf-8").strip()).name, b"x" * 32).vkey()
    change(database, "UPDATE meta SET value = ? WHERE name = 'vkeys'", f'[[0, "{forged}"]]')
    assert saferun("ledger", "verify", "--checkpoint", "kept.note").exit_code == 1
    assert saferun("ledger", "verify").exit_code == 1
    assert saferun("ledger", "verify", *options(kept)).exit_code == 0


def test_a_key_of_another_ledger_is_a_mistake_and_no_finding(saferun, kept) -> None:
    Path("other.key").write_text(Signer("saferun/other/00", b"x" * 32).vkey(), "utf-8")
    result = saferun("ledger", "verify", "--vkey", "other.key")
    assert result.exit_code == 64
    assert "other.key is of the ledger 'saferun/other/00'" in result.stderr


@pytest.mark.parametrize("key", [b"", b"no key", b"\xff", b"a+b+c", b"x" * 20_000])
def test_a_file_that_holds_no_key_is_a_mistake_and_no_finding(saferun, kept, key) -> None:
    Path("odd.key").write_bytes(key)
    result = saferun("ledger", "verify", "--vkey", "odd.key")
    assert (result.exit_code, result.stdout) == (64, "")


def test_a_lost_signing_key_hides_nothing_that_needs_none(saferun, kept, database) -> None:
    (database.parent / "keys" / "default.signing.key").unlink()
    assert saferun("ledger", "verify").exit_code == 2
    assert saferun("ledger", "verify", *options(kept)).exit_code == 0
    assert saferun("ledger", "verify", "--checkpoint", "kept.note").exit_code == 0


def test_a_lost_signing_key_is_never_made_anew_by_looking(saferun, history, database) -> None:
    vkey = saferun("ledger", "vkey").stdout
    live("r-later")
    key = database.parent / "keys" / "default.signing.key"
    key.unlink()
    # The ledger itself names the key that it is verified with.
    assert saferun("ledger", "vkey").stdout == vkey
    result = saferun("ledger", "checkpoint")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "default.signing.key" in result.stderr
    assert not key.exists()


def test_a_checkpoint_is_the_signed_note_to_the_byte(saferun, shell, history) -> None:
    note = shell("ledger", "checkpoint").stdout
    vkey = saferun("ledger", "vkey").stdout.strip()
    assert open_checkpoint(note, [Verifier(vkey)]).size == 12
    assert saferun("ledger", "checkpoint").stdout_bytes == note


def test_a_new_checkpoint_is_made_where_entries_are_newer(saferun, history) -> None:
    [first] = lines(saferun("ledger", "checkpoint", "--json"))
    [again] = lines(saferun("ledger", "checkpoint", "--json"))
    live("r-later")
    [later] = lines(saferun("ledger", "checkpoint", "--json"))
    assert first == again
    assert first["size"] < later["size"]
    assert later["note"].startswith(f"{later['origin']}\n{later['size']}\n{later['root']}\n")


def test_the_key_is_a_document_for_programs(saferun, history) -> None:
    [told] = lines(saferun("ledger", "vkey", "--json"))
    assert told == {"vkey": saferun("ledger", "vkey").stdout.strip()}


def test_a_signing_key_from_the_environment_is_used(saferun, history, database, monkeypatch):
    key = database.parent / "keys" / "default.signing.key"
    vkey = saferun("ledger", "vkey").stdout
    monkeypatch.setenv("SAFERUN_SIGNING_KEY", key.read_text("ascii"))
    key.unlink()
    assert saferun("ledger", "vkey").stdout == vkey
    monkeypatch.setenv("SAFERUN_SIGNING_KEY", "short")
    assert "not 32 bytes written as base64" in saferun("ledger", "vkey").stderr


def test_only_what_came_after_a_trusted_checkpoint_is_read(saferun, kept, database) -> None:
    change(
        database,
        "UPDATE entry SET body = CAST(replace(body, '450000', '4500') AS BLOB) WHERE seq = 5",
    )
    result = saferun("ledger", "verify", "--since", "kept.note", "--vkey", "kept.key")
    assert result.exit_code == 0
    assert "the entries themselves were not read again" in " ".join(result.stdout.split())
    assert "not read  the first 12, which were read before" in result.stdout
    assert "past it   11 entries" in result.stdout
    assert saferun("ledger", "verify", *options(kept)).exit_code == 1


def test_a_change_after_a_trusted_checkpoint_is_found(saferun, kept, database) -> None:
    change(database, "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 15")
    result = saferun("ledger", "verify", "--since", "kept.note", "--vkey", "kept.key")
    assert (result.exit_code, "entry 15" in result.stdout) == (1, True)


def test_leaves_that_do_not_give_the_trusted_checkpoint_are_found(saferun, kept, database) -> None:
    change(database, "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 5")
    result = saferun("ledger", "verify", "--since", "kept.note", "--json")
    [told] = lines(result)
    assert (result.exit_code, told["state"]) == (1, "tampered")
    assert "The leaves of the first 12 entries do not give the root" in told["summary"]


def test_nothing_is_built_on_a_checkpoint_that_no_known_key_signed(saferun, kept) -> None:
    note = Path("kept.note").read_text("utf-8")
    Path("forged.note").write_text(note.replace("\n12\n", "\n11\n"), "utf-8")
    result = saferun("ledger", "verify", "--since", "forged.note")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "nothing can be built on it" in result.stderr


def test_it_says_in_every_case_how_many_entries_nothing_outside_vouches_for(saferun, kept) -> None:
    assert "past it   23 entries" in saferun("ledger", "verify").stdout
    assert "past it   11 entries" in saferun("ledger", "verify", *options(kept)).stdout


def test_a_key_and_a_checkpoint_may_come_through_pipes(saferun, kept) -> None:
    reading, writing = os.pipe()
    os.write(writing, Path(kept["--vkey"]).read_bytes())
    os.close(writing)
    result = saferun("ledger", "verify", *options(kept | {"--vkey": f"/dev/fd/{reading}"}))
    os.close(reading)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("option", ["--checkpoint", "--vkey", "--since", "--witness"])
def test_a_pipe_that_nobody_writes_to_ends_in_one_sentence(
    saferun, kept, option, monkeypatch
) -> None:
    monkeypatch.setattr("saferun.files.PATIENCE", 0.01)
    os.mkfifo("pipe")
    result = saferun("ledger", "verify", option, "pipe")
    assert result.exit_code == 64
    assert (
        "pipe cannot be read: it is no ordinary file, and what comes through it did not end"
        in result.stderr
    )
