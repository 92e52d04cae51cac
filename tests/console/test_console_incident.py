"""The console on an incident file: what it shows, what it says of it, and what it cannot do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient

from console.browsing import PHONE, WIDE, needs_browser
from incident.incidents import Hiding, incident, key, packed
from recording import Script
from saferun.console import Server
from saferun.console.incident import Viewer
from saferun.incident import opened
from saferun.store import Store
from storing import Clock

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("incident")
    store = Store(f"sqlite:///{folder / 'saferun.db'}", durability="process", clock=Clock())
    incident(store)
    odd = Script(store, "r-odd" + "'\"<b>", agent=HOSTILE, prompt=HOSTILE)
    odd.model(HOSTILE)
    packed(store, folder / "sound.saferun")
    packed(store, folder / "<b>odd.saferun", run=odd.run)
    yield store
    store.close()


@pytest.fixture(scope="module")
def viewer(world: Store) -> Iterator[Viewer]:
    with opened(world.path.with_name("sound.saferun")) as found:
        viewer = Viewer(found)
        yield viewer
        viewer.close()


def client(viewer: Viewer) -> TestClient:
    asking = TestClient(viewer.app, base_url="http://127.0.0.1:7391")
    code = viewer.link().partition("#")[2]
    answer = asking.post(
        "/enter", data={"code": code}, headers={"origin": asking.base_url.__str__()}
    )
    assert answer.status_code == 200
    return asking


@pytest.fixture
def somebody(viewer: Viewer) -> TestClient:
    return client(viewer)


PAGES = ("/", "/runs", "/run?id=r-1", "/run?id=r-1&frame=3", "/runs/diff?a=r-1&b=r-2", "/nothing")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_it_is_of_an_incident_file(somebody: TestClient, path: str) -> None:
    text = somebody.get(path).text
    assert "Incident file sound.saferun" in text
    assert "no key from outside vouches for them" in text


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_that_acts(somebody: TestClient, path: str) -> None:
    text = somebody.get(path).text
    assert 'method="post"' not in text.lower()
    assert not re.search(r'href="/(requests|grants|login)', text)


@pytest.mark.parametrize("path", ["/requests/a-1", "/grants", "/logout", "/channels/slack/x"])
def test_there_is_nothing_to_post_to(somebody: TestClient, path: str) -> None:
    answer = somebody.post(path, headers={"origin": "http://127.0.0.1:7391"})
    assert answer.status_code in (404, 405)


def test_the_page_of_the_file_says_what_it_does_not_prove(somebody: TestClient) -> None:
    text = somebody.get("/").text
    assert "What it does not prove" in text
    assert "none vouches for it" in text
    assert '<a href="/run?id=r-2">' in text


def test_a_key_from_outside_is_named(world: Store) -> None:
    with opened(world.path.with_name("sound.saferun"), [key(world)]) as found:
        viewer = Viewer(found)
        text = client(viewer).get("/").text
        viewer.close()
    assert "verified by the key that was given" in text
    assert key(world).vkey.replace("+", "&#43;") in text or key(world).vkey in text


def test_what_was_redacted_is_said_on_every_page(world: Store, tmp_path: Path) -> None:
    import msgspec

    def hidden(entry):
        if "args" not in entry.fields:
            return entry
        return msgspec.structs.replace(entry, fields={**entry.fields, "args": "hidden"})

    packed(world, tmp_path / "a.saferun", redact=Hiding(hidden))
    with opened(tmp_path / "a.saferun") as found:
        viewer = Viewer(found)
        somebody = client(viewer)
        assert "22 are redacted" in somebody.get("/runs").text
        assert "redacted for this file" in somebody.get("/run/frame?id=r-1&number=1").text
        viewer.close()


def test_nobody_else_on_this_machine_sees_it(viewer: Viewer) -> None:
    stranger = TestClient(viewer.app, base_url="http://127.0.0.1:7391", follow_redirects=False)
    for path in ("/", "/runs", "/run?id=r-1", "/run/index?id=r-1"):
        assert stranger.get(path).headers["location"] == "/enter"
    assert stranger.get("/run/live?id=r-1").status_code == 401
    guess = stranger.post(
        "/enter", data={"code": "x" * 40}, headers={"origin": "http://127.0.0.1:7391"}
    )
    assert guess.status_code == 401
    assert "saferun.sound" not in guess.text


def test_a_link_leads_in_once(viewer: Viewer) -> None:
    code = viewer.link().partition("#")[2]
    asking = TestClient(viewer.app, base_url="http://127.0.0.1:7391", follow_redirects=False)
    headers = {"origin": "http://127.0.0.1:7391"}
    assert asking.post("/enter", data={"code": code}, headers=headers).status_code == 303
    assert asking.post("/enter", data={"code": code}, headers=headers).status_code == 401


def test_another_name_than_this_machines_is_refused(viewer: Viewer) -> None:
    asking = TestClient(viewer.app, base_url="http://evil.example")
    assert asking.get("/").status_code == 403


def test_names_and_words_of_a_file_do_nothing(world: Store) -> None:
    with opened(world.path.with_name("<b>odd.saferun")) as found:
        viewer = Viewer(found)
        somebody = client(viewer)
        for path in ("/", "/runs"):
            text = somebody.get(path).text
            assert "<script>alert" not in text
            assert "<b>odd" not in text
            assert "\u202e" not in text
        viewer.close()


@pytest.fixture
def served(viewer: Viewer) -> Iterator[Server]:
    server = Server(viewer.app, "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


@needs_browser
@pytest.mark.parametrize(
    ("scheme", "viewport", "path"),
    [("light", WIDE, "/run?id=r-1&frame=2"), ("dark", WIDE, "/"), ("light", PHONE, "/")],
)
def test_it_is_at_hand_in_a_browser(
    chromium: Browser,
    viewer: Viewer,
    served: Server,
    scheme: Literal["light", "dark"],
    viewport: Any,
    path: str,
) -> None:
    complaints: list[str] = []
    context = chromium.new_context(viewport=viewport, color_scheme=scheme)
    page: Page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(f"{served.url}{viewer.link()}")
    page.wait_for_url(f"{served.url}/")
    if path != "/":
        page.goto(f"{served.url}{path}")
        page.locator(".alive .frame h2").wait_for()
        page.keyboard.press("j")
        expect(page.locator(".frame .meta")).to_contain_text("frame 3 of")
    expect(page.get_by_role("complementary")).to_contain_text("sound.saferun")
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    context.close()
    assert complaints == []
