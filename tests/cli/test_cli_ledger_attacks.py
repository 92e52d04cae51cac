"""The attacks of `tests/ledger/test_ledger_attacks.py` on a store: exit status and sentence.

The forger owns the machine: the database, and the signing key beside it. What they do not have
is what was kept outside: `kept.note`, a checkpoint of the first 12 entries, and `kept.key`.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cli.project import lines, live
from saferun.ledger import (
    Archival,
    ArchiveEntry,
    Checkpoint,
    Frontier,
    Signer,
    Verifier,
    encode,
    leaf_hash,
    open_checkpoint,
    seal,
    sign_archival,
    sign_checkpoint,
)
from saferun.store import Reader, Store

Bodies = list[bytes]


@pytest.fixture
def outside(saferun, history) -> list[str]:
    """What was kept outside, while the ledger has grown by another run."""
    Path("kept.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    Path("kept.key").write_bytes(saferun("ledger", "vkey").stdout_bytes)
    live("r-later")
    return ["--checkpoint", "kept.note", "--vkey", "kept.key"]


@pytest.fixture
def forge(database) -> Callable[[Callable[[Bodies], Bodies]], None]:
    """Rewrite the whole store: leaves, head, checkpoint and mark fit, and the key signs it."""

    def rewrite(change: Callable[[Bodies], Bodies]) -> None:
        with Reader(database) as reader:
            signer = reader.signer()
        assert signer is not None
        with closing(sqlite3.connect(database)) as connection, connection:
            bodies = change([row[0] for row in connection.execute("SELECT body FROM entry")])
            note = written(connection, bodies, signer)
        (database.parent / "keys" / "default.checkpoint").write_bytes(note)

    return rewrite


def written(connection: sqlite3.Connection, bodies: Bodies, signer: Signer) -> bytes:
    tree = Frontier()
    rows = []
    for seq, body in enumerate(bodies):
        rows.append((seq, body, leaf_hash(body)))
        tree.append(rows[-1][2])
    for table in ("entry", "checkpoint", "node"):
        connection.execute(f"DELETE FROM {table}")
    connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
    connection.execute(
        "UPDATE head SET size = ?, frontier = ? WHERE seq = -1", (tree.size, tree.encode())
    )
    note = sign_checkpoint(Checkpoint(signer.name, tree.size, tree.root()), signer)
    connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (tree.size, note, tree.encode()))
    return note


def smaller(at: int) -> Callable[[Bodies], Bodies]:
    """The refund of one entry is made smaller."""

    def change(bodies: Bodies) -> Bodies:
        assert b"450000" in bodies[at]
        bodies[at] = bodies[at].replace(b"450000", b"4500")
        return bodies

    return change


def tampered(saferun, *options: str) -> str:
    [told] = lines(saferun("ledger", "verify", *options, "--json"))
    result = saferun("ledger", "verify", *options)
    assert (result.exit_code, told["state"]) == (1, "tampered")
    assert result.stdout.startswith("✕ Tampered:")
    return str(told["problem"]["sentence"])


def test_a_cut_tail(saferun, outside, forge) -> None:
    forge(lambda bodies: bodies[:9])
    assert tampered(saferun, *outside) == (
        "The external checkpoint vouches for 12 entries, and the ledger has 9: "
        "its tail was cut off."
    )
    assert saferun("ledger", "verify").exit_code == 2


def test_a_cut_tail_is_found_by_the_mark_beside_the_store(saferun, outside, database) -> None:
    Path("later.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    with Reader(database) as reader:
        signer = reader.signer()
    with closing(sqlite3.connect(database)) as connection, connection:
        bodies = [row[0] for row in connection.execute("SELECT body FROM entry")][:12]
        written(connection, bodies, signer)
    assert "has lost its end" in tampered(saferun, *outside)
    for command in (("prove", "5"), ("consistency", "9", "12")):
        result = saferun("ledger", *command)
        assert (result.exit_code, result.stdout) == (64, "")
        assert "has lost its end" in result.stderr
    # What is left is shown, and that it is not all.
    for command in (("run", "list"), ("ledger", "search")):
        result = saferun(*command)
        assert (result.exit_code, result.stdout != "") == (0, True)
        assert "has lost its end" in result.stderr


def test_a_rewrite_that_leaves_the_marks_note_in_the_database(saferun, outside, database) -> None:
    mark = saferun("ledger", "checkpoint").stdout_bytes
    with Reader(database) as reader:
        forger = Signer(reader.origin, b"f" * 32)
    with closing(sqlite3.connect(database)) as connection, connection:
        bodies = [row[0] for row in connection.execute("SELECT body FROM entry")]
        written(connection, smaller(5)(bodies), forger)
        connection.execute("UPDATE checkpoint SET note = ?", (mark,))
    assert "are not those that the local checkpoint" in tampered(saferun)


def test_a_rewrite_of_one_field_and_of_all_that_rests_on_it(saferun, outside, forge) -> None:
    forge(smaller(5))
    assert tampered(saferun, *outside) == (
        "The first 12 entries are not those that the external checkpoint of that size vouches for."
    )
    assert saferun("ledger", "verify").exit_code == 2


def test_a_receipt_that_was_handed_out_before_the_rewrite_still_proves_what_was(
    saferun, outside, forge
) -> None:
    saferun("ledger", "prove", "5", "-o", "five.tlog-proof")
    forge(smaller(5))
    result = saferun("ledger", "check", "five.tlog-proof", "--vkey", "kept.key")
    assert (result.exit_code, "450000" in result.stdout) == (0, True)


def test_a_dropped_archive(saferun, outside, database) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE entry SET body = x'' WHERE seq BETWEEN 1 AND 4")
    sentence = "Entry 1 is empty, and no archive entry says where its bytes are."
    assert tampered(saferun, *outside) == sentence


def test_an_archive_entry_of_ones_own_around_a_checkpoint_that_is_known_to_all(
    saferun, outside, database
) -> None:
    Path("later.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    emptied(database, Path("later.note").read_text("utf-8"))
    sentence = (
        "Entry 23 says what was archived, and its note says otherwise or is not signed by the "
        "ledger's key."
    )
    assert tampered(saferun, *outside) == sentence
    assert tampered(saferun, "--since", "later.note", "--vkey", "kept.key") == sentence
    # Nor does the key's holder, who knows nothing of it, ever put a name to it.
    result = saferun("ledger", "checkpoint")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "the ledger's key has not signed that. Nothing was signed" in result.stderr
    # Nothing takes what is gone for archived.
    assert "keeps of its archives was changed" in " ".join(saferun("doctor").stdout.split())
    assert saferun("ledger", "export", "--format", "jsonl", "history.jsonl").exit_code == 64


def test_the_same_with_keys_of_ones_own_in_what_the_database_says_of_itself(
    saferun, outside, database
) -> None:
    Path("later.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    with Reader(database) as reader:
        name, [(_, vkey)] = reader.origin, reader.named_keys().vkeys
    forger = Signer(name, b"f" * 32)
    later = open_checkpoint(Path("later.note").read_bytes(), [Verifier(vkey)])
    said = Archival(name, 0, later.size, later.root, bytes(32))
    note = sign_archival(said, forger).decode()
    emptied(database, note)
    named = json.dumps([[0, forger.vkey()], [1, vkey]])
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'vkeys'", (named,))
    result = saferun("ledger", "checkpoint")
    assert "the ledger's key has not signed that. Nothing was signed" in result.stderr


def emptied(database: Path, note: str) -> None:
    """What whoever has the database alone can do: bodies are gone, and an entry says why."""
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute("SELECT body, leaf FROM entry ORDER BY seq").fetchall()
        size, root = len(rows), note.split("\n")[2].rpartition(" ")[2]
        said = ArchiveEntry(first=0, size=size, root=root, note=note, by="dana")
        body = seal(size, json.loads(rows[-1][0])["time"], encode(said))
        tree = Frontier()
        for leaf in (*(leaf for _, leaf in rows), leaf_hash(body)):
            tree.append(leaf)
        connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (size, body, leaf_hash(body)))
        connection.execute("INSERT INTO archive VALUES (0, ?, ?)", (size, size))
        connection.execute("UPDATE entry SET body = x'' WHERE seq BETWEEN 1 AND 4")
        connection.execute(
            "UPDATE head SET size = ?, frontier = ? WHERE seq = -1", (tree.size, tree.encode())
        )


def test_a_fork(saferun, outside, forge) -> None:
    Path("later.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    forge(smaller(16))
    assert saferun("ledger", "verify", *outside).exit_code == 0
    later = ("--checkpoint", "later.note", "--vkey", "kept.key")
    assert "The first 23 entries are not those" in tampered(saferun, *later)
    result = saferun("ledger", "consistency", "kept.note", "later.note")
    assert (result.exit_code, "the ledger was changed" in result.stderr) == (64, True)


def test_a_reordering(saferun, outside, forge) -> None:
    forge(lambda bodies: [*bodies[:4], bodies[5], bodies[4], *bodies[6:]])
    assert tampered(saferun, *outside) == "Entry 4 was put there from elsewhere: it says 5."


def test_an_inner_node_as_a_leaf(saferun, outside, forge) -> None:
    def shrunk(bodies: Bodies) -> Bodies:
        left, right = (leaf_hash(body) for body in bodies[:2])
        return [left + right, *bodies[2:]]

    forge(shrunk)
    assert "does not begin with its seq, time and kind" in tampered(saferun, *outside)


def test_an_old_checkpoint_replayed(saferun, outside, forge) -> None:
    Path("later.note").write_bytes(saferun("ledger", "checkpoint").stdout_bytes)
    forge(lambda bodies: bodies[:12])
    # Whoever is handed the old one alone sees nothing past it, and nothing wrong.
    result = saferun("ledger", "verify", *outside)
    assert (result.exit_code, "past it   0 entries" in result.stdout) == (0, True)
    later = ("--checkpoint", "later.note", "--vkey", "kept.key")
    assert "its tail was cut off" in tampered(saferun, *later)


def test_swapped_ledgers(saferun, outside, database) -> None:
    Store("sqlite:///other/other.db").close()
    result = saferun("ledger", "verify", *outside, "--store", "sqlite:///other/other.db")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "is of the ledger 'saferun/default/" in result.stderr


def test_a_ledger_begun_anew_under_the_old_name_by_another_key(saferun, outside, database) -> None:
    with Reader(database) as reader:
        name = reader.origin
    forger = Signer(name, b"f" * 32)
    vkey = Path("kept.key").read_text("utf-8").strip().encode()
    with closing(sqlite3.connect(database)) as connection, connection:
        bodies = [row[0] for row in connection.execute("SELECT body FROM entry")]
        bodies[0] = bodies[0].replace(vkey, forger.vkey().encode())
        written(connection, bodies, forger)
    sentence = tampered(saferun, "--vkey", "kept.key")
    assert "The key that was given is none of those that the ledger states" in sentence


def test_not_found_what_the_keys_holder_rewrites_after_the_last_checkpoint_outside(
    saferun, outside, forge
) -> None:
    forge(smaller(16))
    result = saferun("ledger", "verify", *outside)
    assert result.exit_code == 0
    # What is said instead is how much that could be.
    assert "the 11 after it are consistent but not anchored" in " ".join(result.stdout.split())


def test_not_found_what_the_keys_holder_rewrites_where_nothing_was_kept_outside(
    saferun, outside, forge
) -> None:
    forge(smaller(5))
    result = saferun("ledger", "verify")
    assert result.exit_code == 2
    assert "past it   23 entries" in result.stdout
