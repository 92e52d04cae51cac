"""`saferun doctor`."""

import re
import shutil
import sqlite3
import time
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest

from cli.project import PEOPLE, lines
from saferun.store import Store


def looked(saferun, *options: str) -> dict[str, list[dict[str, str]]]:
    """What doctor says, by the name of what it looked at."""
    [told] = lines(saferun("doctor", *options, "--json"))
    found: dict[str, list[dict[str, str]]] = {}
    for check in told["checks"]:
        found.setdefault(check["name"], []).append(check)
    return found


def wrong(found: dict[str, list[dict[str, str]]]) -> set[str]:
    return {name for name, checks in found.items() for each in checks if each["state"] == "error"}


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.fixture
def configured(policy) -> Path:
    file = Path("saferun.toml")
    file.write_text(f'policy = "production"\n{PEOPLE}', "utf-8")
    return file


def test_a_sound_project_has_nothing_wrong(saferun, configured, history) -> None:
    result = saferun("doctor")
    assert result.exit_code == 0
    assert "✓  configuration  saferun.toml\n" in result.stdout
    assert "✓  policy file    policies/production.yaml\n" in result.stdout
    assert "12 entries" in result.stdout
    assert "Nothing is wrong" in result.stdout.splitlines()[-1]


def test_looking_makes_nothing(saferun, configured) -> None:
    before = tree(Path())
    result = saferun("doctor")
    assert result.exit_code == 0
    assert "!  store" in result.stdout
    assert tree(Path()) == before


def test_looking_at_a_store_changes_nothing_in_it(saferun, configured, history, database) -> None:
    (database.parent / "keys" / "digest.key").unlink()
    before = tree(Path())
    saferun("doctor")
    assert tree(Path()) == before


def test_without_a_policy_tools_are_only_observed(saferun) -> None:
    [said] = looked(saferun)["policy"]
    assert (said["state"], said["found"]) == (
        "warning",
        "no policy: tools are observed, and only loops, breakers and stops deny",
    )


def test_a_policy_that_does_not_load_is_wrong(saferun, configured) -> None:
    configured.write_text('policy = "staging"\n', "utf-8")
    result = saferun("doctor")
    assert result.exit_code == 1
    assert "✕  policy " in result.stdout


def test_every_policy_file_is_checked(saferun, configured) -> None:
    Path("policies/broken.yaml").write_text("version: 2\n", "utf-8")
    Path("policies/odd.yaml").write_text("version: 1\ndefault: allow\n", "utf-8")
    states = {
        check["found"].split(":")[0]: check["state"] for check in looked(saferun)["policy file"]
    }
    assert states == {
        "policies/broken.yaml": "error",
        "policies/odd.yaml": "warning",
        "policies/production.yaml": "ok",
    }


def test_a_shadow_policy_is_said_to_stop_nothing(saferun, configured, policy) -> None:
    policy.write_text(policy.read_text("utf-8") + "mode: shadow\n", "utf-8")
    [said] = looked(saferun)["policy"]
    assert (said["state"], "stops nothing" in said["found"]) == ("warning", True)


