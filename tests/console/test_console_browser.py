"""The console in a real browser: what people see, do and cannot be made to do."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.asking import ask, stands
from console.browsing import PHONE, WIDE, needs_browser, sees
from saferun import Gate
from saferun.console import Server

pytestmark = needs_browser


def test_a_link_leads_in_and_leaves_nothing_in_the_address(
    opened: Callable[..., Page], server: Server
) -> None:
    page = opened()
    expect(page.get_by_text("dana")).to_be_visible()
    assert page.url == f"{server.url}/"
    page.go_back()
    assert "#" not in page.url


def test_a_call_is_approved_by_thumb(opened: Callable[..., Page], gate: Gate) -> None:
    request = ask(gate)
    page = opened(viewport=PHONE, has_touch=True)
    page.get_by_role("link", name="refund").tap()
    button = page.get_by_role("button", name="Approve refund")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert box["width"] >= 300
    button.tap()
    expect(page.get_by_text("Approved. The call may run once")).to_be_visible()
    assert stands(gate, request).state == "approved"


def test_it_all_works_without_javascript(opened: Callable[..., Page], gate: Gate) -> None:
    one, two = ask(gate), ask(gate, run="r-2", amount=30_000)
    page = opened(java_script_enabled=False)
    page.locator(f'a[href="/requests/{one.id}"]').click()
    page.locator("summary", has_text="Edit").click()
    page.locator("#edit-0").fill("22000")
    page.get_by_role("button", name="Change").click()
    expect(page.get_by_text("look at it as it is now")).to_be_visible()
    page.get_by_role("button", name="Approve refund").click()
    page.get_by_role("link", name="Inbox", exact=True).first.click()
    page.locator(f'.page a[href="/requests/{two.id}"]').click()
    page.locator("summary", has_text="Reject").click()
    page.get_by_label("Why not?").fill("Twice is enough.")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_text("The call does not run")).to_be_visible()
    assert (stands(gate, one).state, stands(gate, one).question.args["amount"]) == (
        "approved",
        22_000,
    )
    assert stands(gate, two).state == "rejected"


def test_a_new_request_appears_by_itself(opened: Callable[..., Page], gate: Gate) -> None:
    page = opened()
    expect(page.get_by_text("New requests appear here")).to_be_visible()
    expect(page.get_by_text("Nothing waits for anybody")).to_be_visible()
    ask(gate)
    expect(page.get_by_role("link", name="refund")).to_be_visible()


def test_a_request_that_moves_under_its_reader_says_so_and_stays_as_it_was(
    opened: Callable[..., Page], gate: Gate
) -> None:
    request = ask(gate)
    dana, erik = opened("dana"), opened("erik")
    for page in (dana, erik):
        page.get_by_role("link", name="refund").click()
        expect(page.get_by_text("New requests appear here")).to_be_visible()
    dana.get_by_text("Reject…").click()
    dana.get_by_label("Why not?").fill("half a sen")
    erik.get_by_role("button", name="Approve refund").click()
    expect(dana.get_by_text("This has moved on.")).to_be_visible()
    expect(dana.get_by_label("Why not?")).to_have_value("half a sen")
    dana.get_by_role("button", name="Reject", exact=True).click()
    expect(dana.get_by_text("It is approved already.")).to_be_visible()
    assert stands(gate, request).state == "approved"


def test_a_request_that_moved_while_nobody_saw_it_says_so_to_whoever_looks_again(
    opened: Callable[..., Page], gate: Gate
) -> None:
    ask(gate)
    dana, erik = opened("dana"), opened("erik")
    for page in (dana, erik):
        page.get_by_role("link", name="refund").click()
        expect(page.get_by_text("New requests appear here")).to_be_visible()
    sees(dana, seen=False)
    erik.get_by_role("button", name="Approve refund").click()
    expect(erik.get_by_text("answered by erik")).to_be_visible()
    expect(dana.get_by_text("This has moved on.")).to_be_hidden()
    sees(dana, seen=True)
    expect(dana.get_by_text("This has moved on.")).to_be_visible()


def test_keys_lead_through_it(opened: Callable[..., Page], gate: Gate) -> None:
    ask(gate)
    page = opened()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("refund")
    page.keyboard.press("r")
    expect(page.get_by_label("Why not?")).to_be_focused()
    page.keyboard.type("No rije.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The call does not run")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_page_is_accessible_and_fits_its_screen(
    opened: Callable[..., Page], gate: Gate, server: Server, scheme: str, viewport: Any
) -> None:
    request = ask(gate, prompt="word " * 80, note="n" * 900)
    gone = ask(gate, "wipe", run="r-2", folder="/srv/old")
    page = opened(viewport=viewport, color_scheme=scheme)
    path = f"/requests/{request.id}"
    for where in ("/", path, f"/requests/{gone.id}", "/requests", "/grants", "/login", "/nothing"):
        page.goto(f"{server.url}{where}")
        for each in page.locator("summary").all():
            each.click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], where


def test_hostile_text_runs_nothing(opened: Callable[..., Page], gate: Gate) -> None:
    bad = "<img src=x onerror=alert(1)><script>alert(2)</script><a href='javascript:alert(3)'>x</a>"
    request = ask(gate, prompt=bad, note=bad)
    page = opened()
    page.get_by_role("link", name="refund").click()
    expect(page.get_by_text(bad).first).to_be_visible()
    assert page.locator("img").count() == 1
    page.goto(f"{page.url.split('/requests')[0]}/requests/{request.id}/arguments.txt")
    assert page.locator("img, script").count() == 0


def test_another_site_can_neither_frame_it_nor_post_to_it(
    opened: Callable[..., Page], gate: Gate, server: Server
) -> None:
    request = ask(gate)
    page = opened()
    target = f"{server.url}/requests/{request.id}"
    page.goto(target)
    form = {
        each.get_attribute("name"): each.get_attribute("value")
        for each in page.locator("form.approve input[type=hidden]").all()
    }
    # Even one that knows all that stands in the form.
    fields = "".join(
        f"<input name='{name}' value='{value}'>" for name, value in form.items() if name != "seen"
    )
    evil = (
        f"<iframe src='{target}'></iframe><form method='post' action='{target}'>{fields}"
        "<button name='act' value='approve'>Win a prize</button></form>"
    )
    page.route(
        "http://evil.test/", lambda route: route.fulfill(body=evil, content_type="text/html")
    )
    page.goto("http://evil.test/")
    assert "Approve refund" not in (page.frames[-1].content() if len(page.frames) > 1 else "")
    page.get_by_role("button", name="Win a prize").click()
    page.wait_for_load_state()
    assert "Approved" not in page.content()
    assert stands(gate, request).state == "pending"
