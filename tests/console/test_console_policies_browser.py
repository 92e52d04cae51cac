"""The pages of policies in a real browser: tests run by a form, small, dark, inert."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.asking import ARGS, POLICY
from console.browsing import PHONE, needs_browser
from publishing import Published
from saferun import Gate
from saferun.call import Call, RunRef
from saferun.console import Server

pytestmark = needs_browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\\u202egnp.exe"

TESTS = f"""\
cases:
  - name: A small one is simply made.
    call: {{tool: refund, args: {{order_id: A-1, amount: 4, currency: USD}}}}
    expect: allow
  - name: "{HOSTILE}"
    call: {{tool: refund, args: {{order_id: "{HOSTILE[:30]}", amount: 30000, currency: USD}}}}
    expect: allow
"""


@pytest.fixture
def files(gate: Gate) -> list[str]:
    """A policy with hostile words that has decided, a candidate of it, and the pages of both."""
    folder = Path("policies")
    folder.mkdir()
    said = POLICY.replace("Refunds above $200 need finance.", f'"{HOSTILE}"')
    (folder / "money.yaml").write_text(f"{said}# {HOSTILE}\n", encoding="utf-8")
    (folder / "money.test.yaml").write_text(TESTS, encoding="utf-8")
    (folder / "broken.yaml").write_text(f'version: 1\nname: "{HOSTILE}"\nx: "{HOSTILE}"\n')
    shop = Published(gate.store, "money")
    first = shop.publish(said)
    second = shop.publish(said.replace("20001", "30001"), trial="canary", share=10)
    run = RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"})
    gate.check(Call(tool="refund", args={**ARGS, "amount": 95_000}, run=run), leaves=True)
    return [
        "/policies",
        "/policy?name=money",
        f"/policy?name=money&version={second.candidate}",
        "/policy?name=broken",
        "/policy/text?name=money&version=file",
        f"/policy/diff?name=money&a={first.live}&b={second.candidate}",
    ]


def test_the_tests_are_run_without_javascript_and_say_why(
    opened: Callable[..., Page], server: Server, files: list[str]
) -> None:
    page = opened("vera", java_script_enabled=False)
    page.goto(f"{server.url}/policies")
    page.get_by_role("link", name="money").click()
    expect(page.get_by_text("not run")).to_have_count(2)
    page.get_by_role("button", name="Run the tests").click()
    expect(page.get_by_role("status")).to_contain_text("1 failed, 1 passed")
    expect(page.locator(".why")).to_contain_text("expected allow, found ask")


def test_a_rule_leads_to_where_it_spoke_and_to_its_line(
    opened: Callable[..., Page], server: Server, files: list[str]
) -> None:
    page = opened("vera", java_script_enabled=False)
    page.goto(f"{server.url}/policy?name=money")
    page.get_by_role("link", name="Where huge spoke").click()
    expect(page.get_by_role("table").get_by_text("denied")).to_have_count(1)
    page.go_back()
    row = page.get_by_role("row").filter(has=page.get_by_text("huge", exact=True))
    row.get_by_role("link", name="line").click()
    expect(page.locator("li:target")).to_contain_text("huge")


def test_two_versions_are_chosen_and_compared(
    opened: Callable[..., Page], server: Server, files: list[str]
) -> None:
    page = opened("vera", java_script_enabled=False)
    page.goto(f"{server.url}/policy?name=money")
    page.get_by_role("link", name="Compare versions").click()
    page.get_by_label("From").select_option(label="the file as it is")
    page.get_by_label("To", exact=True).select_option(index=1)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What would be decided otherwise")).to_be_visible()


def test_the_pages_are_accessible_and_nothing_in_them_acts(
    opened: Callable[..., Page], server: Server, files: list[str]
) -> None:
    page = opened("vera")
    for path in files:
        page.goto(f"{server.url}{path}")
        looked_at(page)
    page.goto(f"{server.url}/policy?name=money")
    page.get_by_role("button", name="Run the tests").click()
    expect(page.get_by_role("status")).to_contain_text("1 failed")
    looked_at(page)


def test_the_pages_are_accessible_in_the_dark(
    opened: Callable[..., Page], server: Server, files: list[str]
) -> None:
    page = opened("vera", color_scheme="dark")
    for path in (files[1], files[-1]):
        page.goto(f"{server.url}{path}")
        looked_at(page)


def looked_at(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"
    assert page.locator("img[src=x]").count() == 0
    assert "\u202e" not in page.content()


def test_they_fit_a_phone(opened: Callable[..., Page], server: Server, files: list[str]) -> None:
    page = opened("vera", viewport={**PHONE, "width": 320})
    for path in files:
        page.goto(f"{server.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
        if path == "/policies":
            region = page.get_by_role("region", name="Policies")
            assert region.evaluate("each => each.scrollWidth <= each.clientWidth")
    # Nobody has to scroll sideways for what a rule says and how often it has spoken.
    page.goto(f"{server.url}{files[1]}")
    region = page.get_by_role("region", name="Rules")
    assert region.evaluate("each => each.scrollWidth <= each.clientWidth")
