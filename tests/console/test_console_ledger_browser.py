"""The pages of the ledger in a real browser: verified while one looks on, small, dark, inert."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console.browsing import PHONE, needs_browser
from recording import Script, tamper
from saferun import Gate
from saferun.console import Console, Server, verification
from saferun.store.anchors import Anchored, keep_anchored

pytestmark = needs_browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def told(gate: Gate) -> Script:
    script = Script(gate.store, prompt=HOSTILE)
    script.model(HOSTILE)
    script.call(HOSTILE[:60], {HOSTILE: HOSTILE}, result=HOSTILE)
    script.denied("refund", {"amount": 4_500})
    gate.store.checkpoint()
    script.model("Done.")
    known = Anchored("vault", 3, 1_000_000, b"note", 2_000_000, None, against=False)
    refused = Anchored("w", 0, 0, b"", 2_000_000, HOSTILE, against=True)
    keep_anchored(gate.store.path, [known, refused])
    return script


def paths(gate: Gate) -> list[str]:
    return ["/ledger", "/ledger/entries", f"/ledger/entries/{gate.store.size() - 3}"]


def test_it_is_verified_while_one_looks_on(
    opened: Callable[..., Page],
    server: Server,
    made: Console,
    told: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    real = verification.examine

    def slow(reader: Any, *, own: Any, external: Any, progress: Any) -> Any:
        progress(2)
        assert go_on.wait(30)
        return real(reader, own=own, external=external, progress=progress)

    monkeypatch.setattr(verification, "examine", slow)
    page = opened("vera")
    page.goto(f"{server.url}/ledger")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_role("progressbar", name="Verifying")).to_be_visible()
    go_on.set()
    expect(page.locator("[data-again]")).to_contain_text("Consistent but not anchored")
    expect(page.get_by_role("button", name="Verify again")).to_be_visible()


def test_a_changed_entry_is_shown_and_leads_to_its_frame(
    opened: Callable[..., Page], server: Server, gate: Gate, made: Console, told: Script
) -> None:
    seq = told.call("refund", {"amount": 7})
    tamper(gate.store.path, seq, b'"amount":7', b'"amount":9')
    page = opened("vera", java_script_enabled=False)
    page.goto(f"{server.url}/ledger")
    page.get_by_role("button", name="Verify now").click()
    made.verification.wait(30)
    page.goto(f"{server.url}/ledger")
    expect(page.locator(".told.deny")).to_contain_text("Tampered")
    expect(page.locator("header .ledger")).to_contain_text(f"✕ tampered with: entry {seq}")
    page.get_by_role("link", name="where it stands in its run").click()
    expect(page.locator(".frame")).to_contain_text("was changed")


def test_entries_are_found_without_javascript(
    opened: Callable[..., Page], server: Server, told: Script
) -> None:
    page = opened("vera", java_script_enabled=False)
    page.goto(f"{server.url}/ledger")
    page.get_by_text("More to narrow down by").click()
    page.get_by_label("Verdict").fill("deny")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("table").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("denied")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download a receipt").click()
    assert download.value.suggested_filename.endswith(".tlog-proof")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_nothing_in_them_acts(
    opened: Callable[..., Page],
    server: Server,
    gate: Gate,
    made: Console,
    told: Script,
    scheme: Any,
) -> None:
    page = opened("vera", color_scheme=scheme)
    made.verification.begin()
    made.verification.wait(30)
    for path in paths(gate):
        page.goto(f"{server.url}{path}")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.locator("img[src=x]").count() == 0
        assert "\u202e" not in page.content()


def test_they_fit_a_phone(
    opened: Callable[..., Page], server: Server, gate: Gate, told: Script
) -> None:
    page = opened("vera", viewport={**PHONE, "width": 320})
    for path in paths(gate):
        page.goto(f"{server.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
