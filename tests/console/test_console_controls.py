"""The controls in the console: how they stand, and who stops what for every process at once."""

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.asking import Browser, ask, enrolled
from recording import Script
from saferun import Denied, Gate, config, guard
from saferun.console import Console, Who, controls
from saferun.control import Switch
from saferun.ledger import ControlEntry, parse
from saferun.policy import loads
from saferun.store import Reader, Turn
from saferun.store.controls import switches

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"

LIMITED = """\
version: 1
name: shop
limits:
  - {id: run-cost, sum: cost_usd, max: 2.00, per: run}
tools:
  mail:
    effect: write
    args: {to: {type: string}}
    limits:
      - {id: mails, max: 2, per: user, window: 1h}
      - {id: seldom, max: 50, per: agent}
  charge:
    effect: write
    args: {n: {type: integer}}
    loops: off
    breaker: {min_calls: 5}
"""


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "dana"))


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "vera"))


@pytest.fixture
def shop(gate: Gate) -> Iterator[Gate]:
    """Another gate on the same store, with limits and a breaker."""
    shop = Gate(policy=loads(LIMITED), settings=config.load())
    yield shop
    shop.close()


def page(browser: Browser, path: str = "/controls", status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status, answer.text
    return html.unescape(str(answer.text))


def csrf(browser: Browser) -> str:
    return browser.form("/requests")["csrf"]


def stop(browser: Browser, **said: str) -> Any:
    about = {"csrf": csrf(browser), "act": "stop", "scope": "agent", "reason": "It runs away."}
    return browser.post("/controls", {**about, **said})


def resume(browser: Browser, what: str, **said: str) -> Any:
    """Send the form that stands beside something."""
    text = page(browser)
    [row] = [each for each in text.split("<tr") if f">{what}</th>" in each]
    fields = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', row.split("</tr>")[0])
    )
    return browser.post("/controls", {**fields, **said})


def stopped(gate: Gate) -> list[tuple[str, str | None, str, str | None]]:
    with Reader(gate.store.path) as reader:
        return [(each.scope, each.value, each.by, each.reason) for each in switches(reader)]


def entries(gate: Gate) -> list[ControlEntry]:
    gate.store.flush()
    with Reader(gate.store.path) as reader:
        found = [parse(body).entry for _, body, _ in reader.rows()]
    return [each for each in found if isinstance(each, ControlEntry)]


def turned(gate: Gate, value: str, scope: Any = "agent", reason: str = "It runs away.") -> None:
    who = enrolled(gate, "erik")
    assert who.credential is not None
    switch = Switch(scope=scope, value=value, by="erik", reason=reason)
    gate.store.commit(Turn(switch=switch, on=True, credential=who.credential))


def calls(gate: Gate, run: str = "r-1", **about: str) -> str:
    """What becomes of one call of `mail` in a run."""
    mail = guard(lambda to: "sent", name="mail", gate=gate)
    with gate.run(run_id=run, **{"agent": "support", "user": "maria", **about}):
        try:
            mail(to="x@x.test")
        except Denied as denied:
            return type(denied).__name__
    return "ran"


# Stop and resume.


@pytest.mark.parametrize(
    ("scope", "value"),
    [("agent", "support"), ("tool", "mail"), ("user", "maria"), ("run", "r-1"), ("all", "")],
)
def test_a_stop_holds_from_the_very_next_call_until_it_is_resumed(
    gate: Gate, shop: Gate, dana: Browser, scope: str, value: str
) -> None:
    assert calls(shop) == "ran"
    answer = stop(dana, scope=scope, value=value)
    assert answer.status_code == 303, answer.text
    assert calls(shop) == "Stopped"
    what = "everything" if scope == "all" else f"{scope} {value}"
    shown = f"{what} of support" if scope == "run" else what
    assert f"Stopped: {what}, in entry" in page(dana)
    assert resume(dana, shown, reason="It is mended.").status_code == 303
    assert f"Resumed: {what}, in entry" in page(dana)
    assert calls(shop) == "ran"


