"""The overview and the controls in a real browser: seen, printed, and used without a script."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.asking import ask, enrolled
from console.browsing import PHONE, WIDE, needs_browser
from recording import Script
from saferun import Gate
from saferun.call import Reason
from saferun.console import Server
from saferun.control import Switch
from saferun.store import Reader, Turn
from saferun.store.controls import switches

pytestmark = needs_browser

NARROW = {"width": 320, "height": 700}
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe" + "w" * 300


@pytest.fixture
def lived(gate: Gate) -> None:
    """Calls, denials and failures under names that do harm, and an agent that is stopped."""
    for number in range(3):
        script = Script(gate.store, f"r-{number}")
        script.model("I will.", cost_usd=0.25)
        reason = Reason(source="rule", id=f"{HOSTILE}{number}", effect="deny", message="No.")
        script.decided(HOSTILE, verdict="deny", reasons=(reason,))
        script.ended(script.decided("send"), "error", tool="send")
        script.approved("wipe", own=f"a-{number}")
    ask(gate)
    for name in ("support", HOSTILE):
        stopped(gate, name)


def stopped(gate: Gate, name: str) -> None:
    who = enrolled(gate, "erik")
    assert who.credential is not None
    switch = Switch(scope="agent", value=name, by="erik", reason=f"It runs away. {HOSTILE}")
    gate.store.commit(Turn(switch=switch, on=True, credential=who.credential))


def held(gate: Gate) -> list[str | None]:
    with Reader(gate.store.path) as reader:
        return [each.value for each in switches(reader)]


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["wide", "narrow"]
)
def test_every_page_is_accessible_and_fits_its_screen(
    opened: Callable[..., Page], lived: None, server: Server, scheme: str, viewport: Any
) -> None:
    page = opened(viewport=viewport, color_scheme=scheme)
    for where in ("/overview?last=hour", "/controls", "/runs?view=denied&since=2020-01-01T00:00Z"):
        page.goto(f"{server.url}{where}")
        for each in page.locator("summary").all():
            each.click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], where


def test_something_is_stopped_and_resumed_without_javascript(
    opened: Callable[..., Page], gate: Gate, lived: None
) -> None:
    page = opened(java_script_enabled=False)
    page.get_by_role("link", name="Controls").click()
    page.get_by_label("Stop", exact=True).select_option("A tool")
    page.get_by_label("Its name").fill("refund")
    page.get_by_label("Why", exact=True).fill("Twice is too often.")
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("status")).to_contain_text("Stopped: tool refund, in entry")
    assert "refund" in held(gate)
    page.get_by_label("Why tool refund goes on").fill("It is mended.")
    page.get_by_role("button", name="Resume tool refund").click()
    expect(page.get_by_role("status")).to_contain_text("Resumed: tool refund, in entry")
    assert "refund" not in held(gate)


def test_a_viewer_has_nothing_to_press(
    opened: Callable[..., Page], lived: None, server: Server
) -> None:
    page = opened("vera")
    page.goto(f"{server.url}/controls")
    expect(page.get_by_text("agent support")).to_be_visible()
    expect(page.get_by_text("vera may look, and neither stop nor resume.")).to_be_visible()
    assert page.locator("main button").all_inner_texts() == ["Narrow down"]


def test_what_was_chosen_is_reached_by_keyboard_alone_and_shown_as_pictures(
    opened: Callable[..., Page], lived: None, server: Server
) -> None:
    page = opened()
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="Hour").press("Enter")
    expect(page).to_have_url(f"{server.url}/overview?last=hour")
    bars = page.locator(".chart svg path.all").bounding_box()
    assert bars is not None
    assert bars["height"] > 100
    expect(page.get_by_role("img", name="Denied by minute")).to_be_visible()
    page.locator("summary").press("Enter")
    expect(page.get_by_role("table", name="Figures by minute, in UTC")).to_be_visible()
    page.locator(".figures a", has_text="Denied").press("Enter")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    assert page.locator("tbody tr").count() == 3


def test_on_paper_the_table_is_there_and_no_form(
    opened: Callable[..., Page], lived: None, server: Server
) -> None:
    page = opened()
    page.emulate_media(media="print")
    page.goto(f"{server.url}/overview?last=week")
    expect(page.get_by_role("table", name="Figures by four hours, in UTC")).to_be_visible()
    assert page.locator(".same .runs tbody").bounding_box()["height"] > 300  # type: ignore[index]
    page.goto(f"{server.url}/controls")
    expect(page.get_by_role("button", name="Stop it")).to_be_hidden()
    expect(page.get_by_role("rowheader", name="agent support")).to_be_visible()


def test_a_stop_is_pressed_by_thumb(
    opened: Callable[..., Page], gate: Gate, server: Server
) -> None:
    page = opened(viewport=PHONE, has_touch=True)
    page.goto(f"{server.url}/controls?scope=agent&value=support")
    button = page.get_by_role("button", name="Stop it")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert box["width"] >= 300
    page.get_by_label("Why", exact=True).fill("It runs away.")
    button.tap()
    expect(page.get_by_role("status")).to_contain_text("Stopped: agent support")
    assert held(gate) == ["support"]


def test_figures_move_by_themselves_and_never_under_whoever_is_at_them(
    opened: Callable[..., Page], gate: Gate, server: Server
) -> None:
    page = opened()
    page.clock.install()
    page.goto(f"{server.url}/overview?last=hour")
    calls = page.locator("#calls b")
    expect(calls).to_have_text("0")
    page.get_by_text("The same as a table").click()
    page.get_by_role("link", name="Hour").focus()
    Script(gate.store, "r-9").call("refund", {"amount": 4})
    page.clock.run_for(10_000)
    expect(calls).to_have_text("1")
    assert page.locator("details.same").evaluate("each => each.open")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(".figures a").first.focus()
    Script(gate.store, "r-10").call("refund", {"amount": 4})
    page.clock.run_for(30_000)
    assert asked == []
    page.get_by_role("link", name="Hour").focus()
    page.clock.run_for(10_000)
    expect(calls).to_have_text("2")
