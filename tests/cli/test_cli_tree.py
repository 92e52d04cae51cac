"""Runs within runs in the terminal, views by name, and what a model was given."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.project import lines
from cli.test_cli_step import at
from recording import Script
from replay.test_trace_otlp import agent, document, tool
from saferun.store import Store
from saferun.store.views import View, Views

NESTED = (
    agent("root", gen_ai__agent__name="outer"),
    tool("flat", "root"),
    agent("inner", "root", gen_ai__agent__name="inner"),
    tool("deep", "inner"),
    agent("innermost", "inner", gen_ai__agent__name="innermost"),
    tool("deepest", "innermost"),
)

HOSTILE = "<b>\u202egnp.exe\x1b[31m"


@pytest.fixture
def store(policy: Path, database: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{database.absolute()}", durability="process")
    yield store
    store.close()


@pytest.fixture
def tree(store: Store) -> Script:
    """A run whose second frame begins two others, in one of which something is denied."""
    above = Script(store, prompt="Find out about the order.")
    above.model("I will ask the researcher.", cost_usd=0.5)
    above.call("delegate")
    child(store, "r-a").model("Nothing.", cost_usd=0.25)
    child(store, "r-b", agent="researcher").denied("wipe")
    child(store, "r-c", parent="r-b", agent=HOSTILE).model("Deeper.")
    above.model("Done.")
    return above


def child(store: Store, name: str, parent: str = "r-1", **about) -> Script:
    return Script(store, name, parent=parent, root="r-1", **about)


def ids(result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [run["run_id"] for run in lines(result)]


def test_children_stand_at_their_frame_and_in_the_sums_of_the_head(saferun, tree) -> None:
    text = saferun("run", "show", "r-1").stdout
    assert "↳ 3 runs within · with them 6 frames · $0.75 · ✕ 1 denied within" in text
    [a, b] = [line for line in text.splitlines() if "  r-" in line]
    assert a.split() == ["child", "r-a", "support", "·", "1", "frame", "·", "$0.25", "·", "open"]
    assert "researcher · 1 frame · 1 run within · ✕ 1 denied · open" in b
    assert text.index("delegate") < text.index("r-a") < text.index("Done.")


def test_a_close_look_tells_of_the_children_too(saferun, tree) -> None:
    assert "child    r-a" in saferun("run", "show", "r-1", "--frame", "2").stdout
    assert "child" not in saferun("run", "show", "r-1", "--frame", "1").stdout
    [seen] = lines(saferun("run", "show", "r-1", "--frame", "2", "--json"))
    assert seen["begun"] == 2
    assert [each["run"]["run"] for each in seen["children"]] == ["r-a", "r-b"]
    assert seen["children"][1]["within"]["denied"] == 1


def test_a_document_has_the_children_and_the_sums(saferun, tree) -> None:
    [run] = lines(saferun("run", "show", "r-1", "--json"))
    assert [(each["frame"], each["run"]["run"]) for each in run["children"]] == [
        (2, "r-a"),
        (2, "r-b"),
    ]
    assert (run["within"]["runs"], run["within"]["denied"]) == (3, 1)
    [run] = lines(saferun("run", "show", "r-c", "--json"))
    assert (run["parent"], run["within"], run["children"]) == ("r-b", None, [])


def test_what_children_are_called_moves_no_cursor(saferun, tree) -> None:
    text = saferun("run", "show", "r-b").stdout
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "r-c" in text


def test_of_many_children_some_are_told_and_where_the_others_are(saferun, store, tree) -> None:
    for number in range(20):
        child(store, f"c-{number:02}")
    text = saferun("run", "show", "r-1").stdout
    assert "… 8 more runs; saferun run list --within r-1" in text


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["r-1"]),
        (("--children",), ["r-c", "r-b", "r-a", "r-1"]),
        (("--within", "r-1"), ["r-b", "r-a"]),
        (("--denied",), ["r-1"]),
        (("--denied", "--children"), ["r-b"]),
        (("--agent", "researcher"), ["r-1"]),
        (("--view", "Researched"), ["r-b"]),
        (("--view", "dana/Mine"), ["r-1"]),
        (("--view", "Researched", "--asked"), []),
    ],
)
def test_a_list_counts_children_at_their_root(saferun, database, tree, options, found) -> None:
    views = Views(database)
    views.keep("dana", View(name="Researched", agent="researcher", children=True))
    views.keep("dana", View(name="Mine", trait="denied"))
    views.keep("erik", View(name="Mine", trait="asked"))
    assert ids(saferun("run", "list", "--json", *options)) == found


def test_a_list_says_how_many_runs_are_within(saferun, tree) -> None:
    [head, run] = saferun("run", "list").stdout.splitlines()
    assert "within" in head
    assert "3 ✕ 1" in run
    assert "within" not in saferun("run", "list", "--within", "r-b").stdout


def test_a_view_that_nobody_or_more_than_one_has_is_asked_about(saferun, database, tree) -> None:
    Views(database).keep("dana", View(name="Mine"))
    Views(database).keep("erik", View(name="Mine"))
    result = saferun("run", "list", "--view", "Mine")
    assert result.exit_code == 64
    assert "dana/Mine or erik/Mine" in " ".join(result.stderr.split())
    assert saferun("run", "list", "--view", "Nothing").exit_code == 64


def test_one_steps_into_a_child_and_back(tree) -> None:
    with at("r-1") as person:
        assert "↳ 3 ✕ 1" in person.sees("1 / 3")
        person.press("l")
        person.sees("no run began at this frame")
        person.press("n")
        person.sees("in 3 runs that began here; l goes in")
        person.press("l")
        screen = person.sees("run r-1 / r-b")
        assert "wipe" in screen
        person.press("\x1b[C")
        person.sees("run r-1 / r-b / r-c")
        person.press("hh")
        person.sees("2 / 3")
        person.press("h")
        person.sees("this run is within no other")
        person.press("q")
        assert person.ends() == 0
    with at("r-c") as person:
        person.sees("1 / 1")
        person.press("hh")
        person.sees("2 / 3")


def test_what_a_model_was_given_is_told_with_what_is_new_in_it(saferun, store) -> None:
    run = Script(store)
    run.model("a", turn="t-1", messages=[{"role": "system", "content": "Be brief."}])
    more = [{"role": "user", "content": HOSTILE}]
    run.model("b", turn="t-2", after="t-1", kept=1, messages=more)
    text = saferun("run", "show", "r-1", "--frame", "2").stdout
    assert "given    … 1 message as before; --full" in text
    assert "+ user: <b>" in text
    assert "\u202e" not in text
    full = saferun("run", "show", "r-1", "--frame", "2", "--full").stdout
    assert "given    · system: Be brief." in full
    [seen] = lines(saferun("run", "show", "r-1", "--frame", "2", "--json"))
    assert (len(seen["given"]["messages"]), seen["given"]["new"]) == (2, 1)
    assert json.dumps(seen).isascii()


def test_an_agent_within_an_imported_agent_shows_the_same_way(saferun, store, tmp_path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(document(*NESTED)))
    [brought] = lines(saferun("run", "import", str(file), "--json"))
    assert brought["runs"] == 3
    [run] = lines(saferun("run", "list", "--json"))
    assert (run["agent"], run["within"]["runs"]) == ("outer", 2)
    text = saferun("run", "show", run["run_id"]).stdout
    assert "child" in text
    assert "inner · 1 frame · 1 run within" in text
    [below] = lines(saferun("run", "list", "--within", run["run_id"], "--json"))
    assert (below["agent"], below["parent"]) == ("inner", run["run_id"])


def test_what_is_brought_in_stands_where_it_began(saferun, tmp_path) -> None:
    spans = (
        agent("root"),
        agent("early", "root"),
        tool("one", "root"),
        tool("ask", "root"),
        agent("within", "ask"),
        tool("deep", "within"),
        agent("deeper", "deep"),
        tool("two", "root"),
    )
    file = tmp_path / "spans.json"
    file.write_text(json.dumps(document(*spans)))
    [brought] = lines(saferun("run", "import", str(file), "--json"))
    assert (brought["runs"], brought["calls"]) == (4, 4)
    [run] = lines(saferun("run", "list", "--json"))
    [told] = lines(saferun("run", "show", run["run_id"], "--json"))
    places = [(each["frame"], each["run"]["run"].split("/")[-1]) for each in told["children"]]
    assert places == [(1, "early"), (2, "within")]
    assert [each["said"]["tool"] for each in told["frames"]] == ["one", "ask", "two"]
    [again] = lines(saferun("run", "import", str(file), "--json"))
    assert (again["runs"], again["known"]) == (0, 4)


def test_of_an_incident_file_the_runs_within_stand_where_they_did(saferun, tree) -> None:
    assert saferun("run", "export", "r-1", "-o", "r.saferun", "--for", "full").exit_code == 0
    [brought] = lines(saferun("run", "import", "r.saferun", "--json"))
    assert brought["runs"] == 4
    [run, _] = lines(saferun("run", "list", "--json"))
    assert run["run_id"].endswith("/r-1")
    [told] = lines(saferun("run", "show", run["run_id"], "--json"))
    places = [(each["frame"], each["run"]["run"].split("/")[-1]) for each in told["children"]]
    assert places == [(2, "r-a"), (2, "r-b")]
