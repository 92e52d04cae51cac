"""Runs in the console: lists, one of them frame by frame, and two beside each other."""

import gzip
import json
import sqlite3
from typing import Any
from urllib.parse import quote

import pytest

from console.asking import HERE, Browser, enrolled
from recording import Script, tamper
from saferun import Gate, guard
from saferun.console import Console
from saferun.store.index import Index
from saferun.store.sqlite import explained

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    """Whoever may look may look at runs."""
    return Browser(console, enrolled(gate, "vera"))


def told(gate: Gate, run: str = "r-1", **about: Any) -> Script:
    script = Script(gate.store, run, prompt="Refund the duplicate.", **about)
    script.model("Charged twice.", model="gpt-4o", input_tokens=812, output_tokens=96)
    script.call("refund", {"amount": 4, "order_id": "A-1"})
    script.denied("refund", {"amount": 4_500, "order_id": "A-1"})
    return script


def page(vera: Browser, path: str, status: int = 200) -> str:
    answer = vera.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def outline(vera: Browser, run: str = "r-1") -> dict[str, Any]:
    found: dict[str, Any] = vera.get(f"/run/index?id={run}").json()
    return found


def test_runs_are_listed_with_what_happened_in_them(gate: Gate, vera: Browser) -> None:
    told(gate).end()
    text = page(vera, "/runs")
    assert "support for maria" in text
    assert "✕ 1 denied" in text
    assert "✓ ended" in text
    assert 'href="/run?id=r-1"' in text


def test_a_view_has_the_runs_of_its_kind_alone(gate: Gate, vera: Browser) -> None:
    told(gate)
    Script(gate.store, "r-2").call("refund")
    denied = page(vera, "/runs?view=denied")
    assert "r-1" in denied
    assert "r-2" not in denied
    assert "No run is like that." in page(vera, "/runs?view=stopped")
    assert "r-2" in page(vera, "/runs?view=all")


def test_runs_are_narrowed_by_agent_user_tool_and_words(gate: Gate, vera: Browser) -> None:
    told(gate)
    Script(gate.store, "r-2", agent="mailer").call("send", {"to": "lead"})
    for query in ("agent=mailer", "tool=send", "text=lead"):
        text = page(vera, f"/runs?{query}")
        assert "r-2" in text, query
        assert "r-1" not in text, query
    assert "No run is like that." in page(vera, "/runs?user=nobody")


def test_more_runs_than_a_page_has_are_a_link_away(gate: Gate, vera: Browser) -> None:
    for number in range(53):
        Script(gate.store, f"r-{number:02}").model("Hello.")
    first = page(vera, "/runs")
    assert "r-52" in first
    assert "r-02" not in first
    link = first.split('<p><a href="')[1].split('"')[0].replace("&amp;", "&")
    second = page(vera, link)
    assert "r-02" in second
    assert "r-03" not in second


