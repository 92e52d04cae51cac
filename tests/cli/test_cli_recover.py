"""`saferun ledger recover`: what nobody knows the end of, and a person who has found out."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli.project import lines
from cli.test_cli_run import HOSTILE, harmless
from dying import paying, payment
from saferun import Gate, Outcome
from saferun.ledger import read
from saferun.policy import loads
from saferun.store import Reader

POLICY = """
version: 1
name: desk
tools:
  pay:
    effect: write
    args: {x: {type: integer}, note: {type: string, optional: true}}
    limits: [{id: times, max: 5, per: user}]
    redact: [result.card]
"""


@pytest.fixture
def store(database: Path) -> Path:
    return database.absolute()


@pytest.fixture
def dana(saferun, store, monkeypatch) -> str:
    monkeypatch.setenv("SAFERUN_LOGIN", str(Path("login").absolute()))
    assert saferun("login", "dana", "--new").exit_code == 0
    return "dana"


@pytest.fixture
def living(store: Path) -> Iterator[subprocess.Popen[bytes]]:
    agent = paying(store, ({"x": 4}, "c-1"), dies=False)
    yield agent
    agent.communicate()


def unknown(saferun) -> list[dict]:
    [told] = lines(saferun("ledger", "recover", "--json"))
    return told["unknown"]


def test_where_every_end_is_known_it_exits_0(saferun, history) -> None:
    result = saferun("ledger", "recover")
    assert result.exit_code == 0
    assert result.stdout == "✓ There is no call of which nobody knows how it ended.\n"
    [told] = lines(saferun("ledger", "recover", "--json"))
    assert told == {"unknown": [], "running": []}


def test_what_a_dead_process_left_is_recorded_and_listed(saferun, store) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=POLICY)
    result = saferun("ledger", "recover")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "Nobody knows how 1 call ended" in said
    assert 'args {"x": 4}' in said
    assert "run r-1, agent support, user maria, tenant acme" in said
    assert f"owner {os.uname().nodename}" in said
    assert "not idempotent: it must not simply be made again" in said
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_for_programs_it_has_all_that_is_known(saferun, store) -> None:
    paying(store, ({"x": 4}, "c-1"))
    result = saferun("ledger", "recover", "--json")
    [told] = lines(result)
    [call] = told["unknown"]
    assert (result.exit_code, told["running"]) == (1, [])
    assert (call["tool"], call["args"], call["run"], call["user"]) == (
        "pay",
        {"x": 4},
        "r-1",
        "maria",
    )
    assert (call["alive"], call["idempotent"]) == (False, None)
    assert len(call["digest"]) == 32
    assert call["boot"]


def test_what_is_still_running_is_shown_apart(saferun, store, living) -> None:
    result = saferun("ledger", "recover")
    assert result.exit_code == 0
    assert "Still running" in result.stdout
    [told] = lines(saferun("ledger", "recover", "--json"))
    assert [call["alive"] for call in told["running"]] == [True]
    assert told["unknown"] == []


def test_what_is_still_running_is_not_settled_by_a_person(saferun, store, living, dana) -> None:
    [told] = lines(saferun("ledger", "recover", "--json"))
    of = str(told["running"][0]["seq"])
    result = saferun("ledger", "recover", of, "--outcome", "failed", "--reason", "it hangs")
    assert result.exit_code == 1
    assert "still under way" in result.stderr


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("happened", "ok"), ("not-happened", "not_started"), ("failed", "error")],
)
def test_a_person_settles_it_once(saferun, store, dana, outcome, status) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=POLICY)
    [call] = unknown(saferun)
    settle = ("ledger", "recover", str(call["seq"]), "--outcome", outcome, "--reason", "I asked")
    result = saferun(*settle)
    assert result.exit_code == 0
    assert f"entry {call['seq']}: {outcome.replace('-', ' ')}, says dana" in result.stdout
    with Reader(store) as reader:
        last = read(list(reader.rows())[-1][1])
    assert (last.fields["of"], last.fields["status"]) == (call["seq"], status)
    assert (last.fields["by"], last.fields["reason"]) == ("dana", "I asked")
    assert (last.fields["tool"], last.fields["agent"]) == ("pay", "support")
    again = saferun(*settle)
    assert again.exit_code == 1
    assert "settled already" in again.stderr
    assert unknown(saferun) == []
    assert saferun("ledger", "verify").exit_code == 2


def test_the_same_call_is_told_what_the_person_has_found_out(saferun, store, dana) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=POLICY)
    [call] = unknown(saferun)
    given = '{"card": "4111 1111 1111 1111", "paid": 4}'
    reason = "the bank says so, token sk-ant-REDACTED"
    saferun(
        *("ledger", "recover", str(call["seq"]), "--outcome", "happened"),
        *("--result", given, "--reason", reason),
    )
    gate = Gate(policy=loads(POLICY))
    decision = gate.check(payment({"x": 4}, "c-1"))
    assert decision.starts is False
    assert decision.outcome is not None
    assert decision.outcome.result["paid"] == 4
    with Reader(store) as reader:
        whole = b"".join(body for _, body, _ in reader.rows())
    assert b"4111" not in whole
    assert b"abcdefghij" not in whole


def test_what_did_not_happen_may_be_made_again(saferun, store, dana) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=POLICY)
    [call] = unknown(saferun)
    result = saferun(
        *("ledger", "recover", str(call["seq"]), "--outcome", "not-happened", "--reason", "no")
    )
    assert "1 limit has back what it counted for" in " ".join(result.stdout.split())
    assert Gate(policy=loads(POLICY)).check(payment({"x": 4}, "c-1")).starts


SENSITIVE = """
version: 1
name: desk
tools:
  pay:
    effect: write
    args: {x: {type: integer}, note: {type: string, optional: true}}
    sensitive: [result.*, args.note]
