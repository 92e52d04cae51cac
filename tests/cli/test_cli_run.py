"""`saferun run list` and `show`."""

import io
import re
import sqlite3
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.project import lines, live
from saferun import Gate, guard
from saferun.call import span
from saferun.cli.run.page import Page
from saferun.cli.run.told import Told
from saferun.cli.screen import shown
from saferun.ledger import Entry
from saferun.policy import loads
from saferun.replay import story

HOSTILE = (
    "\x1b[2J\x1b[31m[red]owned[/red] \u202eyned\u202c \x9b1m\x07\r\u2066 :smile: [link=x]y[/link]"
)


def harmless(text: str) -> bool:
    """Whether a text can neither control a terminal nor turn its direction."""
    return all(
        char == "\n" or (char.isprintable() and unicodedata.category(char) != "Cf") for char in text
    )


def test_a_list_has_the_newest_run_first_with_its_counts(saferun, history) -> None:
    live("r-later", agent="billing", user=None)
    head, first, second = saferun("run", "list").stdout.splitlines()
    assert head.split() == ["run", "when", "who", "frames", "denied", "asked", "took"]
    assert first.startswith("r-later")
    assert "support for maria" in second
    assert second.split()[-6:-2] == ["✕", "1", "?", "1"]


def test_a_list_without_runs_says_so(saferun, policy) -> None:
    Gate(policy="production").store.close()
    result = saferun("run", "list")
    assert (result.exit_code, result.stdout.startswith("No runs yet.")) == (0, True)


def test_a_list_is_as_long_as_asked_for(saferun, policy) -> None:
    for number in range(3):
        live(f"r-{number}")
    listed = lines(saferun("run", "list", "--limit", "2", "--json"))
    assert [run["run_id"] for run in listed] == ["r-2", "r-1"]


def test_a_list_is_one_document_a_line_for_programs(saferun, history) -> None:
    [run] = lines(saferun("run", "list", "--json"))
    assert (run["run_id"], run["agent"], run["user"]) == ("r-refunds", "support", "maria")
    assert (run["frames"], run["denied"], run["asked"]) == (4, 1, 1)
    assert run["duration"] == run["ended"] - run["began"]


def test_a_run_shows_who_what_and_how_many(saferun, history) -> None:
    first, second, third, *_ = saferun("run", "show", history).stdout.splitlines()
    assert first == "Refund the duplicate charge on A-17."
    assert second.startswith("support for maria · run r-refunds · ")
    assert third.startswith("4 frames · ✕ 1 denied · ? 1 asked · $0.0041 · production @ ")


def test_every_frame_shows_what_was_asked_for_decided_and_done(saferun, history) -> None:
    said = saferun("run", "show", history).stdout
    model, allowed, denied, asked = said.split("\n\n")[1:]
    assert "1  ◇ model  small · 812 in · $0.0041" in model
    assert "said     I will refund it." in model
    assert "2  ✓ refund  allowed" in allowed
    assert 'args     amount=4000  currency="USD"  order_id="A-17"' in allowed
    assert 'result   "done"' in allowed
    assert "3  ✕ refund  denied by refund.args" in denied
    assert "because  amount may be at most 100000 (line 5)" in denied
    assert "result" not in denied
    assert "4  ? refund  asked, approved by dana" in asked
    assert "because  big-refund: Refunds above $200 need finance. (line 12)" in asked
    assert "asked    finance" in asked
    assert "answer   approved by dana after " in asked
    assert "(desk): a good customer" in asked


def test_a_frame_names_its_entry_in_the_ledger(saferun, history) -> None:
    shown_run = saferun("run", "show", history).stdout
    [document] = lines(saferun("run", "show", history, "--json"))
    for frame in document["frames"]:
        assert f"#{frame['seq']}\n" in shown_run