def test_what_the_environment_has_won_over_is_named(saferun, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_POLICY", "staging")
    [said] = looked(saferun)["configuration"]
    assert said["found"] == "saferun.toml; SAFERUN_POLICY won over it"


def test_a_configuration_that_cannot_be_used_is_wrong_and_ends_the_look(saferun) -> None:
    Path("saferun.toml").write_text("stor = 1\n", "utf-8")
    result = saferun("doctor")
    assert result.exit_code == 1
    assert "did you mean 'store'?" in " ".join(result.stdout.split())
    assert looked(saferun).keys() == {"python", "packages", "configuration"}


def test_a_channel_that_there_is_none_of_is_wrong(saferun, configured, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_APPROVAL", "pigeon")
    assert wrong(looked(saferun)) == {"approval"}


def test_a_channel_that_reaches_nobody_is_worth_a_look(saferun, configured, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_APPROVAL", "terminal")
    monkeypatch.setattr(
        "saferun.channel.terminal.Terminal.unreachable", lambda _: "nobody is there"
    )
    [said] = looked(saferun)["approval"]
    assert (said["state"], said["found"]) == ("warning", "terminal: nobody is there")


def test_a_file_that_is_no_store_is_wrong(saferun, configured) -> None:
    Path("notes.txt").write_text("not a database, and long enough to be read as one" * 50, "utf-8")
    assert wrong(looked(saferun, "--store", "sqlite:///notes.txt")) == {"store"}


def test_a_store_of_another_ledger_is_wrong(saferun, configured, history, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_LEDGER", "staging")
    found = looked(saferun)
    assert wrong(found) == {"store"}
    assert "'default', not 'staging'" in found["store"][0]["found"]


def test_a_key_that_others_may_read_is_wrong(saferun, configured, history, database) -> None:
    key = database.parent / "keys" / "default.signing.key"
    key.chmod(0o644)
    found = looked(saferun)
    assert wrong(found) == {"key"}
    assert [check["advice"] for check in found["key"] if check["state"] == "error"] == [
        f"chmod 600 {key}"
    ]


def test_a_key_that_is_lost_is_wrong(saferun, configured, history, database) -> None:
    (database.parent / "keys" / "digest.key").unlink()
    assert wrong(looked(saferun)) == {"key"}


@pytest.mark.parametrize("name", ["digest.key", "default.signing.key"])
@pytest.mark.parametrize(
    ("held", "said"),
    [(f"{'A' * 43}=\n", "another digest key|not that of the ledger"), ("", "not 32 bytes")],
    ids=["another's", "empty"],
)
def test_a_key_that_is_not_the_stores_is_wrong(
    saferun, configured, history, database, name, held, said
) -> None:
    (database.parent / "keys" / name).write_text(held, "ascii")
    found = looked(saferun)
    assert wrong(found) == {"key"}
    [problem] = [check for check in found["key"] if check["state"] == "error"]
    assert re.search(said, problem["found"])
    lost = "the store cannot be opened" if name == "digest.key" else "nothing can be signed"
    assert problem["advice"] == f"Until then {lost}."


def test_a_program_that_signs_with_another_key_is_wrong(saferun, configured, history) -> None:
    with Path("saferun.toml").open("a", encoding="utf-8") as file:
        file.write(f'[signing]\ncommand = ["true"]\npublic_key = "{"A" * 43}="\n')
    Path(".saferun/keys/default.signing.key").unlink()
    assert wrong(looked(saferun)) == {"key"}


def test_a_key_from_the_environment_needs_no_file(
    saferun, configured, history, database, monkeypatch
) -> None:
    key = database.parent / "keys" / "default.signing.key"
    monkeypatch.setenv("SAFERUN_SIGNING_KEY", key.read_text("ascii"))
    key.unlink()
    assert wrong(looked(saferun)) == set()


def test_a_ledger_without_a_checkpoint_is_worth_a_look(
    saferun, configured, history, database
) -> None:
    assert looked(saferun)["checkpoint"][0]["state"] == "ok"
    with closing(sqlite3.connect(database)) as old, old:
        old.execute("DELETE FROM checkpoint")
    assert looked(saferun)["checkpoint"][0]["state"] == "warning"
    saferun("ledger", "checkpoint")
    assert looked(saferun)["checkpoint"][0]["found"] == "newest over 12 entries, 0 entries past it"


def test_a_clock_behind_the_newest_entry_is_worth_a_look(saferun, configured) -> None:
    ahead = time.time_ns() // 1000 + 3_600_000_000
    store = Store("sqlite:///.saferun/saferun.db", clock=lambda: ahead)
    from storing import admit

    store.commit(admit(store))
    store.close()
    [said] = looked(saferun)["clock"]
    assert (said["state"], "behind the newest entry" in said["found"]) == ("warning", True)


def test_an_entry_that_cannot_be_read_is_wrong(saferun, configured, history, database) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE entry SET body = '{}' WHERE seq = 11")
    connection.close()
    assert wrong(looked(saferun)) == {"clock"}


@pytest.mark.parametrize(
    ("free", "state"), [(10**8 - 1, "error"), (10**8, "warning"), (10**9, "ok")]
)
def test_a_disk_that_runs_full_is_said_in_time(saferun, configured, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free))
    assert looked(saferun)["disk"][0]["state"] == state


def test_doctor_says_what_to_do_about_everything_that_is_not_fine(saferun) -> None:
    for checks in looked(saferun).values():
        for check in checks:
            assert (check["state"] == "ok") == (check["advice"] is None)
