"""A run as one file: what its audience gets, asking for nothing, stepping as the console does."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from console.browsing import PHONE, WIDE, needs_browser
from console.carrying import everything, made, packed
from recording import Script, tamper
from saferun import Gate, guard

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\x1b[31m"


def told(gate: Gate, **about: Any) -> Script:
    """Six frames: the third denied, the fifth approved, the last failed."""
    script = Script(gate.store, prompt="Refund the duplicate, says maria.", **about)
    script.model("Charged twice.", model="gpt-4o", messages=[{"role": "user", "content": "Hi."}])
    script.call("refund", {"order_id": "A-1", "amount": 4}, result={"total": 40})
    script.denied("refund", {"order_id": "A-1", "amount": 4_500})
    script.model("Then a partial one.")
    script.approved("refund", {"order_id": "A-1", "amount": 300})
    script.call("send", {"to": HOSTILE}, result=None, status="error", error="no route")
    script.end()
    return script


def test_it_says_for_whom_it_is_and_that_it_proves_nothing(gate: Gate) -> None:
    told(gate)
    page = made(gate.store.path, "team").decode()
    assert "It proves nothing by itself." in page
    assert "saferun ledger prove NUMBER" in page
    assert "<dt>Replaced</dt><dd>users, tenants" in page
    assert "Refund the duplicate, says user-1." in page


def test_it_says_how_far_the_ledger_vouched_for_it(gate: Gate) -> None:
    script = told(gate)
    assert "No checkpoint lay with the ledger" in made(gate.store.path).decode()
    gate.store.checkpoint()
    page = made(gate.store.path).decode()
    assert re.search(r"a checkpoint of \d+ entries, signed as \S+, vouched for all 6 frames", page)
    seq = script.call("refund", {"amount": 77})
    tamper(gate.store.path, seq, b'"amount":77', b'"amount":11')
    page = made(gate.store.path).decode()
    assert "vouched for 6 of 7 frames; 1 changed since they were written." in page


def test_only_the_script_and_the_style_that_it_names_can_run(gate: Gate) -> None:
    told(gate)
    page = made(gate.store.path).decode()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, text in (("script", script), ("style", style)):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_nothing_in_it_leads_to_the_console(gate: Gate) -> None:
    told(gate)
    Script(gate.store, "r-2", parent="r-1").model("A child.")
    all_of_it = everything(made(gate.store.path))
    assert re.findall(r'(?:href|src|action)=\\?"(?!#|data:,)', all_of_it) == []


def test_the_public_reads_none_of_it(gate: Gate) -> None:
    told(gate, tenant="acme")
    said = everything(made(gate.store.path, "public"))
    for secret in ("maria", "acme", "duplicate", "Charged", "A-1", "4500", "dana", "good customer"):
        assert secret not in said, secret
    assert "refund" in said


def test_an_argument_that_is_hidden_is_nowhere_in_it(gate: Gate) -> None:
    script = Script(gate.store, prompt="Write to maria@acme.example.")
    for name in ("maria", "otto", "maria"):
        to = f"{name}@acme.example"
        script.call("send", {"to": to, "cc": [to]}, result={"sent": to})
    script.model("Sent to maria@acme.example.", messages=[{"to": ["maria@acme.example"]}])
    said = everything(made(gate.store.path, hide=["args.to"]))
    assert "@acme" not in said
    assert "changed since" in said


def test_what_is_sealed_stays_sealed(tmp_path: Path, gate: Gate) -> None:
    from saferun.policy import loads

    sealing = Gate(
        policy=loads(
            "version: 1\nname: p\ntools: {send: {args: {to: {type: string}}, sensitive: [args.to]}}"
        ),
        store=f"sqlite:///{tmp_path}/sealed.db",
    )
    with sealing.run(run_id="r-1", user="maria"):
        guard(lambda to: None, name="send", gate=sealing)(to="quokka-4711")
    sealing.store.flush()
    said = everything(made(sealing.store.path))
    sealing.close()
    assert "[sealed]" in said
    assert "quokka" not in said


def test_a_large_result_does_not_go_out(gate: Gate) -> None:
    tool = guard(
        lambda order_id, amount, currency: "0123456789" * 100_000, name="refund", gate=gate
    )
    with gate.run(run_id="r-1"):
        tool(order_id="A-1", amount=4)
    gate.store.flush()
    page = made(gate.store.path)
    assert len(page) < 100_000
    assert "1,000,002 bytes, SHA-256" in everything(page)


def test_frames_are_packed_by_the_hundred_and_the_first_stand_there_in_plain(gate: Gate) -> None:
    script = Script(gate.store)
    for number in range(1, 204):
        script.model(f"Turn {number}.")
    page = made(gate.store.path)
    found = packed(page)
    assert [len(found[f"page-{each}"]["frames"]) for each in range(3)] == [100, 100, 3]
    assert found["outline"]["frames"] == 203
    plain = re.sub(r"<script.*?</script>", "", page.decode(), flags=re.DOTALL)
    assert "Turn 100." in plain
    assert "Turn 101." not in plain
    assert "103 frames more are in this file." in plain


@pytest.fixture
def away(chromium: Browser, tmp_path: Path, gate: Gate) -> Iterator[Callable[..., Page]]:
    """Such a file, opened from the disk without a network. What it asks for is a failure."""
    wrong: list[str] = []
    contexts = []

    def open_(at: str = "", audience: str = "full", **about: Any) -> Page:
        file = tmp_path / "run.html"
        file.write_bytes(made(gate.store.path, audience))
        context = chromium.new_context(offline=True, **{"viewport": WIDE, **about})
        contexts.append(context)
        page = context.new_page()
        own = file.as_uri()
        page.on("request", lambda asked: asked.url.startswith(own) or wrong.append(asked.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.goto(own + at)
        if about.get("java_script_enabled") is not False:
            page.locator(".alive .frame h2").wait_for()
        return page

    yield open_
    for each in contexts:
        each.close()
    assert wrong == []


def shows(page: Page, frame: int) -> None:
    expect(page.locator(".alive .frame .meta")).to_contain_text(f"frame {frame} of")
    expect(page.get_by_role("option", selected=True)).to_have_attribute("aria-posinset", str(frame))


@needs_browser
def test_it_steps_by_the_keys_of_the_console(away: Callable[..., Page], gate: Gate) -> None:
    told(gate)
    page = away()
    for key, frame in (("j", 2), ("n", 3), ("n", 5), ("e", 6), ("[", 6), ("Home", 1), ("End", 6)):
        page.keyboard.press(key)
        shows(page, frame)
    page.keyboard.press("Home")
    page.keyboard.press("/")
    page.get_by_label("Find in this run").fill("PARTIAL one")
    page.keyboard.press("Enter")
    shows(page, 4)
    page.keyboard.press("/")
    page.get_by_label("Find in this run").fill("onerror=alert(1)>")
    page.keyboard.press("Enter")
    shows(page, 6)
    page.keyboard.press("f")
    expect(page.get_by_role("status")).to_have_text("This file does not change any more.")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).not_to_contain_text("follow what happens now")
    page.keyboard.press("Escape")
    # What was said is shown as it was said.
    expect(page.locator(".frame")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(".frame img, .frame script, .list img").count() == 0


@needs_browser
def test_a_link_leads_to_a_frame(away: Callable[..., Page], gate: Gate) -> None:
    told(gate)
    page = away("#run&frame=3")
    shows(page, 3)
    page.get_by_role("link", name="frame 2").click()
    shows(page, 2)
    page.keyboard.press("j")
    page.wait_for_url("**#run&frame=3")


@needs_browser
def test_a_frame_of_a_long_run_is_unpacked_when_it_is_looked_at(
    away: Callable[..., Page], gate: Gate
) -> None:
    script = Script(gate.store)
    for number in range(1, 302):
        script.model(f"Turn {number}.")
    page = away("#run&frame=250")
    expect(page.locator(".alive .frame")).to_contain_text("Turn 250.")
    page.keyboard.press("End")
    expect(page.locator(".alive .frame")).to_contain_text("Turn 301.")
    assert page.locator("*").count() < 1_500
    page.keyboard.press("Home")
    page.keyboard.press("/")
    page.get_by_label("Find in this run").fill("turn 205.")
    page.keyboard.press("Enter")
    shows(page, 205)


@needs_browser
def test_it_is_read_without_javascript(away: Callable[..., Page], gate: Gate) -> None:
    told(gate)
    page = away("#run&frame=3", java_script_enabled=False)
    expect(page.locator("article")).to_have_count(6)
    expect(page.locator("article:target")).to_contain_text("denied")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nobody_is_kept_out_of_it(
    away: Callable[..., Page], gate: Gate, scheme: str, viewport: Any
) -> None:
    told(gate)
    page = away("#run&frame=3", "team", color_scheme=scheme, viewport=viewport)
    page.locator("summary").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


@needs_browser
def test_on_paper_it_is_whole_and_dark_on_white(away: Callable[..., Page], gate: Gate) -> None:
    told(gate)
    page = away("#run&frame=3", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator(".paper article")).to_have_count(6)
    expect(page.locator(".paper article").last).to_be_visible()
    expect(page.locator(".alive")).to_be_hidden()
    expect(page.locator(".copy dl")).to_be_visible()
    for of, colour in (("backgroundColor", "rgb(255, 255, 255)"), ("color", "rgb(0, 0, 0)")):
        looks = page.evaluate(f"getComputedStyle(document.documentElement).{of}")
        assert looks == colour
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".paper")).to_have_count(0)