def test_a_run_is_one_document_for_programs(saferun, history) -> None:
    [run] = lines(saferun("run", "show", history, "--json"))
    assert run["prompt"] == "Refund the duplicate charge on A-17."
    assert [frame["kind"] for frame in run["frames"]] == ["model", "call", "call", "call"]
    assert run["frames"][2]["decision"]["verdict"] == "deny"
    assert run["frames"][1]["outcome"]["result"] == "done"


def test_the_beginning_of_an_id_is_enough(saferun, history) -> None:
    assert saferun("run", "show", "r-ref").stdout == saferun("run", "show", history).stdout


def test_a_beginning_that_is_not_unique_names_the_runs(saferun, history) -> None:
    live("r-returns")
    result = saferun("run", "show", "r-re")
    assert result.exit_code == 64
    assert "2 runs begin with 'r-re'" in result.stderr


def test_an_id_that_is_whole_wins_over_a_longer_one(saferun, history) -> None:
    live("r-refunds-2")
    assert "run r-refunds ·" in saferun("run", "show", "r-refunds").stdout


def test_an_unknown_id_says_which_is_meant(saferun, history) -> None:
    result = saferun("run", "show", "r-refnuds")
    assert result.exit_code == 64
    assert "did you mean 'r-refunds'?" in result.stderr


def test_ids_in_a_list_are_long_enough_to_tell_them_apart(saferun, policy) -> None:
    live("r-0123456789-one")
    live("r-0123456789-two")
    [_, second, first] = saferun("run", "list").stdout.splitlines()
    assert first.startswith("r-0123456789-o ")
    assert second.startswith("r-0123456789-t ")


@pytest.mark.parametrize("width", [24, 44, 60, 80])
def test_a_list_names_its_runs_on_the_narrowest_screen(saferun, policy, monkeypatch, width) -> None:
    live("r-0123456789-one")
    live("r-0123456789-two")
    monkeypatch.setenv("COLUMNS", str(width))
    head, second, first = saferun("run", "list").stdout.splitlines()
    assert first.startswith("r-0123456789-o  supp" if width < 80 else "r-0123456789-o  2")
    assert second.startswith("r-0123456789-t  ")
    assert ("denied" in head, "when" in head) == (width >= 44, width >= 80)


def test_a_call_that_took_too_long_is_no_process_that_ended(saferun, policy) -> None:
    text = """
version: 1
tools: {slow: {effect: write, args: {}, timeout: 10ms}}
"""
    gate = Gate(policy=loads(text))
    held = threading.Event()
    slow = guard(held.wait, name="slow", gate=gate)
    with gate.run(run_id="r-slow"), pytest.raises(TimeoutError):
        slow()
    held.set()
    gate.close()
    page = " ".join(saferun("run", "show", "r-slow").stdout.split())
    assert re.search(r"unknown, and it may still have happened: (\w+ )+took longer than", page)


def test_hostile_text_stands_there_as_what_it_is(saferun, policy) -> None:
    live("r-hostile", prompt=HOSTILE, order=HOSTILE, result={HOSTILE: HOSTILE})
    page = saferun("run", "show", "r-hostile").stdout
    assert page.count("[red]owned[/red]") > 5
    assert harmless(page)
    assert harmless(saferun("run", "list").stdout)


def test_json_is_ascii_whatever_was_said(saferun, policy) -> None:
    live("r-hostile", prompt=HOSTILE + "\x7f", result="ü\u202e")
    result = saferun("run", "show", "r-hostile", "--json")
    assert result.stdout.isascii()
    assert "\x7f" not in result.stdout
    assert lines(result)[0]["prompt"] == HOSTILE + "\x7f"


def test_a_long_value_is_cut_and_says_by_how_much(saferun, policy) -> None:
    live("r-long", order="A" * 300)
    cut = saferun("run", "show", "r-long").stdout
    assert "… (182 more characters)" in cut.replace("\n" + " " * 24, " ")
    whole = saferun("run", "show", "r-long", "--full").stdout
    assert "more characters" not in whole
    assert whole.count("A") == 3 * 300


