"""Runs within runs in the console, what a model was given, and views of one's own."""

from typing import Any

import pytest

from console.asking import Browser, enrolled
from recording import Script
from saferun import Gate
from saferun.console import NOBODY, Console
from saferun.ledger import RunEntry, encode
from saferun.store import Append

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "dana"))


def tree(gate: Gate) -> Script:
    """A run whose second frame begins two others, in one of which something is denied."""
    above = Script(gate.store, prompt="Find out about the order.")
    above.model("I will ask the researcher.", cost_usd=0.5)
    above.call("delegate")
    child(gate, "r-a").model("Nothing.", cost_usd=0.25)
    child(gate, "r-b", agent="researcher").denied("wipe")
    child(gate, "r-c", parent="r-b").model("Deeper.", cost_usd=0.25)
    above.model("Done.")
    return above


def child(gate: Gate, name: str, parent: str = "r-1", **about: Any) -> Script:
    return Script(gate.store, name, parent=parent, root="r-1", **about)


def page(who: Browser, path: str, status: int = 200) -> str:
    answer = who.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def test_a_frame_tells_of_the_runs_that_began_at_it(gate: Gate, dana: Browser) -> None:
    tree(gate)
    text = page(dana, "/run/frame?id=r-1&number=2")
    assert text.index("r-a") < text.index("researcher <code>r-b")
    assert "with 1 within: 2 frames" in text
    assert "✕ 1 denied" in text
    assert "Began here" not in page(dana, "/run/frame?id=r-1&number=1")


def test_a_run_has_its_figures_with_and_without_what_is_within(gate: Gate, dana: Browser) -> None:
    tree(gate)
    text = page(dana, "/run?id=r-1")
    assert "<span>3 frames</span>" in text
    assert "3 runs within" in text
    assert "with them 6 frames" in text
    assert "<span>$1.00</span>" in text.replace("<span>$1</span>", "<span>$1.00</span>")
    assert "✕ 1 denied within" in text
    assert "↳ 3 runs, 1 denied within" in text