"""


@pytest.mark.parametrize(
    "result",
    [
        '"maria@example.com"',
        '["maria@example.com"]',
        '{"to": "maria@example.com", "at": [1, {"cc": "maria@example.com"}]}',
    ],
)
def test_what_policy_calls_sensitive_in_a_result_is_nowhere_in_clear(
    saferun, store, dana, result
) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=SENSITIVE)
    [call] = unknown(saferun)
    settle = ("ledger", "recover", str(call["seq"]), "--outcome", "happened", "--reason", "I asked")
    assert saferun(*settle, "--result", result).exit_code == 0
    saferun("ledger", "search", "pay")
    files = [each for each in store.parent.glob("saferun.db*") if each.is_file()]
    assert not [each.name for each in files if b"maria@example" in each.read_bytes()]


def test_no_result_is_taken_where_nobody_can_tell_what_is_sensitive_in_it(
    saferun, store, dana
) -> None:
    paying(store, ({"x": 4}, "c-1"), policy=SENSITIVE)
    [call] = unknown(saferun)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DELETE FROM version")
    settle = ("ledger", "recover", str(call["seq"]), "--outcome", "happened", "--reason", "I asked")
    refused = saferun(*settle, "--result", '"maria@example.com"')
    assert (refused.exit_code, "leave out --result" in refused.stderr) == (64, True)
    assert saferun(*settle).exit_code == 0


def test_a_secret_of_somebody_else_settles_nothing(saferun, store, dana) -> None:
    paying(store, ({"x": 4}, "c-1"))
    [call] = unknown(saferun)
    Path("login/dana.secret").write_text("guess\n", "ascii")
    settle = ("ledger", "recover", str(call["seq"]), "--outcome", "failed", "--reason", "so")
    result = saferun(*settle)
    assert result.exit_code == 1
    assert "not dana's" in result.stderr
    [told] = lines(saferun(*settle, "--json"))
    assert (told["settled"], "not dana's" in told["refused"]) == (False, True)
    assert len(unknown(saferun)) == 1


def test_what_may_still_happen_is_not_said_not_to_have_happened(saferun, store, dana) -> None:
    gate = Gate(policy=loads(POLICY))
    decision = gate.check(payment({"x": 4}, "c-1"))
    gate.settle(decision, Outcome(status="unknown", error="TimeoutError: slow"))
    gate.store.flush()
    listed = saferun("ledger", "recover")
    assert "may yet do its work" in listed.stdout
    assert "TimeoutError: slow" in listed.stdout
    settle = ("ledger", "recover", str(decision.seq), "--reason", "so", "--outcome")
    assert saferun(*settle, "not-happened").exit_code == 1
    assert saferun(*settle, "happened").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("7", "--outcome", "happened"),
        ("7", "--reason", "so"),
        ("7", "--outcome", "maybe", "--reason", "so"),
        ("7", "--outcome", "failed", "--reason", ""),
        ("7", "--outcome", "failed", "--reason", "x" * 2_001),
        ("7", "--outcome", "failed", "--reason", "so", "--result", "1"),
        ("7", "--outcome", "happened", "--reason", "so", "--result", "{"),
        ("7", "--outcome", "happened", "--reason", "so", "--result", "[" * 100_000),
        ("--outcome", "happened", "--reason", "so"),
        ("-3",),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_and_no_answer(saferun, history, dana, words) -> None:
    result = saferun("ledger", "recover", *words)
    assert (result.exit_code, result.stdout) == (64, "")


def test_no_store_is_made_by_looking(saferun, store) -> None:
    result = saferun("ledger", "recover")
    assert (result.exit_code, "There is no store" in result.stderr) == (64, True)
    assert not store.exists()


def test_what_a_model_said_moves_no_cursor(saferun, store) -> None:
    paying(store, ({"x": 4, "note": HOSTILE}, "c-1"))
    assert harmless(saferun("ledger", "recover").stdout)


def test_doctor_tells_of_them(saferun, store) -> None:
    paying(store, ({"x": 4}, "c-1"))
    saferun("ledger", "recover")
    assert "nobody knows how 1 call ended" in saferun("doctor").stdout


def test_many_are_cut_for_people_and_whole_for_programs(saferun, store) -> None:
    paying(store, *(({"x": each}, f"c-{each}") for each in range(60)))
    assert len(unknown(saferun)) == 60
    assert "… 10 more" in saferun("ledger", "recover").stdout


# A torn store.


@pytest.fixture
def torn(history, store: Path) -> Path:
    """A store without its first page."""
    with closing(sqlite3.connect(store)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with store.open("r+b") as file:
        file.write(bytes(4096))
    return store


def test_a_store_that_is_whole_is_saved_whole(saferun, history, store) -> None:
    result = saferun("ledger", "recover", "--salvage", "new.db")
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ All of it is saved: saferun/default/")
    assert "not all" not in result.stdout


def test_what_is_lost_of_a_torn_store_is_told(saferun, torn) -> None:
    assert saferun("ledger", "verify").exit_code == 64
    result = saferun("ledger", "recover", "--salvage", "new.db")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "entries 12 saved" in said
    assert "people and their secrets; not all could be read" in said
    assert "those that are lost start anew" in said
    assert "Put the folder .saferun/keys beside it" in said
    assert max(map(len, result.stdout.splitlines())) <= 80
    shutil.copytree(torn.parent / "keys", "keys")
    verified = saferun("ledger", "verify", "--store", "sqlite:///new.db")
    assert verified.exit_code == 2


def test_for_programs_it_says_table_by_table_what_is_saved(saferun, torn) -> None:
    [told] = lines(saferun("ledger", "recover", "--salvage", ".saferun/new.db", "--json"))
    assert (told["entries"], told["whole"], told["lost_entries"]) == (12, False, 0)
    assert {"name": "person", "saved": 0, "whole": False} in told["tables"]


def test_a_store_is_never_saved_over_another(saferun, torn) -> None:
    Path("new.db").write_bytes(b"mine")
    result = saferun("ledger", "recover", "--salvage", "new.db")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "is there already" in result.stderr
    assert Path("new.db").read_bytes() == b"mine"


def test_salvage_goes_with_nothing_that_settles(saferun, torn) -> None:
    assert saferun("ledger", "recover", "3", "--salvage", "new.db").exit_code == 64