def test_a_frame_is_read_from_top_to_bottom(gate: Gate, vera: Browser) -> None:
    told(gate)
    text = page(vera, "/run?id=r-1&frame=3")
    assert "Refund the duplicate." in text
    text = page(vera, "/run/frame?id=r-1&number=3")
    order = ["Charged twice.", "<del>4</del> <ins>4500</ins>", "Denied"]
    order += ["The tool never ran.", "<dt>Ledger"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert 'changed since <a href="/run?id=r-1&amp;frame=2">frame 2</a>' in text


def test_who_approved_stands_at_the_frame(gate: Gate, vera: Browser) -> None:
    Script(gate.store).approved("refund", {"amount": 30_000})
    text = page(vera, "/run?id=r-1&frame=1")
    assert "approved by dana: “a good customer”" in text
    assert "a person was asked, and said yes" in text


def test_hostile_words_are_shown_and_do_nothing(gate: Gate, vera: Browser) -> None:
    script = Script(gate.store, prompt=HOSTILE, agent="a")
    script.model(HOSTILE)
    script.call(HOSTILE, {HOSTILE: HOSTILE}, result=HOSTILE)
    for path in ("/runs", "/run?id=r-1", "/run?id=r-1&frame=2", "/run/frame?id=r-1&number=2"):
        text = page(vera, path)
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
    rows = vera.get("/run/rows?id=r-1&from=1").json()
    assert len(rows) == 2
    assert all(each.isprintable() for row in rows for each in row)


def test_a_changed_entry_is_told_at_its_frame(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    seq = script.call("refund", {"amount": 7})
    script.model("Done.")
    assert "was changed" not in page(vera, "/run/frame?id=r-1&number=4")
    tamper(gate.store.path, seq, b'"amount":7', b'"amount":9')
    text = page(vera, "/run/frame?id=r-1&number=4")
    assert f"Entry {seq} was changed" in text
    assert "vouched for" not in text
    assert "was changed" not in page(vera, "/run/frame?id=r-1&number=2")


def test_the_outline_has_a_letter_a_frame_and_is_packed_where_it_may_be(
    gate: Gate, vera: Browser
) -> None:
    told(gate)
    found = outline(vera)
    assert (found["frames"], found["kind"], found["verdict"]) == (3, "mcc", ".ad")
    assert (found["first"], found["over"]) == (1, False)
    plain = vera.get("/run/index?id=r-1", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == found


def test_ten_thousand_frames_are_an_outline_of_less_than_200_kilobytes(
    gate: Gate, console: Console, vera: Browser
) -> None:
    from saferun.ledger import DecisionEntry, OutcomeEntry, encode
    from saferun.store import Append

    script = Script(gate.store)
    for begin in range(0, 10_000, 500):
        entries, first = [], gate.store.size()
        for number in range(begin, begin + 500):
            seq = first + len(entries)
            entries += [
                DecisionEntry(
                    run="r-1", tool=f"t{number % 7}", args={"n": number}, verdict="allow"
                ),
                OutcomeEntry(run="r-1", of=seq, status="ok", latency=900 + 37 * number % 5_000),
            ]
        gate.store.commit(Append([encode(each) for each in entries], gate.store.boot))
    script.end()
    # So long a history is indexed beside the pages, and nobody waits for it.
    assert vera.get("/run/index?id=r-1").status_code == 503
    assert "being indexed" in vera.get("/runs").text
    console.history.index()
    with vera.client.stream("GET", "/run/index?id=r-1") as answer:
        raw = b"".join(answer.iter_raw())
    assert json.loads(gzip.decompress(raw))["frames"] == 10_000
    assert len(raw) < 200_000


def test_text_is_found_from_a_frame_on(gate: Gate, vera: Browser) -> None:
    told(gate).model("Nobody answers.")
    assert vera.get("/run/find?id=r-1&text=twice&after=0").json() == {"frame": 1}
    assert vera.get("/run/find?id=r-1&text=nobody&after=1").json() == {"frame": 4}
    assert vera.get("/run/find?id=r-1&text=nobody&after=4").json() == {"frame": None}


def test_a_large_result_never_comes_whole(gate: Gate, vera: Browser) -> None:
    refund = guard(
        lambda order_id, amount, currency: "0123456789" * 30_000, name="refund", gate=gate
    )
    with gate.run(run_id="r-1"):
        refund(order_id="A-1", amount=4, currency="USD")
    gate.store.flush()
    frame = page(vera, "/run/frame?id=r-1&number=1")
    assert len(frame) < 20_000
    assert "/run/value?id=r-1&amp;number=1&amp;field=result" in frame
    first = page(vera, "/run/value?id=r-1&number=1&field=result")
    assert 60_000 < len(first) < 80_000
    assert "offset=65536" in first
    assert "That is its end." in page(vera, "/run/value?id=r-1&number=1&field=result&offset=299000")


def test_two_runs_stand_beside_each_other_from_where_they_part(gate: Gate, vera: Browser) -> None:
    told(gate)
    other = Script(gate.store, "r-2")
    other.model("Charged twice.")
    other.call("refund", {"amount": 5, "order_id": "A-1"})
    text = page(vera, "/runs/diff?a=r-1&b=r-2")
    assert 'id="parts"' in text
    assert "args" in text
    assert "They never part" in page(vera, "/runs/diff?a=r-1&b=r-1")
    assert "There is no run r-9." in page(vera, "/runs/diff?a=r-1&b=r-9", 404)


def test_two_runs_that_only_end_otherwise_part_there(gate: Gate, vera: Browser) -> None:
    for run, error in (("r-1", None), ("r-2", "ValueError<b>")):
        script = Script(gate.store, run)
        script.call("refund", {"amount": 4})
        script.end(error)
    text = page(vera, "/runs/diff?a=r-1&b=r-2")
    assert "They part at their ends: the first without an error, the second with ValueError" in text
    assert "<b>" not in text
    assert "They never part" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/run",
        "/run?id=",
        "/run?id=r-9",
        f"/run?id={quote('../../etc/passwd')}",
        "/run?id=" + "a" * 400,
        "/run/frame?id=r-1&number=0",
        "/run/frame?id=r-1&number=4",
        "/run/frame?id=r-1&number=-1",
        "/run/value?id=r-1&number=1&field=nothing",
        "/run/value?id=r-1&number=99&field=result",
        "/run/index?id=r-9",
        "/run/live?id=r-9",
        "/run/frames?id=r-9",
    ],
)
def test_what_is_not_there_is_said_to_be_so(gate: Gate, vera: Browser, path: str) -> None:
    told(gate)
    assert vera.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/run/index?id=r-1",
        "/run/rows?id=r-1",
        "/run/frame?id=r-1&number=1",
        "/run/frames?id=r-1",
        "/run/live?id=r-1",
    ],
)
def test_pieces_of_a_run_are_for_those_who_are_logged_in(
    gate: Gate, console: Console, path: str
) -> None:
    told(gate)
    assert Browser(console).get(path).status_code == 401


