"""Runs within runs in a real browser: the keys in and out, what is live, and for everybody."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.browsing import PHONE, WIDE, needs_browser
from console.test_console_tree import child, tree
from recording import Script
from saferun import Gate
from saferun.console import Server
from saferun.ledger import RunEntry, encode
from saferun.store import Append

pytestmark = needs_browser


@pytest.fixture
def told(gate: Gate) -> Script:
    return tree(gate)


@pytest.fixture
def at(opened: Callable[..., Page], server: Server) -> Callable[..., Page]:
    def at(frame: int = 1, run: str = "r-1", **about: Any) -> Page:
        page = opened(**about)
        page.goto(f"{server.url}/run?id={run}&frame={frame}")
        page.locator(".alive .frame h2").wait_for()
        return page

    return at


def selected(page: Page) -> Any:
    return page.get_by_role("option", selected=True)


def test_keys_lead_to_what_was_denied_within_into_it_and_back(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(1)
    page.keyboard.press("h")
    expect(page.get_by_role("status")).to_have_text("This run is within no other.")
    page.keyboard.press("l")
    expect(page.get_by_role("status")).to_have_text("No run began at this frame.")
    page.keyboard.press("n")
    expect(selected(page)).to_have_attribute("aria-posinset", "2")
    expect(page.get_by_role("status")).to_contain_text("is within a run that began here. l goes in")
    expect(selected(page)).to_contain_text("3 runs within")
    page.keyboard.press("l")
    page.wait_for_url("**/run?id=r-b**")
    page.locator(".alive .frame h2", has_text="wipe").wait_for()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/run?id=r-1**")
    page.locator(".alive .frame h2").wait_for()
    expect(selected(page)).to_have_attribute("aria-posinset", "2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("into a run that began at this frame")


def test_a_child_that_begins_appears(at: Callable[..., Page], told: Script, gate: Gate) -> None:
    page = at(3)
    expect(page.locator(".frame")).not_to_contain_text("Began here")
    began = child(gate, "r-new")
    expect(page.locator(".frame")).to_contain_text("r-new")
    expect(selected(page)).to_contain_text("1 run within")
    began.denied()
    expect(selected(page)).to_contain_text("1 denied")


def test_many_children_stand_in_few_elements(at: Callable[..., Page], gate: Gate) -> None:
    script = Script(gate.store)
    for begin in range(0, 2_000, 500):
        entries = [
            RunEntry(event="start", run=f"c-{begin + each}", root="r-1", parent="r-1", user={})
            for each in range(500)
        ]
        gate.store.commit(Append([encode(each) for each in entries], gate.store.boot))
        script.model("Some more.")
    page = at(3)
    expect(page.locator(".frame")).to_contain_text("500 began here")
    assert page.locator("*").count() < 1_500


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", PHONE), ("dark", WIDE)], ids=["light-phone", "dark-wide"]
)
def test_nobody_is_kept_out_of_a_tree(
    at: Callable[..., Page], server: Server, told: Script, gate: Gate, scheme: str, viewport: Any
) -> None:
    more = [{"role": "user", "content": "and more"}]
    told.model("a", turn="t-1", messages=[{"role": "user", "content": "the first"}])
    told.model("b", turn="t-2", after="t-1", kept=1, messages=more)
    page = at(2, color_scheme=scheme, viewport=viewport)
    for path in (None, "/run?id=r-c", "/run?id=r-1&frame=5", "/runs?children=yes"):
        if path is not None:
            page.goto(server.url + path)
            if "/run?" in path:
                page.locator(".alive .frame h2").wait_for()
        for folded in page.locator("details > summary").all():
            folded.click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path


def test_a_view_is_kept_by_hand(opened: Callable[..., Page], server: Server, told: Script) -> None:
    page = opened(java_script_enabled=False)
    page.goto(f"{server.url}/runs?tool=wipe")
    page.get_by_text("Keep this view").click()
    page.get_by_label("Name").fill("Wiped")
    page.get_by_role("button", name="Keep it").click()
    view = page.get_by_role("navigation", name="Your views").get_by_role("link", name="Wiped")
    expect(view).to_have_attribute("aria-current", "true")