AGENT = """\
import sys
from pathlib import Path
from saferun import Denied, Gate, config, guard
from saferun.policy import loads

gate = Gate(policy=loads(Path(sys.argv[1]).read_text()), settings=config.load())
mail = guard(lambda to: "sent", name="mail", gate=gate)
with gate.run(run_id="far", agent="far-away", user="maria"):
    for line in sys.stdin:
        try:
            mail(to=line.strip())
            print("ran", flush=True)
        except Denied as denied:
            print(type(denied).__name__, flush=True)
"""


def test_a_stop_holds_in_another_process_within_its_run(gate: Gate, dana: Browser) -> None:
    Path("shop.yaml").write_text(LIMITED.replace("max: 2,", "max: 20,"), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, "shop.yaml"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None

        def once() -> str:
            agent.stdin.write("x@x.test\n")
            agent.stdin.flush()
            return agent.stdout.readline().strip()

        assert once() == "ran"
        assert stop(dana, value="far-away").status_code == 303
        assert once() == "Stopped"
        resume(dana, "agent far-away")
        assert once() == "ran"
        agent.stdin.close()


def test_who_stopped_what_and_why_stands_in_the_ledger(gate: Gate, dana: Browser) -> None:
    stop(dana, value="support", reason="It refunds twice.")
    resume(dana, "agent support", reason="It is mended.")
    assert [
        (each.event, each.scope, each.value, each.by, each.reason) for each in entries(gate)
    ] == [
        ("stopped", "agent", "support", "dana", "It refunds twice."),
        ("resumed", "agent", "support", "dana", "It is mended."),
    ]


def test_a_secret_in_a_reason_is_not_kept(gate: Gate, dana: Browser) -> None:
    key = "sk-ant-api03-" + "A1b2C3d4" * 8
    stop(dana, value="support", reason=f"It leaked {key}.")
    [(_, _, _, reason)] = stopped(gate)
    assert reason is not None
    assert key not in reason


def test_what_is_stopped_already_stays_as_it_was(gate: Gate, dana: Browser) -> None:
    turned(gate, "support")
    assert stop(dana, value="support").status_code == 303
    text = page(dana)
    assert "✕ Agent support is stopped already; it was stopped by erik since" in text
    assert len(entries(gate)) == 1


def test_what_somebody_else_has_resumed_meanwhile_is_told(gate: Gate, dana: Browser) -> None:
    turned(gate, "support")
    form = {"csrf": csrf(dana), "act": "resume"}
    text = page(dana)
    [name] = re.findall(r'name="switch" value="(\w+)"', text)
    resume(dana, "agent support")
    answer = dana.post("/controls", {**form, "switch": name})
    assert answer.status_code == 422
    assert "That is not stopped any more." in answer.text


def test_a_run_is_named_by_the_beginning_of_its_id(gate: Gate, dana: Browser) -> None:
    for run in ("run-1", "run-2", "other"):
        ask(gate, run=run)
    assert "2 runs' ids begin with run-" in html.unescape(
        stop(dana, scope="run", value="run-").text
    )
    assert (
        "There is no run whose id begins with no-such"
        in stop(dana, scope="run", value="no-such").text
    )
    assert stop(dana, scope="run", value="oth").status_code == 303
    assert [each[:2] for each in stopped(gate)] == [("run", "other")]


def test_a_name_that_nobody_has_heard_of_is_stopped_and_told(gate: Gate, dana: Browser) -> None:
    stop(dana, value="suport")
    assert "it may be a typo" in page(dana)
    ask(gate)
    stop(dana, value="support")
    assert "it may be a typo" not in page(dana)
    assert [each[1] for each in stopped(gate)] == ["suport", "support"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"value": "support", "reason": " "}, "Say why, in a few words."),
        ({"value": "support", "reason": "x" * 2_001}, "at most 2,000 characters"),
        ({"value": ""}, "Say which agent"),
        ({"value": "x" * 1_001}, "Say which agent"),
        ({"value": "a\0b"}, "Say which agent"),
        ({"scope": "planet", "value": "x"}, "Say what is to be stopped."),
        ({"scope": "all", "value": "support"}, "Everything has no name"),
    ],
)
def test_what_does_not_say_what_is_meant_stops_nothing(
    gate: Gate, dana: Browser, said: dict[str, str], why: str
) -> None:
    answer = stop(dana, **said)
    assert answer.status_code == 422
    assert why in answer.text
    assert stopped(gate) == []


