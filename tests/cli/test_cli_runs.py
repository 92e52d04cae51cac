"""`saferun run list` by filters, `run show --frame` and `run diff`."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys

import pytest

from cli.project import lines, live
from cli.test_cli_run import HOSTILE, harmless
from guarding import Yes
from recording import tamper
from saferun import Gate, guard


def ids(result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [run["run_id"] for run in lines(result)]


@pytest.fixture
def quiet(history) -> None:
    """A second run, to which nothing happened."""
    gate = Gate(policy="production", approvals=Yes("desk"))

    @guard(gate=gate)
    def refund(order_id: str, amount: int, currency: str = "USD") -> str:
        return "done"

    with gate.run(run_id="r-quiet", agent="billing", user="jo"):
        refund("B-2", 10)
    gate.close()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["r-quiet", "r-refunds"]),
        (("--denied",), ["r-refunds"]),
        (("--asked",), ["r-refunds"]),
        (("--near-miss",), ["r-refunds"]),
        (("--error",), []),
        (("--stopped",), []),
        (("--agent", "billing"), ["r-quiet"]),
        (("--user", "maria"), ["r-refunds"]),
        (("--tool", "refund"), ["r-quiet", "r-refunds"]),
        (("--tool", "mail"), []),
        (("--text", "duplicate charge"), ["r-refunds"]),
        (("--text", "B-2", "--agent", "billing"), ["r-quiet"]),
        (("--since", "1h"), ["r-quiet", "r-refunds"]),
        (("--until", "1h"), []),
        (("--denied", "--limit", "1"), ["r-refunds"]),
    ],
)
def test_a_list_has_the_runs_that_are_asked_for(saferun, quiet, options, found) -> None:
    assert ids(saferun("run", "list", "--json", *options)) == found


def test_a_time_that_is_none_is_a_usage_error(saferun, history) -> None:
    assert saferun("run", "list", "--since", "yesterday").exit_code == 64


def test_a_list_says_that_a_run_is_whole(saferun, history) -> None:
    [run] = lines(saferun("run", "list", "--json"))
    assert (run["integrity"], run["near"], run["failed"]) == ("whole", 1, 0)


def test_a_list_names_entries_that_were_changed(saferun, history, database) -> None:
    [run] = lines(saferun("run", "list", "--json"))
    [shown] = lines(saferun("run", "show", history, "--json"))
    seq = shown["frames"][1]["seq"]
    tamper(database, seq, b"4000", b"4001")
    [run] = lines(saferun("run", "list", "--json"))
    assert (run["integrity"], run["unreadable"]) == ("changed", [seq])
    assert f"1 entry cannot be read ({seq})" in saferun("run", "list").stdout


def test_a_list_says_that_the_index_tells_another_story(saferun, history, database) -> None:
    saferun("run", "list")
    index = database.with_name(database.name + ".index")
    with contextlib.closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE synopsis SET denied = 0")
    said = " ".join(saferun("run", "list").stdout.split())
    assert "The ledger has another story of run r-refunds than the search index." in said


def test_a_list_that_follows_tells_each_run_that_moves(history) -> None:
    command = [sys.executable, "-m", "saferun", "run", "list", "--follow", "--json"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["run_id"] == "r-refunds"
        live("r-later")
        told = json.loads(following.stdout.readline())
        while told["ended"] is None:
            told = json.loads(following.stdout.readline())
        assert (told["run_id"], told["denied"]) == ("r-later", 1)
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 0
    finally:
        following.kill()
        following.wait()
        following.stdout.close()


# One frame.


def test_one_frame_shows_what_its_conditions_saw_and_what_differs(saferun, history) -> None:
    said = saferun("run", "show", history, "--frame", "3").stdout
    assert "✕ refund  denied by refund.args" in said
    assert "✕ args.amount <= 100000  450000" in said
    assert "differs  from frame 2: amount  4000 → 450000" in said
    assert "ledger   ✓ signed: #" in said
    assert "I will refund it." not in said


def test_one_frame_says_why_it_was_a_near_miss(saferun, history) -> None:
    said = saferun("run", "show", history, "--frame", "4").stdout
    assert "near     a person was asked, and said yes" in said


def test_one_frame_is_one_document_for_programs(saferun, history) -> None:
    [frame] = lines(saferun("run", "show", history, "--frame", "4", "--json"))
    assert (frame["number"], frame["kind"], frame["standing"]) == (4, "call", "signed")
    assert frame["since"]["number"] == 3
    assert {each["standing"] for each in frame["vouched"]} == {"signed"}


def test_a_tampered_entry_is_shown_at_its_frame_and_nothing_of_what_it_says(
    saferun, history, database
) -> None:
    [before] = lines(saferun("run", "show", history, "--json"))
    seq = before["frames"][1]["seq"]
    tamper(database, seq, b"4000", b"4321")
    said = saferun("run", "show", history, "--frame", "2").stdout
    assert "! entry  changed" in said
    assert f"! Entry {seq} was changed: its bytes do not give the leaf stored" in said
    assert "4321" not in said
    for number in ("1", "3", "4"):
        assert "✓ signed" in saferun("run", "show", history, "--frame", number).stdout


@pytest.mark.parametrize("number", ["5", "99999"])
def test_a_frame_that_there_is_not_is_a_usage_error(saferun, history, number) -> None:
    result = saferun("run", "show", history, "--frame", number)
    assert (result.exit_code, "the run has 4" in result.stderr) == (64, True)


def test_hostile_values_are_inert_in_a_close_up_and_in_a_difference(saferun, policy) -> None:
    live("r-one", order=HOSTILE, result=HOSTILE)
    live("r-two", order=HOSTILE + "2", result=HOSTILE + "2")
    for number in range(1, 5):
        assert harmless(saferun("run", "show", "r-one", "--frame", str(number)).stdout)
    said = saferun("run", "diff", "r-one", "r-two")
    assert said.exit_code == 1
    assert harmless(said.stdout)
    assert "owned" in said.stdout


# Two runs.


def test_two_runs_that_did_the_same_never_part(saferun, history) -> None:
    live("r-again")
    result = saferun("run", "diff", history, "r-again")
    assert result.exit_code == 0, result.stdout
    assert "✓ They never part." in result.stdout
    assert "4 frames the same" in result.stdout


def test_where_two_runs_part_is_pinned(saferun, history) -> None:
    live("r-other", order="B-2")
    result = saferun("run", "diff", history, "r-other")
    assert result.exit_code == 1
    assert "✕ They part at frame 2 | frame 2:" in result.stdout
    assert 'order_id  "A-17" → "B-2"' in result.stdout
    [pinned] = [line for line in result.stdout.splitlines() if line.startswith("▶")]
    assert pinned.endswith("args")


def test_two_runs_are_one_document_for_programs(saferun, history) -> None:
    live("r-other", order="B-2")
    [told] = lines(saferun("run", "diff", history, "r-other", "--json"))
    assert told["divergence"] == {"one": 2, "other": 2, "differs": ["args"]}
    assert (told["same"], told["differ"]) == (1, 3)
    assert len(told["pairs"]) == 4


def test_a_difference_leaves_out_what_is_the_same_unless_all_is_wanted(saferun, quiet) -> None:
    short = saferun("run", "diff", "r-quiet", "r-quiet").stdout
    whole = saferun("run", "diff", "r-quiet", "r-quiet", "--full").stdout
    assert ("1 refund allow" in short, "1 refund allow" in whole) == (False, True)


@pytest.mark.parametrize("width", [40, 80])
def test_every_line_of_a_difference_fits(saferun, history, monkeypatch, width) -> None:
    live("r-other", order="B-2", result="another")
    monkeypatch.setenv("COLUMNS", str(width))
    pairs = saferun("run", "diff", history, "r-other").stdout.split("\n\n")[-1]
    assert max(map(len, pairs.splitlines())) <= width


def test_long_ids_leave_room_for_who_it_was(saferun, policy, monkeypatch) -> None:
    gate = Gate(policy="production")
    for number in range(2):
        with gate.run(run_id=f"{'of-a-long-name/' * 6}{number}", agent="banking") as run:
            run.model("I will look.")
    gate.close()
    monkeypatch.setenv("COLUMNS", "80")
    listed = saferun("run", "list").stdout
    assert listed.count("banking") == 2
    assert max(map(len, listed.splitlines())) <= 80