def test_a_large_value_is_a_size_until_it_is_asked_for(saferun, policy) -> None:
    live("r-large", result="B" * 50_000)
    said = saferun("run", "show", "r-large").stdout
    assert "50.0 kB, kept beside the ledger; --full shows it" in said
    assert saferun("run", "show", "r-large", "--full").stdout.count("B") >= 100_000
    [short] = lines(saferun("run", "show", "r-large", "--json"))
    assert short["frames"][1]["outcome"]["result"].keys() == {"$blob"}
    [full] = lines(saferun("run", "show", "r-large", "--json", "--full"))
    assert full["frames"][1]["outcome"]["result"] == "B" * 50_000


def test_a_large_value_that_was_changed_is_not_shown(saferun, policy, database) -> None:
    live("r-large", result="B" * 50_000)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE blob SET data = ?", (b'"' + b"C" * 49_998 + b'"',))
    connection.close()
    said = saferun("run", "show", "r-large", "--full").stdout
    assert "CCC" not in said
    assert "50.0 kB, kept beside the ledger; no longer held" in said


def test_a_result_that_looks_like_a_large_value_is_only_what_it_says(saferun, policy) -> None:
    forged = {"$blob": {"sha256": "00" * 32, "bytes": 5}}
    live("r-forged", result=forged)
    said = saferun("run", "show", "r-forged", "--full").stdout
    assert "kept beside the ledger" not in said
    assert '{"$blob": {"bytes": 5, "sha256":' in said


def test_an_argument_cannot_pass_for_another(saferun) -> None:
    page = drawn(decision(args={"note=1  amount": 5, "amount": 6}))
    assert '"note=1  amount"=5  amount=6' in page


def test_an_entry_that_was_changed_is_told_and_left_out(saferun, history, database) -> None:
    assert saferun("run", "show", history).exit_code == 0
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE entry SET body = '{}' WHERE seq = 3")
    connection.close()
    for command in (["run", "list"], ["run", "show", history]):
        result = saferun(*command)
        assert result.exit_code == 0
        assert "1 entry cannot be read (3)" in result.stdout.replace("\n", " ")
    assert lines(saferun("run", "list", "--json"))[0]["unreadable"] == [3]


def test_a_history_is_listed_with_nothing_but_the_index_written(saferun, history, database) -> None:
    def entries() -> object:
        connection = sqlite3.connect(database)
        found = connection.execute("SELECT count(*), max(seq) FROM entry").fetchone()
        connection.close()
        return found

    before = entries()
    saferun("run", "list")
    assert entries() == before


def decision(**about: object) -> Entry:
    fields = {"tool": "refund", "verdict": "allow", "args": {}, **about}
    return Entry(1, 1_000_000, "decision", fields)


def drawn(*entries: Entry, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False, markup=False, emoji=False)
    Page(console, Told(story("r-1", entries), []), full=full).print()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def outcome(**about: object) -> Entry:
    return Entry(2, 1_000_100, "outcome", {"of": 1, "status": "ok", **about})


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([decision(verdict="allow")], "✓ refund  allowed"),
        ([decision(verdict="allow", modified=True)], "~ refund  modified"),
        ([decision(verdict="allow", mode="observe")], "✓ refund  allowed, only observed"),
        ([decision(verdict="deny", mode="shadow")], "✕ refund  would be denied, in shadow"),
        ([decision(verdict="ask", approval="a-1")], "? refund  asked, no answer so far"),
        ([decision(verdict="defer")], "? refund  deferred"),
        ([decision()], "result   none so far"),
        ([decision(), outcome(result=None)], "result   null"),
        ([decision(), outcome(status="error", error="ValueError: no")], "failed: ValueError: no"),
        ([decision(), outcome(status="timeout")], "result   timed out"),
        (
            [decision(), Entry(2, 2, "recovery", {"of": 1, "status": "unknown", "owner": "b-1"})],
            "result   unknown, since its process ended before it could say",
        ),
        (
            [decision(), outcome(status="unknown", error="OverdueError: it took longer than 2 s")],
            "unknown, and it may still have happened: it took longer than 2 s",
        ),
        ([decision(), outcome(status="unknown")], "result   unknown, and it may still have"),
        ([decision(opaque={"conn": "sqlite3.Connection"})], "unread   conn, a sqlite3.Connection"),
        (
            [decision(shadow=[{"id": "later", "effect": "deny", "message": "too much"}])],
            "shadow   later would deny: too much",
        ),
        ([Entry(1, 1, "user", {"text": "and hurry"})], "○ user"),
        ([Entry(1, 1, "model", {"output": {"tool": "x"}})], 'said     {"tool": "x"}'),
        ([Entry(1, 1, "model", {})], "said     nothing, and asked for tools"),
    ],
)
def test_a_frame_says_in_words_what_became_of_it(entries, said) -> None:
    assert said in drawn(*entries)