def test_some_frames_are_brought_at_once_and_no_more_than_a_few(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    for _ in range(20):
        script.model("More.")
    wanted = "+".join(map(str, [2, 3, *range(5, 90)]))
    parts = vera.get(f"/run/frames?id=r-1&numbers={wanted}").json()
    assert [number for number, _ in parts] == [2, 3, *range(5, 23)]
    assert parts[0][1].strip() == page(vera, "/run/frame?id=r-1&number=2").strip()
    assert "denied" in parts[1][1]
    for nothing in ("", "0", "24", "-1", "x", "9" * 30):
        assert vera.get(f"/run/frames?id=r-1&numbers={nothing}").json() == []


def test_a_link_to_a_frame_asks_for_a_login_and_comes_back_to_it(
    gate: Gate, console: Console
) -> None:
    told(gate)
    enrolled(gate, "dana")
    stranger = Browser(console)
    answer = stranger.get("/run?id=r-1&frame=3")
    assert answer.status_code == 303
    form = stranger.form(answer.headers["location"])
    assert form["next"].replace("&amp;", "&") == "/run?id=r-1&frame=3"
    entered = {"person": "dana", "secret": "dana-secret", "next": "/run?id=r-1&frame=3"}
    assert stranger.post("/login", entered).headers["location"] == "/run?id=r-1&frame=3"


def test_nothing_on_these_pages_takes_a_post(gate: Gate, vera: Browser) -> None:
    told(gate)
    for path in ("/runs", "/run?id=r-1", "/run/index?id=r-1", "/runs/diff"):
        assert vera.post(path, {}).status_code == 405, path
    assert HERE in vera.client.base_url.__str__()


def test_a_run_that_somebody_looks_at_stays_open_however_many_are_looked_at(
    gate: Gate, console: Console, vera: Browser
) -> None:
    for number in range(12):
        Script(gate.store, f"r-{number:02}").model(f"Turn {number}.")
    playbacks = console._runs._playbacks
    with playbacks.looking("r-00") as play:
        assert play is not None
        for number in range(1, 12):
            assert f"Turn {number}." in page(vera, f"/run/frame?id=r-{number:02}&number=1")
        assert vera.get("/run/frame?id=nobody&number=1").status_code == 404
        assert play.frame(1).frame.said["output"] == "Turn 0."
    assert len(playbacks._open) == 8
    console.close()
    assert len(playbacks._open) == 0


@pytest.mark.parametrize("text", ['"', "*", "\0", "?!"])
def test_what_cannot_be_searched_for_is_refused_with_a_sentence(
    gate: Gate, vera: Browser, text: str
) -> None:
    told(gate)
    said = page(vera, f"/runs?text={quote(text)}", 422)
    assert "There is no word in" in said
    assert "No run is like that" not in said
    found = vera.get(f"/run/find?id=r-1&text={quote(text)}")
    assert found.status_code == 200
    assert found.json()["frame"] is None
    assert "There is no word in" in found.json()["why"]


def test_where_the_entry_of_an_end_was_changed_nothing_is_said_to_be_outstanding(
    gate: Gate, vera: Browser
) -> None:
    script = told(gate)
    seq = script.call("refund", {"amount": 7}, result="paid out")
    tamper(gate.store.path, seq + 1, b"paid out", b"paid in!")
    text = page(vera, "/run/frame?id=r-1&number=4")
    assert "Nothing has come back yet" not in text
    assert "What came of it cannot be told" in text
    assert f"entry {seq} changed" not in text
    assert f"Entry {seq + 1} was changed" in text


def test_on_a_full_disk_a_page_says_so_and_what_to_do(
    gate: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(gate)

    def full(index: Index, *_: object) -> None:
        with explained(index.path):
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Index, "build", full)
    answer = vera.get("/runs")
    assert answer.status_code == 503
    assert answer.text == (
        "The disk of the store is full: free some space there, and load this page again."
    )
    monkeypatch.undo()
    assert vera.get("/runs").status_code == 200
