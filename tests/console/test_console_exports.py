"""A run that is taken along: the preview on its page, the files, and who gets them."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from console import asking
from console.asking import Browser, enrolled
from console.browsing import PHONE, WIDE, needs_browser
from recording import Script
from saferun import Gate
from saferun.console import NOBODY, Console, exports
from saferun.incident import examine

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def told(gate: Gate) -> Script:
    script = Script(gate.store, "r-1", prompt="Refund Maria.", agent="support")
    script.model(f"I will. {HOSTILE}")
    script.call("refund", {"amount": 4_711, "order_id": "A-17"})
    child = Script(gate.store, "r-2", root="r-1", parent="r-1")
    child.call("look_up", {"id": 7})
    gate.store.flush()
    return script


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "vera"))


def taken(somebody: Browser, path: str, kind: str = "incident") -> Any:
    return somebody.post("/export", {**somebody.form(path), "as": kind})


def entries(answer: Any) -> str:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as unpacked:
        return unpacked.read("entries.jsonl").decode()


def test_a_run_has_a_link_to_its_export(vera: Browser, told: Script) -> None:
    assert '<a rel="export" href="/export?id=r-1">' in vera.get("/run?id=r-1").text


def test_the_page_says_what_goes_out_and_to_whom(vera: Browser, told: Script) -> None:
    careful = vera.get("/export?id=r-1").text
    assert 'name="for" value="public" checked' in careful
    assert "Maria" not in careful
    assert "4711" not in careful
    assert "What goes out <small>for public" in careful
    assert "cannot be run again with this file" in careful
    team = vera.get("/export?id=r-1&for=team&hide=args.amount").text
    assert "args.amount" in team
    assert "[hidden: arguments]" in team
    assert "Refund user-1." in team
    assert "with 1 run within" in team
    whole = vera.get("/export?id=r-1&for=full").text
    assert "cannot be run again" not in whole


def test_what_a_run_has_said_does_nothing_on_the_page(vera: Browser, told: Script) -> None:
    text = vera.get("/export?id=r-1&for=full").text
    assert "<script>alert" not in text
    assert "\u202e" not in text


def test_an_incident_file_is_taken_along_and_verifies(
    vera: Browser, gate: Gate, told: Script, tmp_path: Path
) -> None:
    answer = taken(vera, "/export?id=r-1&for=full")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="r-1.saferun"'
    (tmp_path / "a.saferun").write_bytes(answer.content)
    found = examine(tmp_path / "a.saferun")
    assert (found.manifest.runs, found.reruns, found.signed) == (["r-1", "r-2"], True, True)


def test_what_is_taken_along_is_what_was_previewed(vera: Browser, told: Script) -> None:
    answer = taken(vera, "/export?id=r-1&for=team&hide=args.amount")
    text = entries(answer)
    assert "4711" not in text
    assert "maria" not in text.lower()
    assert "A-17" in text
    public = taken(vera, "/export?id=r-1")
    assert public.headers["content-disposition"] == 'attachment; filename="run-1.saferun"'
    assert "r-1" not in entries(public).replace("user-1", "").replace("order-1", "")


def test_a_page_is_taken_along(vera: Browser, told: Script) -> None:
    answer = taken(vera, "/export?id=r-1&for=team", "page")
    assert answer.headers["content-disposition"] == 'attachment; filename="r-1.html"'
    assert answer.text.startswith("<!doctype html>")
    assert "maria" not in answer.text.lower()


@pytest.mark.parametrize("person", ["vera", "dana", None])
def test_whoever_may_look_may_take_along_what_they_see(
    gate: Gate, console: Console, told: Script, person: str | None
) -> None:
    somebody = Browser(console, NOBODY if person is None else enrolled(gate, person))
    assert taken(somebody, "/export?id=r-1&for=full").status_code == 200


def test_a_stranger_gets_nothing(console: Console, told: Script) -> None:
    stranger = Browser(console)
    assert stranger.get("/export?id=r-1").headers["location"].startswith("/login?next=/export")
    assert stranger.post("/export", {"id": "r-1", "for": "full"}).status_code == 303


def test_a_form_of_another_session_takes_nothing(
    vera: Browser, gate: Gate, console: Console, told: Script
) -> None:
    other = Browser(console, enrolled(gate, "dana"))
    assert vera.post("/export", other.form("/export?id=r-1")).status_code == 403
    assert vera.post("/export", {"id": "r-1", "for": "full"}).status_code == 403


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("id=r-none", 404, ""),
        ("id=", 404, ""),
        ("id=" + "r" * 300, 404, ""),
        ("id=r-1&for=everybody", 200, 'value="public" checked'),
        ("id=r-1&hide=nonsense", 400, "neither a part"),
        ("id=r-1&hide=ids", 400, "--replace ids"),
        ("id=r-1&hide=" + "+".join(f"args.a{n}" for n in range(21)), 400, "more than 20 parts"),
    ],
)
def test_what_cannot_be_is_said(
    vera: Browser, told: Script, query: str, status: int, said: str
) -> None:
    answer = vera.get(f"/export?{query}")
    assert answer.status_code == status
    assert said in answer.text


def test_nothing_is_written_by_looking_and_nothing_stays_by_taking(
    vera: Browser,
    gate: Gate,
    told: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    size = gate.store.size()
    vera.get("/export?id=r-1&for=full")
    assert taken(vera, "/export?id=r-1&for=full").status_code == 200
    assert not list(tmp_path.glob("saferun-export-*"))
    assert gate.store.size() == size


@pytest.mark.parametrize(("name", "most"), [("ENTRIES", 3), ("PATIENCE", -1.0)])
def test_a_run_that_is_more_than_a_page_can_is_left_to_the_command(
    vera: Browser, told: Script, monkeypatch: pytest.MonkeyPatch, name: str, most: float
) -> None:
    form = vera.form("/export?id=r-1&for=full")
    monkeypatch.setattr(exports, name, most)
    if name == "PATIENCE":
        monkeypatch.setattr(exports, "AT_ONCE", 1)
    for answer in (vera.get("/export?id=r-1"), vera.post("/export", {**form, "as": "incident"})):
        assert answer.status_code == 400
        assert "saferun run export writes it" in answer.text


def test_a_disk_that_is_full_is_said_without_a_path(
    vera: Browser, told: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = vera.form("/export?id=r-1&for=full")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "/somewhere/run.saferun")

    monkeypatch.setattr(exports, "pack", full)
    answer = vera.post("/export", {**form, "as": "incident"})
    assert answer.status_code == 400
    assert "cannot be made on this machine: No space left on device." in answer.text
    assert "/somewhere" not in answer.text


def test_no_more_than_some_are_made_at_once(
    gate: Gate, told: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "AT_ONCE", 0)
    # However long one may take, whoever is one too many is told soon, and blocks nobody.
    monkeypatch.setattr(exports, "PATIENCE", 1e6)
    vera = Browser(asking.console(gate), enrolled(gate, "vera"))
    assert "Others are being made" in vera.get("/export?id=r-1").text


@needs_browser
@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", PHONE)])
def test_x_leads_to_it_and_a_file_comes_down(
    opened: Callable[..., Page], told: Script, scheme: Any, viewport: Any
) -> None:
    page = opened(viewport=viewport, color_scheme=scheme, accept_downloads=True)
    page.goto(f"{page.url}run?id=r-1")
    page.locator(".alive .frame h2").wait_for()
    page.keyboard.press("x")
    page.get_by_label("The team").check()
    page.get_by_role("button", name="Show what goes out").click()
    expect(page.get_by_role("heading", name="What goes out")).to_contain_text("for team")
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download an incident file").click()
    assert coming.value.suggested_filename == "r-1.saferun"
