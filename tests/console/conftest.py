from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from console import asking
from console.asking import enrolled
from console.browsing import CHROMIUM, WIDE
from console.serving import serving
from saferun import Gate
from saferun.console import NOBODY, Console, Server, workroom


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = asking.made()
    yield gate
    gate.close()


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work for a page is waited for, and is quick, on the busiest machine.

    What is told of work that takes long is the matter of tests of its own.
    """
    monkeypatch.setattr(workroom, "PATIENCE", 60.0)
    monkeypatch.setattr(workroom, "QUICK", 60.0)


@pytest.fixture
def console(gate: Gate) -> Console:
    return asking.console(gate)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # How long nothing may come before a test gives up: a bound on hanging, and no promise of speed.
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def made(gate: Gate) -> Console:
    return asking.console(gate)


@pytest.fixture
def server(made: Console) -> Iterator[Server]:
    with serving(made) as server:
        yield server


@pytest.fixture
def opened(chromium: Browser, server: Server, made: Console, gate: Gate) -> Iterator[Any]:
    """A page of somebody who came in by a one-time link. What it complains of is a failure."""
    contexts, complaints = [], []

    def open_(person: str | None = "dana", **about: Any) -> Page:
        context = chromium.new_context(viewport=about.pop("viewport", WIDE), **about)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if "Content Security" in said.text or "Trusted" in said.text
                else None
            ),
        )
        who = NOBODY if person is None else enrolled(gate, person)
        code = made.sessions.link(who)
        page.goto(f"{server.url}/enter#{code}")
        if about.get("java_script_enabled") is False:
            page.get_by_label("The code").fill(code)
            page.get_by_role("button", name="Come in").click()
        page.wait_for_url(f"{server.url}/")
        return page

    yield open_
    for each in contexts:
        each.close()
    assert complaints == []