def test_what_was_entered_is_still_there_after_a_refusal(gate: Gate, dana: Browser) -> None:
    text = stop(dana, scope="tool", value="mail <b>", reason="").text
    assert 'value="mail &lt;b&gt;"' in text
    assert '<option value="tool" selected>' in text


# Who may.


def test_a_viewer_sees_and_cannot(gate: Gate, vera: Browser) -> None:
    turned(gate, "support")
    text = page(vera)
    assert "agent support" in text
    assert "vera may look, and neither stop nor resume." in text
    assert "<form method" not in text.split("<main")[1]
    name = controls._name(Switch(scope="agent", value="support", by=""))
    for said in ({"act": "stop", "scope": "all", "reason": "x"}, {"act": "resume", "switch": name}):
        assert vera.post("/controls", {"csrf": csrf(vera), **said}).status_code == 403
    assert [each[1] for each in stopped(gate)] == ["support"]


@pytest.mark.parametrize("who", [Who(None), Who("dana", "approver")])
def test_whoever_has_no_secret_of_their_own_turns_nothing(
    gate: Gate, console: Console, who: Who
) -> None:
    browser = Browser(console, who)
    assert "log in with your own secret" in page(browser)
    assert stop(browser, scope="all").status_code == 403
    assert stopped(gate) == []


def test_a_secret_that_is_none_any_more_turns_nothing(gate: Gate, console: Console) -> None:
    dana = Browser(console, enrolled(gate, "dana"))
    token = csrf(dana)
    session = next(iter(console.sessions._open.values()))
    session.who = session.who._replace(credential=b"x" * 32)
    answer = dana.post("/controls", {"csrf": token, "act": "stop", "scope": "all", "reason": "x"})
    # The session ends with the secret.
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")
    assert stopped(gate) == []


def test_a_form_from_elsewhere_turns_nothing(gate: Gate, dana: Browser) -> None:
    assert stop(dana, scope="all", csrf="x").status_code == 403
    about = {"csrf": csrf(dana), "act": "stop", "scope": "all", "reason": "x"}
    assert dana.post("/controls", about, origin="https://evil.example").status_code == 403
    assert dana.get("/controls?act=stop&scope=all&reason=x").status_code == 200
    assert stopped(gate) == []


def test_whoever_is_not_logged_in_sees_nothing(console: Console) -> None:
    assert Browser(console).get("/controls").headers["location"] == "/login?next=/controls"


# How they stand.


def test_it_says_what_the_command_says(gate: Gate, shop: Gate, vera: Browser) -> None:
    assert [calls(shop), calls(shop), calls(shop)] == ["ran", "ran", "LimitExceeded"]
    turned(gate, "support")
    text = page(vera)
    row = next(each for each in text.split("<tr") if ">mails</th>" in each)
    assert "user maria" in row
    assert re.search(r">2 of 2<svg.*?h100v4", row)
    assert re.search(r"<td data-head=\"frees in\">(1 h 00 m|59 m \d\d s)</td>", row)
    assert "stops calls" in row
    held = next(each for each in text.split("<tr") if ">agent support</th>" in each)
    assert re.search(r">erik since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: It runs away\.</td>", held)
    done = subprocess.run(
        [sys.executable, "-m", "saferun", "control", "status"],
        capture_output=True,
        text=True,
        check=True,
    )
    for said in ("mails", "user maria", "2 of 2", "agent support", "It runs away."):
        assert said in done.stdout


def test_a_breaker_says_when_it_is_tried_again(gate: Gate, shop: Gate, vera: Browser) -> None:
    def fails(n: int) -> None:
        raise RuntimeError("down")

    charge = guard(fails, name="charge", gate=shop)
    with shop.run(agent="support"):
        for number in range(5):
            with pytest.raises(RuntimeError):
                charge(n=number)
    shop.store.flush()
    text = page(vera)
    assert re.search(r">charge</th>\s*<td[^>]*>open, tried again in \d+ s</td>", text)
    # The ledger has it too, which is what the overview reads.
    assert '<b class="deny">1</b> breaker is open' in page(vera, "/overview")


