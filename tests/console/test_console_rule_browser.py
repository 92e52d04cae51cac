"""From a frame to a rule in a real browser: its keys and buttons, near misses, what is inert."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.asking import WORLD
from console.browsing import PHONE, needs_browser
from console.test_console_rule import FRAME, SHOP, failed, file, labels, refunded
from saferun import Gate, config
from saferun.console import Server

pytestmark = needs_browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe"


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A shop of which one run refunded too much, and two failed with hostile words."""
    Path("saferun.toml").write_text(WORLD, encoding="utf-8")
    Path("policies").mkdir()
    file().write_text(f"{SHOP}# {HOSTILE}\n", encoding="utf-8")
    gate = Gate(policy="shop", settings=config.load())
    for number in range(4):
        refunded(gate, f"r-{number}", 10 * number + 10)
    failed(gate, "r-f1", HOSTILE)
    failed(gate, "r-f2", HOSTILE)
    refunded(gate, "r-bad", 9_000, HOSTILE)
    yield gate
    gate.close()


@pytest.fixture
def at(opened: Callable[..., Page], server: Server) -> Callable[..., Page]:
    def at(path: str, person: str = "alma", **about: Any) -> Page:
        page = opened(person, **about)
        page.goto(f"{server.url}{path}")
        return page

    return at


def said(page: Page) -> Any:
    return page.locator(".transport .said")


def test_r_leads_from_the_replay_to_a_rule_and_escape_back(at: Callable[..., Page]) -> None:
    page = at("/run?id=r-bad&frame=1")
    page.locator(".alive .frame h2").wait_for()
    page.keyboard.press("r")
    expect(page.get_by_role("heading", level=1)).to_contain_text("A rule from frame 1 of r-bad")
    page.wait_for_load_state()
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"/run\?id=r-bad&frame=1$"))


def test_keys_in_the_replay_say_what_stopping_a_call_is(
    at: Callable[..., Page], gate: Gate
) -> None:
    page = at("/run?id=r-bad&frame=1", "dana")
    page.locator(".alive .frame h2").wait_for()
    page.keyboard.press("+")
    expect(said(page)).to_have_text("Frame 1: to stop it is right, says dana.")
    expect(page.locator(".frame .label .is")).to_have_text("to stop it is right, says dana")
    page.keyboard.press("-")
    expect(page.locator(".frame .label")).to_have_attribute("data-mark", "false")
    page.keyboard.press("-")
    expect(said(page)).to_have_text("Frame 1: nothing is said of it any more.")
    page.get_by_role("button", name="right to stop").click()
    expect(page.locator(".frame .label")).to_have_attribute("data-mark", "right")
    assert [each.mark for each in labels(gate)] == ["right", "false", "none", "right"]


def test_a_viewer_is_told_why_keys_say_nothing(at: Callable[..., Page], gate: Gate) -> None:
    page = at("/run?id=r-bad&frame=1", "vera")
    page.locator(".alive .frame h2").wait_for()
    page.keyboard.press("+")
    expect(said(page)).to_contain_text("logged in with your own secret")
    assert labels(gate) == []


def test_near_misses_take_one_key_each(at: Callable[..., Page], gate: Gate) -> None:
    page = at("/near", "dana")
    forms = page.locator(".waiting form.label")
    expect(forms).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("+")
    expect(forms.nth(0)).to_have_attribute("data-mark", "right")
    page.keyboard.press("-")
    expect(forms.nth(1)).to_have_attribute("data-mark", "false")
    page.keyboard.press("k")
    page.keyboard.press("?")
    expect(forms.nth(0).locator(".is")).to_have_text("nothing is said of it any more")
    assert [each.mark for each in labels(gate)] == ["right", "false", "none"]
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/run\?id=r-f2"))


def test_a_key_that_is_held_down_says_nothing_of_the_next_near_miss(
    at: Callable[..., Page], gate: Gate
) -> None:
    page = at("/near", "dana")
    forms = page.locator(".waiting form.label")
    expect(forms).to_have_count(2)
    page.keyboard.press("j")
    for _ in range(3):
        page.keyboard.down("+")
    expect(forms.nth(0)).to_have_attribute("data-mark", "right")
    page.keyboard.up("+")
    page.keyboard.press("-")
    expect(forms.nth(1)).to_have_attribute("data-mark", "false")
    assert [each.mark for each in labels(gate)] == ["right", "false"]


def test_all_of_it_works_without_javascript(at: Callable[..., Page], gate: Gate) -> None:
    page = at("/near", java_script_enabled=False)
    page.get_by_role("button", name="right to stop").first.click()
    expect(page.locator(".just .is")).to_have_text("to stop it is right, says alma")
    page.get_by_role("button", name="take back").first.click()
    page.goto(page.url.replace(re.search(r"/near.*", page.url)[0], FRAME))  # type: ignore[index]
    own = page.locator("pre.rule").inner_text().split()[2]
    page.get_by_role("button", name="Write it in shadow").click()
    expect(page.get_by_role("status")).to_contain_text(f"{own} is in policies/shop.yaml")
    assert f"id: {own}\n" in file().read_text(encoding="utf-8")
    page.get_by_role("button", name="Enforce").click()
    expect(page.get_by_role("status")).to_contain_text(f"{own} is enforced")
    assert [each.mark for each in labels(gate)] == ["right", "none"]


def test_a_list_says_how_long_a_frame_took_as_the_frame_does(at: Callable[..., Page]) -> None:
    page = at("/run?id=r-bad&frame=1")
    took = page.get_by_role("option", selected=True).locator(".took").inner_text()
    assert took
    expect(page.locator(".frame dt", has_text="Cost").locator("+ dd")).to_have_text(took)


def test_on_a_narrow_screen_nothing_of_a_table_is_out_of_sight(
    at: Callable[..., Page], server: Server
) -> None:
    page = at(FRAME)
    page.get_by_role("button", name="Write it in shadow").click()
    page.wait_for_url(f"{server.url}/shadow")
    for width, path in ((800, "/shadow"), (360, "/shadow"), (360, "/export?id=r-bad&for=team")):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{server.url}{path}")
        for each in page.locator("main .scroll").all():
            cut = each.evaluate("each => each.scrollWidth - each.clientWidth")
            assert cut <= 0, (width, path)
    expect(page.locator(".goes .such").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_inert_and_fits_a_phone(
    at: Callable[..., Page], server: Server, scheme: str
) -> None:
    page = at(FRAME, color_scheme=scheme)
    page.get_by_role("button", name="Write it in shadow").click()
    page.wait_for_url(f"{server.url}/shadow")
    for path in (f"{FRAME}&then=finance", "/near", "/shadow", "/run?id=r-f1&frame=1"):
        page.goto(f"{server.url}{path}")
        if path == "/near":
            page.keyboard.press("j")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.locator("img[src=x]").count() == 0
        if not path.startswith("/run"):
            page.set_viewport_size(PHONE)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, path
            page.emulate_media(media="print")
            for each in page.locator("button").all():
                expect(each).to_be_hidden()
            page.emulate_media(media="screen")
            page.set_viewport_size({"width": 1280, "height": 900})
