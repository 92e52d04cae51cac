"""`saferun open FILE` from end to end: the command as a process, and a browser that it leads in."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from console.browsing import WIDE, needs_browser
from incident.incidents import incident, key, packed
from saferun.store import Store
from storing import Clock


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An incident file and the ledger's KEY beside it; the store is gone."""
    folder = tmp_path_factory.mktemp("open")
    store = Store(f"sqlite:///{folder / 'store/saferun.db'}", durability="process", clock=Clock())
    incident(store)
    packed(store, folder / "it.saferun")
    (folder / "KEY").write_text(key(store).vkey + "\n")
    store.close()
    (folder / "store").rename(folder / "gone")
    return folder / "it.saferun"


@pytest.fixture(scope="module")
def link(file: Path) -> Iterator[str]:
    """The one-time link of the console on that file."""
    command = [sys.executable, "-m", "saferun", "open", str(file)]
    options = ["--vkey", str(file.with_name("KEY")), "--json"]
    with subprocess.Popen(
        [*command, *options], cwd=file.parent, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield json.loads(running.stdout.readline())["url"]
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


@pytest.fixture(scope="module")
def page(chromium: Browser, link: str) -> Iterator[Page]:
    """A page that came in by that link. It asks nobody but this console, and sends nothing."""
    address = link.partition("/enter")[0]
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    page.on(
        "request",
        lambda asked: (
            wrong.append(f"{asked.method} {asked.url}")
            if not asked.url.startswith(address)
            or (asked.method != "GET" and not asked.url.endswith("/enter"))
            else None
        ),
    )
    page.goto(link)
    page.wait_for_url(f"{address}/")
    yield page
    context.close()
    assert wrong == []


def holds(page: Page) -> None:
    """What is so on every page: it says what it is of, and nothing on it acts."""
    banner = page.get_by_role("complementary").first
    expect(banner).to_contain_text("it.saferun")
    expect(banner).to_contain_text("verified by the key that was given")
    assert page.locator("form[method=post i]").count() == 0
    assert (
        page.locator("a[href^='/requests'], a[href^='/controls'], a[href^='/grants']").count() == 0
    )


@needs_browser
def test_its_pages_lead_from_the_file_to_a_run_within_a_run_and_back(page: Page, link: str) -> None:
    address = link.partition("/enter")[0]
    page.goto(f"{address}/")
    holds(page)
    page.get_by_role("link", name="r-2").first.click()
    page.locator(".alive .frame h2").wait_for()
    holds(page)
    expect(page.locator(".frame")).to_contain_text("look_up")
    page.get_by_role("link", name="r-1").first.click()
    page.wait_for_url("**/run?id=r-1**")
    page.locator(".alive .frame h2").wait_for()
    holds(page)


@needs_browser
@pytest.mark.parametrize("path", ["/runs", "/runs/diff?a=r-1&b=r-2", "/nothing", "/policies"])
def test_its_other_pages_hold_too(page: Page, link: str, path: str) -> None:
    page.goto(f"{link.partition('/enter')[0]}{path}")
    holds(page)


@needs_browser
def test_no_key_does_anything_but_look(page: Page, link: str) -> None:
    # The page's own watch on what is sent fails where one of them does.
    address = link.partition("/enter")[0]
    page.goto(f"{address}/run?id=r-1&frame=1")
    page.locator(".alive .frame h2").wait_for()
    for each in ("+", "-", "r", "x", "?", "Escape", "j"):
        page.keyboard.press(each)
    expect(page.locator(".frame .meta")).to_contain_text("frame 2 of")
    holds(page)


@needs_browser
def test_the_link_leads_nobody_in_once_more(page: Page, chromium: Browser, link: str) -> None:
    context = chromium.new_context()
    other = context.new_page()
    other.goto(link)
    expect(other.locator("body")).to_contain_text("That link has been used")
    other.goto(f"{link.partition('/enter')[0]}/run?id=r-1")
    assert "refund" not in other.content()
    context.close()


@pytest.mark.parametrize("where", [0, 60, 2_000, -40])
def test_a_file_that_was_changed_is_not_shown(file: Path, tmp_path: Path, where: int) -> None:
    data = bytearray(file.read_bytes())
    data[where] ^= 1
    (tmp_path / "edited.saferun").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "saferun", "open", "edited.saferun", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode >= 64
    assert done.stdout == ""
    assert done.stderr.startswith("saferun: ")
    assert "Traceback" not in done.stderr
