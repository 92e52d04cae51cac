"""Whatever a command is told to write, and wherever: the store's own files are never written over.

And whatever is given as a number or as text, the answer is a sentence and no fault.
"""

from pathlib import Path

import pytest

OWN = (
    "saferun.db",
    "saferun.db-wal",
    "saferun.db.lock",
    "keys/default.signing.key",
    "keys/default.checkpoint",
    "keys/new",
)


def _kept() -> dict[str, bytes]:
    return {
        str(file): file.read_bytes()
        for file in sorted(Path(".saferun").rglob("*"))
        if file.is_file() and ".index" not in file.name and not file.name.endswith("-shm")
    }


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "prove", "5", "-o"),
        ("ledger", "export", "--format", "jsonl"),
        ("ledger", "export", "--format", "csv"),
        ("ledger", "recover", "--salvage"),
        ("ledger", "backup", "--force"),
        ("run", "export", "r-refunds", "--html"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_nothing_of_the_store_is_written_over(saferun, history, command, name) -> None:
    assert saferun("ledger", "checkpoint").exit_code == 0
    before = _kept()
    result = saferun(*command, f".saferun/{name}")
    assert result.exit_code == 64
    told = result.stderr.replace("\n", " ")
    # Of what is there already, salvage says that much.
    assert "is the store's own; name a file elsewhere" in told or "is there already" in told
    assert _kept() == before


def test_a_receipt_is_not_written_through_a_link_to_the_store(saferun, history, database) -> None:
    Path("receipt").symlink_to(database)
    before = database.read_bytes()
    assert saferun("ledger", "prove", "5", "-o", "receipt").exit_code == 64
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        ("ledger", "search", "-n"),
        ("run", "list", "-n"),
        ("run", "near", "-n"),
        ("control", "status", "-n"),
        ("ledger", "recover", "--outcome", "happened", "--reason", "x"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("number", [str(2**63 - 1), str(2**63), "9" * 30])
def test_a_number_that_nothing_counts_to_is_a_mistake(saferun, history, command, number) -> None:
    result = saferun(*command, number)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "less than or equal to" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("ledger", "erase", "--dry-run"), "--subject"),
        (("ledger", "erase", "--dry-run", "--subject", "maria"), "--tenant"),
        (("ledger", "erase", "--yes", "--subject", "maria"), "--reason"),
        (("ledger", "recover", "3", "--outcome", "failed"), "--reason"),
    ],
    ids=[
        "whose data is erased",
        "of which tenant",
        "why it is erased",
        "how it is known",
    ],
)
def test_bytes_that_are_no_text_are_a_mistake(saferun, history, command, option) -> None:
    result = saferun(*command, option, "\udcff")
    assert (result.exit_code, result.stdout) == (64, "")
    assert f"What {option} says is no text in UTF-8." in result.stderr
