"""The overview: figures that are right, lead to the runs that they count, and wait for nobody."""

import html
import re
from typing import Any

import pytest

from console.asking import Browser, ask, enrolled
from recording import Script, indexed, write
from saferun import Gate
from saferun.call import Reason
from saferun.console import Console, overview, stretches
from saferun.control import Switch
from saferun.ledger import ControlEntry
from saferun.store import Turn

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    """Whoever may look may look here."""
    return Browser(console, enrolled(gate, "vera"))


def told(gate: Gate, run: str = "r-1", rule: str = "big", **about: Any) -> Script:
    script = Script(gate.store, run, **about)
    script.model("I will.", cost_usd=0.25)
    script.call("mail")
    reason = Reason(source="rule", id=rule, effect="deny", message="No.")
    script.decided("refund", verdict="deny", reasons=(reason,))
    return script


def page(browser: Browser, path: str = "/overview", status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def figures(text: str) -> dict[str, tuple[str, str]]:
    """What each picture says, with what it leads to."""
    found = re.findall(
        r'<a href="([^"]+)"><span class="label \w+"><span aria-hidden="true">.</span> ([\w ]+)'
        r"</span> <b>([^<]+)</b></a>",
        text,
    )
    return {label: (many, html.unescape(link)) for link, label, many in found}


def test_figures_are_what_happened(gate: Gate, vera: Browser) -> None:
    told(gate)
    told(gate, "r-2").approved("wipe")
    text = page(vera)
    assert {label: many for label, (many, _) in figures(text).items()} == {
        "Denied": "2",
        "Asked": "1",
        "Near misses": "1",
        "Failed": "0",
        "Spend": "$0.50",
        "Runs begun": "2",
    }
    assert re.search(r"<b>5</b> calls</a> <small>in the last day", text)


@pytest.mark.parametrize("last", ["hour", "day", "week", "month"])
def test_each_figure_leads_to_the_runs_that_it_counts(gate: Gate, vera: Browser, last: str) -> None:
    told(gate)
    Script(gate.store, "r-2").approved("wipe")
    Script(gate.store, "r-3").model("x")
    found = figures(page(vera, f"/overview?last={last}"))
    for label, runs in {
        "Denied": ["r-1"],
        "Asked": ["r-2"],
        "Near misses": ["r-2"],
        "Failed": [],
        "Spend": ["r-1"],
        "Runs begun": ["r-3", "r-2", "r-1"],
    }.items():
        listed = page(vera, found[label][1])
        assert re.findall(r"<code>(r-\d)</code>", listed) == runs, label
        assert "By what happened from" in listed


def test_the_table_has_each_bar_and_leads_to_its_runs(gate: Gate, vera: Browser) -> None:
    told(gate)
    text = page(vera, "/overview?last=hour")
    rows = re.findall(r'<tr><th scope="row" class="when">([^<]+)</th>(.*?)</tr>', text)
    assert len(rows) == 60
    full = [cells for _, cells in rows if "<a" in cells]
    assert len(full) == 1
    cells = re.findall(
        r'<td class="figure">(?:<a href="([^"]+)">)?(?:<span[^>]*>)?([^<]+)', full[0]
    )
    assert [said for _, said in cells] == ["2", "1", "0", "0", "0", "$0.25", "1"]
    assert "r-1" in page(vera, html.unescape(cells[1][0]))
    assert html.unescape(cells[1][0]).startswith("/runs?view=denied&since=")


def test_pictures_are_drawn_here_and_told_in_words(gate: Gate, vera: Browser) -> None:
    told(gate)
    text = page(vera)
    assert text.count('<svg viewBox="0 0 480 100"') == 7
    assert 'aria-label="Calls by half hour, 2 at most; the table below has each."' in text
    assert "style=" not in text
    # One of each two calls was denied.
    assert re.search(r'<path class="deny" d="M\d+ 100v-50h8V100z"/>', text)


def test_what_denies_and_fails_most_leads_to_its_runs(gate: Gate, vera: Browser) -> None:
    told(gate)
    script = told(gate, "r-2", rule="huge")
    script.ended(script.decided("send"), "error", tool="send")
    text = page(vera)
    tops = dict(re.findall(r"<code>([^<]+)</code><svg.*?<a href=\"([^\"]+)\">\d", text))
    assert set(tops) == {"big", "huge", "refund", "send"}
    for name, runs in {"big": ["r-1"], "huge": ["r-2"], "send": ["r-2"]}.items():
        listed = page(vera, html.unescape(tops[name]))
        assert re.findall(r"<code>(r-\d)</code>", listed) == runs
    assert "denied something by <code>huge</code>" in page(vera, html.unescape(tops["huge"]))


def test_what_waits_is_stopped_and_is_open_stands_above(gate: Gate, vera: Browser) -> None:
    ask(gate)
    dana = enrolled(gate, "dana")
    switch = Switch(scope="agent", value="crawler", by="dana", reason="It writes twice.")
    assert dana.credential is not None
    gate.store.commit(Turn(switch=switch, on=True, credential=dana.credential))
    about = {"scope": "tool", "value": "mail", "tenant": "acme", "by": "saferun"}
    write(gate.store, ControlEntry(event="opened", until=gate.store.now() + 40_000_000, **about))
    text = page(vera)
    now = re.findall(r'<li><a href="([^"]+)"><b class="\w*">(\d+)</b> ([\w ]+)</a></li>', text)
    assert now == [
        ("/", "1", "approval waits"),
        ("/controls#breakers", "1", "breaker is open"),
        ("/controls?show=stopped", "1", "stopped"),
    ]
    assert re.search(
        r"■ agent crawler</span> <span class=\"soft\">by dana since .*: It writes", text
    )
    assert re.search(
        r"✕ mail for acme</span> <span class=\"soft\">open, tried again in \d+ s", text
    )


def test_the_ledger_is_said_in_one_line(gate: Gate, vera: Browser) -> None:
    assert re.search(r"<p>\d+ entries, none signed yet, none held outside\.</p>", page(vera))
    gate.store.checkpoint()
    assert re.search(r"<p>\d+ entries, \d+ of them under a signed checkpoint,", page(vera))


def test_nothing_at_all_is_a_page_too(gate: Gate, vera: Browser) -> None:
    text = page(vera, "/overview?last=never")
    assert "in the last day" in text
    assert "Nothing is stopped." in text
    assert "None in the last day." in text


def test_a_ledger_that_is_not_indexed_yet_is_counted_as_far_as_it_is(
    gate: Gate, vera: Browser, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(gate)
    with indexed(gate.store.path) as index:
        known = index.size
    monkeypatch.setattr(overview, "BEHIND", 2)
    begun: list[str] = []
    monkeypatch.setattr(console.history, "catch_up", lambda: begun.append("begun"))
    told(gate, "r-2")
    text = page(vera)
    assert figures(text)["Denied"][0] == "1"
    assert f"counted up to entry {known} of {gate.store.size()}" in text
    # Of what is not counted, none is said to be there.
    assert "breakers not counted yet" in text
    assert "None is open." not in text
    assert begun == ["begun"]
    console.history.index()
    text = page(vera)
    assert figures(text)["Denied"][0] == "2"
    assert "counted up to" not in text


def test_what_is_behind_is_taken_up_meanwhile_and_once(gate: Gate, console: Console) -> None:
    told(gate)
    console.history.catch_up()
    # Whoever comes to it while that goes on begins no second one.
    console.history.catch_up()
    assert console.history._catching_up.acquire(timeout=30)
    console.history._catching_up.release()
    with indexed(gate.store.path) as index:
        assert index.synopsis("r-1") is not None


def test_hostile_names_are_shown_inert_and_still_lead_on(gate: Gate, vera: Browser) -> None:
    told(gate, rule=HOSTILE)
    text = page(vera)
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    link = next(each for each in re.findall(r'href="(/runs[^"]+)"', text) if "rule=" in each)
    assert "<code>r-1</code>" in page(vera, html.unescape(link))


def test_a_name_that_is_very_long_leads_on_too(gate: Gate, vera: Browser) -> None:
    told(gate, rule="x" * 5_000)
    links = re.findall(r'href="(/runs[^"]+)"', page(vera))
    link = next(each for each in links if "rule=" in each)
    assert "<code>r-1</code>" in page(vera, html.unescape(link))


def test_whoever_is_not_logged_in_is_led_back_here(console: Console) -> None:
    answer = Browser(console).get("/overview")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/overview"


# Times in the addresses of lists.


def test_runs_of_a_time_stay_of_that_time_in_views_forms_and_further_pages(
    gate: Gate, vera: Browser
) -> None:
    for number in range(52):
        Script(gate.store, f"r-{number:02}").model("x")
    found = html.unescape(page(vera, "/runs?view=all&since=2020-01-01T00:00Z"))
    assert "By what happened from 2020-01-01 00:00Z." in found
    assert '<input type="hidden" name="since" value="2020-01-01T00:00Z">' in found
    assert found.count("since=2020-01-01T00%3A00Z") >= 7
    assert "No run is like that." in page(vera, "/runs?until=2020-01-01T00:00Z")


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("said", ["now", "2026-13-01T00:00Z", "x" * 9_000, "-1", "<b>"])
def test_a_time_that_is_none_is_said_and_lists_nothing(
    gate: Gate, vera: Browser, name: str, said: str
) -> None:
    told(gate)
    text = page(vera, f"/runs?{name}={said}", 422)
    assert "is no time; write 2h or 7d" in text or len(said) > 1_000
    assert 'role="alert"' in text
    assert "<code>r-1</code>" not in text
    assert "<b>" not in text


@pytest.mark.parametrize("said", ["since=2h", "since=2020-01-01&until=2h", "since=&until="])
def test_times_are_written_as_those_of_entries_are(gate: Gate, vera: Browser, said: str) -> None:
    told(gate)
    text = page(vera, f"/runs?{said}")
    assert ("<code>r-1</code>" in text) == (not said.endswith("2h") or "until" not in said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("view=nowhere", "There is no view &#39;nowhere&#39;; it is all, denied"),
        ("before=soon", "before the number of an entry, and not &#39;soon&#39;"),
        ("children=no", "children=yes, and not &#39;no&#39;"),
    ],
)
def test_a_filter_that_nobody_knows_is_said(gate: Gate, vera: Browser, said: str, why: str) -> None:
    told(gate)
    text = page(vera, f"/runs?{said}", 422)
    assert why in text
    assert "<code>r-1</code>" not in text


def test_a_view_that_a_figure_leads_to_stands_among_the_others_while_one_is_in_it(
    gate: Gate, vera: Browser
) -> None:
    told(gate)
    assert ">That cost something</a>" in page(vera, "/runs?view=paid")
    assert "That cost something" not in page(vera, "/runs")


def test_a_minute_is_read_as_it_is_written() -> None:
    at = stretches.read("2026-05-04T10:30Z", 0)
    assert at is not None
    assert stretches.written(at) == "2026-05-04T10:30Z"
    assert stretches.during("2026-05-04T10:30Z", "", 0) == (at, 1 << 62)
    assert stretches.during("", "2026-05-04T10:30Z", 0) == (0, at)
