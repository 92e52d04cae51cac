"""`saferun run label`: a person's word on a call, and where it is read again."""

import json

import pytest

from cli.project import lines
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.labels import labels


@pytest.fixture
def dana(saferun, history, tmp_path, monkeypatch):
    """The command, as somebody who is logged in, on a store that holds a run."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    assert saferun("login", "dana", "--new").exit_code == 0
    return saferun


def known(database) -> dict[int, str]:
    with Reader(database) as reader, Index(reader) as index:
        index.build()
        return {each.of: each.mark for each in labels(index).values()}


@pytest.mark.parametrize(
    ("written", "mark"), [("+", "right"), ("right", "right"), ("-", "false"), ("false", "false")]
)
def test_a_label_is_an_entry_of_the_ledger(dana, database, written, mark) -> None:
    [said] = lines(dana("run", "label", "r-ref#3", written, "--reason", "too much", "--json"))
    assert (said["mark"], said["by"], said["reason"]) == (mark, "dana", "too much")
    assert known(database) == {said["of"]: mark}
    [found] = lines(dana("ledger", "search", "--kind", "label", "--json"))
    assert (found["seq"], found["run"], found["tool"]) == (said["seq"], "r-refunds", "refund")


def test_the_last_word_on_a_call_holds(dana, database) -> None:
    dana("run", "label", "r-refunds#3", "+")
    [said] = lines(dana("run", "label", "r-refunds#3", "-", "--json"))
    assert known(database) == {said["of"]: "false"}
    dana("run", "label", "r-refunds#3", "?")
    assert known(database) == {}


def test_a_frame_shows_its_label_and_the_run_is_as_long_as_before(dana) -> None:
    [before] = lines(dana("run", "show", "r-refunds", "--json"))
    dana("run", "label", "r-refunds#4", "-", "--reason", "It was owed.")
    shown = dana("run", "show", "r-refunds", "--frame", "4").stdout
    assert "to stop it would be a false alarm, says dana: It was owed." in shown
    [after] = lines(dana("run", "show", "r-refunds", "--json"))
    assert len(after["frames"]) == len(before["frames"])
    assert after["frames"][3]["label"]["mark"] == "false"
    [run] = lines(dana("run", "list", "--json"))
    assert run["integrity"] == "whole"


def test_the_ledger_verifies_with_labels_in_it(dana) -> None:
    dana("run", "label", "r-refunds#3", "+")
    assert json.loads(dana("ledger", "verify", "--json").stdout)["state"] == "unanchored"


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        ("r-refunds", "+"),
        ("r-refunds#0", "+"),
        ("r-refunds#99", "+"),
        ("r-refunds#²", "+"),
        ("r-refunds#1", "+"),
        ("r-nobody#1", "+"),
        ("r-refunds#3", "bad"),
    ],
)
def test_what_names_no_call_or_says_nothing_is_refused(dana, database, frame, mark) -> None:
    result = dana("run", "label", frame, mark)
    assert result.exit_code == 64
    assert known(database) == {}


def test_nobody_labels_without_a_secret(saferun, history, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "none"))
    assert saferun("run", "label", "r-refunds#3", "+").exit_code == 64


def test_nobody_labels_in_the_name_of_another(dana, database, tmp_path) -> None:
    secret = tmp_path / "login" / "dana.secret"
    secret.write_text("guessed\n", encoding="utf-8")
    assert dana("run", "label", "r-refunds#3", "+").exit_code != 0
    assert known(database) == {}