def test_one_goes_into_the_run_in_which_something_happened_and_back(
    gate: Gate, dana: Browser
) -> None:
    tree(gate)
    into = dana.get("/run/into?id=r-1&number=2")
    assert (into.status_code, into.headers["location"]) == (303, "/run?id=r-b")
    assert dana.get("/run/into?id=r-1&number=1").status_code == 404
    text = page(dana, "/run?id=r-c")
    crumbs = text.split('aria-label="Runs above this one"')[1].split("</nav>")[0]
    assert crumbs.index("r-1") < crumbs.index("r-b")
    up = crumbs.split('rel="up"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    assert up.startswith("/run?id=r-b&at=")
    assert 'data-at="1"' in page(dana, up)
    text = page(dana, "/run?id=r-b")
    up = text.split('" rel="up"')[0].rsplit('href="', 1)[1].replace("&amp;", "&")
    assert 'data-at="2"' in page(dana, up)


def test_the_outline_says_where_runs_began(gate: Gate, dana: Browser) -> None:
    tree(gate)
    assert dana.get("/run/index?id=r-1").json()["forks"] == [[2, 3, 1, 0, 0]]
    assert dana.get("/run/index?id=r-c").json()["forks"] == []


def test_a_run_that_did_nothing_itself_leads_to_the_runs_within(gate: Gate, dana: Browser) -> None:
    Script(gate.store)
    child(gate, "r-a").denied()
    text = page(dana, "/run?id=r-1")
    assert "It did nothing itself" in text
    assert "1 run within" in text
    assert "r-a" in page(dana, "/runs?within=r-1")
    into = dana.get("/run/into?id=r-1&number=0")
    assert into.headers["location"] == "/run?id=r-a"


def test_child_runs_count_at_their_root_and_are_listed_when_asked_for(
    gate: Gate, dana: Browser
) -> None:
    tree(gate)
    text = page(dana, "/runs")
    assert "r-b" not in text
    assert "3 runs within" in text
    text = page(dana, "/runs?children=yes")
    assert "r-b" in text
    assert "Where it began" in text
    assert "r-1" in page(dana, "/runs?view=denied")
    assert "r-1" in page(dana, "/runs?agent=researcher")
    text = page(dana, "/runs?within=r-1")
    assert "r-b" in text
    assert "r-c" not in text


def test_of_many_children_some_are_on_the_page_and_all_in_the_list(
    gate: Gate, dana: Browser
) -> None:
    Script(gate.store).model("Now many.")
    entries = [
        RunEntry(event="start", run=f"c-{number:03}", root="r-1", parent="r-1", user={})
        for number in range(200)
    ]
    gate.store.commit(Append([encode(each) for each in entries], gate.store.boot))
    text = page(dana, "/run/frame?id=r-1&number=1")
    assert text.count("<code>c-") == 50
    assert "200 began here" in text
    text = page(dana, "/runs?within=r-1")
    assert text.count("<code>c-") == 50
    further = text.split("Earlier runs")[0].rsplit('href="', 1)[1].split('"')[0]
    assert "c-149" in page(dana, further.replace("&amp;", "&"))


def test_of_a_deep_tree_the_closest_runs_above_are_named(gate: Gate, dana: Browser) -> None:
    Script(gate.store).model()
    above = "r-1"
    for depth in range(30):
        child(gate, f"c-{depth}", above).model()
        above = f"c-{depth}"
    text = page(dana, "/run?id=c-29")
    crumbs = text.split('aria-label="Runs above this one"')[1].split("</nav>")[0]
    assert crumbs.count("<code>") == 4
    assert "26 above" in crumbs


def test_what_the_model_was_given_is_whole_and_says_what_is_new(gate: Gate, dana: Browser) -> None:
    script = Script(gate.store)
    script.model("a", turn="t-1", messages=[{"role": "user", "content": "the first"}])
    more = [{"role": "tool", "content": HOSTILE}]
    script.model("b", turn="t-2", after="t-1", kept=1, messages=more)
    text = page(dana, "/run/frame?id=r-1&number=2")
    earlier, new = text.split("<details")[1].split("</details>")
    assert "1 earlier message" in earlier
    assert "the first" in earlier
    assert "+ new" in new
    assert "&lt;script&gt;alert(1)" in new
    assert "\u202e" not in text
    assert "the first" not in new.split("<dt>")[0]


def test_hostile_names_of_children_are_words(gate: Gate, dana: Browser) -> None:
    Script(gate.store).model()
    child(gate, HOSTILE[:60], agent=HOSTILE).denied()
    for path in ("/run?id=r-1", "/runs?children=yes", "/runs?within=r-1", "/run?id=" + "r-1"):
        text = page(dana, path)
        assert "<script>alert" not in text
        assert "\u202e" not in text


# Views of one's own.


def keep(who: Browser, name: str, **more: str) -> Any:
    csrf = who.form("/runs")["csrf"]
    return who.client.post(
        "/runs/views",
        data={"csrf": csrf, "act": "keep", "name": name, **more},
        headers={"origin": "http://127.0.0.1:7391"},
    )


def test_filters_are_kept_under_a_name_for_whoever_kept_them(
    gate: Gate, console: Console, dana: Browser
) -> None:
    answer = keep(dana, "Refunds", view="denied", tool="refund", children="yes")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs?tool=refund&view=denied&children=yes"
    text = page(dana, "/runs")
    assert ">Refunds</a>" in text
    assert 'href="/runs?tool=refund&amp;view=denied&amp;children=yes"' in text
    assert "Rename" in page(dana, answer.headers["location"])
    erik = Browser(console, enrolled(gate, "erik"))
    assert "Refunds" not in page(erik, "/runs")
    vera = Browser(console, enrolled(gate, "vera"))
    assert keep(vera, "For looking").status_code == 303
    assert "For looking" in page(vera, "/runs")


def test_a_view_is_renamed_and_deleted_by_its_form(dana: Browser) -> None:
    keep(dana, "Old", tool="refund")
    form = dana.form("/runs?tool=refund")
    assert form["was"] == "Old"
    dana.post("/runs/views", {**form, "act": "rename", "name": "New"})
    assert ">New</a>" in page(dana, "/runs")
    form = dana.form("/runs?tool=refund")
    dana.post("/runs/views", {**form, "act": "delete", "name": "New"})
    assert ">New</a>" not in page(dana, "/runs")


def test_a_view_that_cannot_be_kept_says_why(dana: Browser) -> None:
    answer = keep(dana, "n" * 61)
    assert "60 characters at most" in page(dana, answer.headers["location"])
    answer = keep(dana, "  ")
    assert "needs a name" in page(dana, answer.headers["location"])


def test_whoever_is_nobody_in_particular_keeps_none(console: Console) -> None:
    nobody = Browser(console, NOBODY)
    assert "Keep this view" not in page(nobody, "/runs")
    csrf = next(iter(console.sessions._open.values())).csrf
    nobody.post("/runs/views", {"csrf": csrf, "act": "keep", "name": "mine"})
    assert "log in with a name" in page(nobody, "/runs")


def test_a_form_of_another_session_keeps_nothing(dana: Browser) -> None:
    answer = dana.post("/runs/views", {"csrf": "made up", "act": "keep", "name": "x"})
    assert answer.status_code == 403


def test_a_hostile_name_is_a_word(dana: Browser) -> None:
    keep(dana, HOSTILE[:60], tool=HOSTILE)
    text = page(dana, "/runs")
    assert "<script>alert" not in text
    nav = text.split('aria-label="Your views"')[1].split("</nav>")[0]
    assert "\u202e" not in nav
    assert "&lt;script&gt;" in nav