def test_budgets_say_what_is_spent(gate: Gate, shop: Gate, vera: Browser) -> None:
    with shop.run(run_id="r-1", agent="support", user="maria") as run:
        run.model("x", cost_usd=1.25)
        guard(lambda to: "sent", name="mail", gate=shop)(to="x@x.test")
    shop.store.flush()
    row = next(each for each in page(vera).split("<tr") if ">run-cost</th>" in each)
    assert re.search(r">\$1\.25 of \$2\.00<svg.*?h62v4", row)


def test_rows_are_narrowed_by_a_name_and_by_how_near_they_are(
    gate: Gate, shop: Gate, vera: Browser
) -> None:
    calls(shop)
    calls(shop)
    calls(shop, "r-2", user="omar", agent="billing")
    turned(gate, "billing")
    turned(gate, "crawler")
    text = page(vera, "/controls?about=OMAR")
    assert "user omar" in text
    assert "user maria" not in text
    assert "agent crawler" not in text
    text = page(vera, "/controls?about=billing")
    assert "agent billing" in text.split('id="breakers"')[0]
    assert "agent crawler" not in text
    near = page(vera, "/controls?show=near")
    assert "user maria" in near
    assert "user omar" not in near
    assert "agent crawler" in near
    limit = page(vera, "/controls?about=seldom")
    assert ">seldom</th>" in limit
    assert ">mails</th>" not in limit


def test_a_link_may_name_what_is_to_be_stopped(gate: Gate, dana: Browser) -> None:
    text = page(dana, "/controls?scope=run&value=r-17")
    assert '<option value="run" selected>' in text
    assert 'value="r-17"' in text


def test_a_run_leads_to_its_switch(gate: Gate, dana: Browser) -> None:
    Script(gate.store, "r-1").model("x")
    assert 'href="/controls?show=stopped&scope=run&value=r-1#stop"' in page(dana, "/run?id=r-1")


def test_what_is_stopped_is_shown_without_counting_anything_else(
    gate: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned(gate, "support")

    def counts(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(controls.gauges, "looking", counts)
    text = page(vera, "/controls?show=stopped")
    assert "agent support" in text
    assert 'id="limits"' not in text


def test_nothing_is_said_too(gate: Gate, vera: Browser) -> None:
    text = page(vera)
    assert "Nothing is stopped." in text
    assert "Nothing counts towards any limit." in text
    assert "None is near that." in page(vera, "/controls?show=near")


def test_hostile_names_are_shown_inert_and_can_be_resumed(gate: Gate, dana: Browser) -> None:
    name = f"{HOSTILE}\r\n\"'&\n  x"
    turned(gate, name, reason=HOSTILE)
    raw = dana.get("/controls").text
    for bad in ("<script>alert", "\u202e", "\x1b"):
        assert bad not in raw
    [held] = re.findall(r'name="switch" value="(\w+)"', raw)
    answer = dana.post("/controls", {"csrf": csrf(dana), "act": "resume", "switch": held})
    assert answer.status_code == 303
    assert stopped(gate) == []
    assert "<script>alert" not in dana.get("/controls").text


def test_more_than_anybody_reads_is_cut(gate: Gate, vera: Browser) -> None:
    turned(gate, "n" * 1_000, reason="r" * 2_000)
    text = page(vera)
    assert "n" * 61 not in text
    assert "r" * 201 not in text


def test_however_many_are_counted_those_that_moved_last_are_looked_at_and_it_says_so(
    gate: Gate, shop: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(n: int) -> None:
        raise RuntimeError("down")

    charge = guard(fails, name="charge", gate=shop)
    with shop.run(run_id="r-fails", agent="support"):
        for number in range(5):
            with pytest.raises(RuntimeError):
                charge(n=number)
    shop.store.flush()
    for number in range(6):
        calls(shop, run=f"r-{number}", user=f"u-{number}")
    assert "were looked at" not in page(vera)
    monkeypatch.setattr("saferun.gauges.NEWEST", 3)
    text = page(vera)
    assert "user u-5" in text
    assert "user u-0" not in text
    assert "that moved before were not" in text
    # Whatever has moved since, a breaker that is open is told of.
    assert ">charge</th>" in text
    assert "user u-0" in page(vera, "/controls?about=u-0")