def test_many_arguments_are_cut_and_counted() -> None:
    page = drawn(decision(args={f"a{number}": number for number in range(50)}))
    assert "… 10 more arguments" in page
    assert "a49" in drawn(decision(args={f"a{number}": number for number in range(50)}), full=True)


def test_every_line_keeps_within_the_screen() -> None:
    page = drawn(
        decision(
            tool="t" * 200,
            args={"n" * 100: "v " * 400, "漢字": "漢" * 300},
            reasons=[{"id": "r" * 64, "effect": "deny", "message": "w" * 400, "line": 7}],
        ),
        outcome(result={"k" * 90: ["x"] * 90}, latency=123_456_789),
    )
    wide = Console(width=80)
    from rich.cells import cell_len

    assert max(cell_len(line) for line in page.splitlines()) <= wide.width


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(anything, st.none() | st.integers(1, 50))
def test_no_value_can_act_on_a_terminal(value, limit) -> None:
    assert harmless(shown(value, limit))


@given(st.text(), st.text(), st.dictionaries(st.text(), anything, max_size=4), anything)
def test_no_frame_can_act_on_a_terminal(tool, message, args, result) -> None:
    reason = {"id": message, "effect": "deny", "message": message}
    page = drawn(
        Entry(0, 0, "run", {"event": "start", "run": "r-1", "prompt": message, "agent": tool}),
        decision(tool=tool, args=args, reasons=[reason]),
        outcome(result=result),
    )
    assert harmless(page)


@pytest.mark.parametrize(
    ("microseconds", "said"),
    [
        (0, "0 µs"),
        (31, "31 µs"),
        (214, "0.2 ms"),
        (84_300, "84 ms"),
        (1_440_000, "1.4 s"),
        (134_000_000, "2 m 14 s"),
        (11_100_000_000, "3 h 05 m"),
    ],
)
def test_a_length_of_time_has_the_unit_that_suits_it(microseconds, said) -> None:
    assert span(microseconds) == said


def test_a_call_that_policy_changed_shows_what_it_came_with(saferun, tmp_path) -> None:
    text = """
version: 1
tools:
  refund:
    effect: write
    args: {order: {type: string}, amount: {type: integer}}
    rules: [{id: cap, clamp: {amount: {maximum: 500}}}]
"""
    gate = Gate(policy=loads(text))
    with gate.run(run_id="r-changed"):
        guard(lambda order, amount: amount, gate=gate, name="refund")("A-1", 900)
    gate.store.flush()
    said = saferun("run", "show", "r-changed").stdout.splitlines()
    [before] = [line.split() for line in said if line.split()[:1] == ["given"]]
    assert before == ["given", "amount=900"]


def test_a_run_whose_id_begins_that_of_another_is_listed(saferun, policy) -> None:
    live("r-1")
    live("r-10")
    rows = saferun("run", "list").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["r-10", "r-1"]
