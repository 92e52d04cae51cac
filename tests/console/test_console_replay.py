"""The replay in a real browser: its keys, its panels, what is live, and what cannot act."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from console.browsing import PHONE, WIDE, needs_browser, sees
from recording import Script, tamper
from saferun import Gate
from saferun.console import Console, Server
from saferun.console.live import STREAMS_EACH

pytestmark = needs_browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def told(gate: Gate) -> Script:
    """Eight frames: the fourth denied, the sixth asked and approved, the seventh failed."""
    script = Script(gate.store, prompt="Refund the duplicate.")
    script.model("I will look it up.", model="gpt-4o", latency=800_000)
    script.call("get_order", {"order_id": "A-1"}, result={"total": 40})
    script.call("refund", {"order_id": "A-1", "amount": 4})
    script.denied("refund", {"order_id": "A-1", "amount": 4_500})
    script.model("Then a partial one.")
    script.approved("refund", {"order_id": "A-1", "amount": 300})
    script.call("send", {"to": "lead"}, result=None, status="error", error="no route")
    script.model("Done.")
    return script


@pytest.fixture
def at(opened: Callable[..., Page], server: Server) -> Callable[..., Page]:
    """The replay, alive, at a frame of a run."""

    def at(frame: int = 1, run: str = "r-1", **about: Any) -> Page:
        page = opened(**about)
        page.goto(f"{server.url}/run?id={run}&frame={frame}")
        page.locator(".alive .frame h2").wait_for()
        return page

    return at


def shows(page: Page, frame: int) -> None:
    expect(page.locator(".frame .meta")).to_contain_text(f"frame {frame} of")
    expect(page.get_by_role("option", selected=True)).to_have_attribute("aria-posinset", str(frame))


@pytest.mark.parametrize(
    ("begin", "keys", "end"),
    [
        (1, "j", 2),
        (2, "k", 1),
        (1, "ArrowDown", 2),
        (2, "ArrowUp", 1),
        (1, "End", 8),
        (8, "Home", 1),
        (1, "k", 1),
        (8, "j", 8),
        (1, "n", 4),
        (4, "n", 6),
        (6, "N", 4),
        (1, "e", 7),
        (8, "E", 7),
        (3, "]", 4),
        (6, "[", 4),
        (1, "PageDown", 8),
    ],
)
def test_a_key_leads_to_a_frame(
    at: Callable[..., Page], told: Script, begin: int, keys: str, end: int
) -> None:
    page = at(begin)
    page.keyboard.press(keys)
    shows(page, end)


def test_a_jump_that_finds_nothing_says_so(at: Callable[..., Page], told: Script) -> None:
    page = at(7)
    page.keyboard.press("e")
    expect(page.get_by_role("status")).to_have_text("No further frame failed.")
    shows(page, 7)


def test_the_address_is_that_of_the_frame(at: Callable[..., Page], told: Script) -> None:
    page = at(1)
    page.keyboard.press("n")
    page.wait_for_url("**/run?id=r-1&frame=4")
    page.reload()
    shows(page, 4)


def test_text_is_found_and_a_number_gone_to(at: Callable[..., Page], told: Script) -> None:
    page = at(1)
    page.keyboard.press("/")
    page.get_by_label("Find in this run").fill("partial")
    page.keyboard.press("Enter")
    shows(page, 5)
    page.keyboard.press("g")
    page.get_by_label("Frame, 1 to 8").fill("2")
    page.keyboard.press("Enter")
    shows(page, 2)
    page.keyboard.press("/")
    page.get_by_label("Find in this run").fill("nowhere")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Nothing further says")


def test_a_number_that_is_none_is_refused_where_it_is_typed_and_nothing_is_the_last(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(2)
    page.get_by_role("listbox").focus()
    page.keyboard.press("g")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("textbox").fill("")
    page.keyboard.press("Enter")
    shows(page, 8)
    # And whoever goes by keyboard alone is where they were.
    expect(page.get_by_role("listbox")).to_be_focused()


def test_keys_that_are_typed_into_a_field_step_nowhere(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(1)
    page.keyboard.press("/")
    page.keyboard.type("jjj")
    page.keyboard.press("Escape")
    shows(page, 1)


def test_help_names_every_key(at: Callable[..., Page], told: Script) -> None:
    page = at(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("follow what happens now")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_it_plays_and_stops_at_the_end(at: Callable[..., Page], told: Script) -> None:
    page = at(6)
    page.get_by_role("button", name="1×").click()
    page.locator("h1").click()
    page.keyboard.press(" ")
    shows(page, 8)
    expect(page.get_by_role("button", name="Play")).to_have_attribute("aria-pressed", "false")


def test_a_click_and_the_slider_choose_a_frame(at: Callable[..., Page], told: Script) -> None:
    page = at(1)
    page.get_by_role("option").nth(3).click()
    shows(page, 4)
    page.get_by_role("slider").fill("7")
    shows(page, 7)


def test_a_run_that_goes_on_is_followed_until_one_moves(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(8)
    page.keyboard.press("f")
    told.model("One more.")
    shows(page, 9)
    page.keyboard.press("k")
    shows(page, 8)
    told.model("And another.")
    expect(page.get_by_role("button", name="Live, +1 new")).to_be_visible()
    shows(page, 8)
    page.keyboard.press("f")
    shows(page, 10)


def test_while_a_run_grows_its_figures_do_and_what_is_read_stays_in_sight(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(8)
    expect(page.get_by_role("option", selected=True)).to_contain_text("Done.")
    routes = held(page, "/run/rows")
    told.model("One more.")
    expect(page.get_by_role("option")).to_have_count(9)
    expect(page.get_by_role("option").nth(7)).to_contain_text("Done.")
    expect(page.locator(".frame .meta")).to_contain_text("frame 8 of 9")
    told.model("And another.")
    expect(page.get_by_role("option")).to_have_count(10)
    # However late they come: those that hold are shown.
    let_go(page, "/run/rows", routes)
    expect(page.get_by_role("option").nth(9)).to_contain_text("And another.")
    told.end()
    expect(page.locator(".run-head")).to_contain_text("10 frames")
    expect(page.locator(".run-head .badge")).to_have_text("✓ ended")


def test_a_page_too_many_is_not_live_and_looks_when_it_is_told_to(
    at: Callable[..., Page], told: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.console.live.STREAMS_EACH", 0)
    monkeypatch.setattr("saferun.console.playbacks.EVERY", 0.0)
    page = at(8)
    expect(page.get_by_role("status")).to_contain_text("This page is not live: too many are.")
    page.keyboard.press("k")
    shows(page, 7)
    page.keyboard.press("f")
    expect(page.get_by_role("status")).to_have_text("Nothing has come since.")
    told.model("One more.")
    page.get_by_role("button", name="Look for more").click()
    shows(page, 9)


def test_whoever_is_cut_off_is_told_so_and_whoever_is_logged_out_is_led_to_the_login(
    at: Callable[..., Page], told: Script, server: Server, made: Console
) -> None:
    page = at(3)
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="● Live")).to_be_visible()
    # As with a server that is started anew: streams end, and nobody is known any more.
    page.context.clear_cookies()
    made.closed = True
    expect(page.get_by_role("button", name="Cut off, trying again")).to_be_visible()
    made.closed = False
    page.wait_for_url(re.compile(r"/login\?next=/run"))


def test_steps_that_follow_each_other_ask_for_frames_in_bulk(
    at: Callable[..., Page], gate: Gate
) -> None:
    script = Script(gate.store)
    for turn in range(40):
        script.model(f"Turn {turn + 1}.")
    page, asked = at(1), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    for step in range(2, 33):
        page.keyboard.press("j")
        expect(page.locator(".frame")).to_contain_text(f"Turn {step}.")
    assert 1 <= len([url for url in asked if "/run/frames" in url]) <= 10


def test_what_becomes_of_a_call_is_shown_as_it_comes(at: Callable[..., Page], told: Script) -> None:
    seq = told.decided("refund", {"amount": 5})
    page = at(9)
    expect(page.locator(".frame")).to_contain_text("Nothing has come back yet.")
    told.ended(seq, result="refunded five")
    expect(page.locator(".frame")).to_contain_text("refunded five")


def test_hostile_words_are_shown_as_words(at: Callable[..., Page], gate: Gate) -> None:
    script = Script(gate.store, prompt=HOSTILE)
    script.model(HOSTILE)
    script.call(HOSTILE, {HOSTILE: HOSTILE}, result=HOSTILE)
    page = at(1)
    page.keyboard.press("j")
    shows(page, 2)
    expect(page.locator(".frame h2")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(".frame img, .frame script, .list img").count() == 0


def test_a_changed_ledger_is_told_at_the_frame(
    at: Callable[..., Page], told: Script, gate: Gate
) -> None:
    seq = told.call("refund", {"order_id": "A-2", "amount": 77})
    tamper(gate.store.path, seq, b'"amount":77', b'"amount":11')
    page = at(9)
    expect(page.locator(".frame")).to_contain_text(f"Entry {seq} was changed")
    expect(page.get_by_role("option", selected=True)).to_contain_text(
        "changed since it was written"
    )


def test_a_long_run_stands_in_few_elements(at: Callable[..., Page], gate: Gate) -> None:
    script = Script(gate.store)
    from saferun.ledger import ModelEntry, encode
    from saferun.store import Append

    for begin in range(0, 3_000, 500):
        said = [ModelEntry(run="r-1", output=f"Turn {begin + each}.") for each in range(500)]
        gate.store.commit(Append([encode(each) for each in said], gate.store.boot))
    script.denied("refund")
    page = at(1)
    page.keyboard.press("n")
    shows(page, 3_001)
    page.keyboard.press("k")
    expect(page.locator(".frame")).to_contain_text("Turn 2999.")
    assert page.locator("*").count() < 1_500


def test_its_buttons_are_in_sight_however_many_lines_the_heads_take(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(4)
    for width, height in ((1280, 900), (1000, 700), (800, 900), (1600, 1000)):
        page.set_viewport_size({"width": width, "height": height})
        box = page.get_by_role("toolbar").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] == pytest.approx(height, abs=1), width


def test_one_line_of_a_wide_screen_has_all_pages_and_who_is_here(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(1)
    for width in (1260, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        header = page.locator("body > header").bounding_box()
        assert header is not None
        assert header["height"] < 60, width


def test_what_cannot_be_looked_for_is_said(at: Callable[..., Page], told: Script) -> None:
    page = at(1)
    page.keyboard.press("/")
    page.keyboard.type("$")
    page.keyboard.press("Enter")
    expect(page.get_by_role("toolbar")).to_contain_text("There is no word in '$'")


def test_what_is_typed_on_after_a_key_goes_into_what_it_opened(
    at: Callable[..., Page], told: Script
) -> None:
    """Without a frame drawn in between, as on a busy machine."""
    open_at_once = at(1).evaluate(
        """async () => {
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
            await new Promise((done) => { const way = new MessageChannel();
                way.port1.onmessage = done; way.port2.postMessage(null); });
            return document.querySelector("dialog")?.matches(":modal") === true
                && document.activeElement?.id === "value";
        }"""
    )
    assert open_at_once


def test_a_key_is_heard_as_soon_as_there_is_a_frame_to_see(
    opened: Callable[..., Page], server: Server, told: Script
) -> None:
    page = opened()
    page.add_init_script(
        """new MutationObserver((_, watch) => {
            if (!document.querySelector(".alive .frame h2")) return;
            watch.disconnect();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
        }).observe(document, { childList: true, subtree: true })"""
    )
    page.goto(f"{server.url}/run?id=r-1&frame=1")
    shows(page, 2)


def held(page: Page, what: str) -> list[Route]:
    """What a page asks for of a server that takes long: it comes once it is let go."""
    found: list[Route] = []

    def keep(route: Route) -> None:
        found.append(route)

    page.route(re.compile(what), keep)
    return found


def let_go(page: Page, what: str, routes: list[Route]) -> None:
    for each in routes:
        each.continue_()
    page.unroute(re.compile(what))


@pytest.fixture
def slow(opened: Callable[..., Page], server: Server, told: Script) -> tuple[Page, list[Route]]:
    """The replay at frame 3, and every other frame still on its way."""
    page = opened()
    routes = held(page, "/run/frames")
    page.goto(f"{server.url}/run?id=r-1&frame=3")
    page.locator(".alive .frame h2").wait_for()
    return page, routes


def test_what_is_said_of_a_frame_that_is_on_its_way_is_said_of_no_other(
    slow: tuple[Page, list[Route]], gate: Gate
) -> None:
    page, routes = slow
    page.keyboard.press("j")
    page.keyboard.press("+")
    # What stands there is of the frame before, and looks it.
    expect(page.locator(".frame")).to_have_attribute("aria-busy", "true")
    let_go(page, "/run/frames", routes)
    expect(page.locator(".said")).to_have_text("Frame 4: to stop it is right, says dana.")
    shows(page, 4)
    expect(page.locator(".frame form.label")).to_have_attribute("data-mark", "right")
    expect(page.locator(".frame[aria-busy]")).to_have_count(0)
    page.keyboard.press("k")
    shows(page, 3)
    expect(page.locator(".frame form.label")).to_have_attribute("data-mark", "")


def test_a_rule_is_made_of_the_frame_that_one_is_at_also_before_it_has_come(
    slow: tuple[Page, list[Route]],
) -> None:
    page, routes = slow
    page.keyboard.press("j")
    page.keyboard.press("r")
    let_go(page, "/run/frames", routes)
    page.wait_for_url(re.compile(r"/rule\?id=r-1&frame=4"))
    page.go_back()
    shows(page, 4)


def test_whoever_has_moved_on_is_not_led_to_what_they_looked_for_before(
    at: Callable[..., Page], told: Script
) -> None:
    page = at(1)
    routes = held(page, "/run/find")
    page.keyboard.press("/")
    page.keyboard.type("lead")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text("Looking for “lead” …")
    page.keyboard.press("j")
    shows(page, 2)
    with page.expect_response(re.compile("/run/find")):
        let_go(page, "/run/find", routes)
    page.keyboard.press("j")
    shows(page, 3)


def test_a_frame_that_cannot_be_had_is_asked_for_again(at: Callable[..., Page], gate: Gate) -> None:
    script = Script(gate.store)
    for turn in range(60):
        script.model(f"Turn {turn + 1}.")
    page = at(1)
    page.route(re.compile("/run/frames"), lambda route: route.abort())
    page.keyboard.press("End")
    expect(page.locator(".said")).to_contain_text("Frame 60 could not be shown, and is asked for")
    page.unroute(re.compile("/run/frames"))
    expect(page.locator(".frame")).to_contain_text("Turn 60.")
    expect(page.locator(".said")).to_have_text("Frame 60 of 60")


def test_a_key_that_is_held_down_says_a_thing_once(at: Callable[..., Page], told: Script) -> None:
    page, said = at(3), list[str]()
    page.on(
        "request", lambda request: said.append(request.url) if "/label" in request.url else None
    )
    for _ in range(4):
        # Down again without up between them, as a keyboard repeats.
        page.keyboard.down("+")
    expect(page.locator(".said")).to_contain_text("to stop it is right")
    assert len(said) == 1


def test_what_is_pressed_while_the_run_is_on_its_way_is_heard_once_it_is_there(
    opened: Callable[..., Page], server: Server, told: Script
) -> None:
    page = opened()
    routes = held(page, "/run/index")
    page.goto(f"{server.url}/run?id=r-1&frame=1")
    for key in "jjn":
        page.keyboard.press(key)
    let_go(page, "/run/index", routes)
    shows(page, 4)


def test_pages_that_are_live_leave_a_browser_room_for_others(
    at: Callable[..., Page], told: Script, server: Server, made: Console
) -> None:
    """A browser has six connections to a server; each page that is live holds one."""
    page = at(1)
    [session] = made.sessions._open.values()

    def room() -> bool:
        """Whether the server has heard that a page is gone, which it may do a moment later."""
        for _ in range(3_000):
            if session.live < STREAMS_EACH:
                return True
            page.wait_for_timeout(10)
        return False

    for path in ["/", "/run?id=r-1&frame=2"] * 3:
        another = page.context.new_page()
        another.goto(f"{server.url}{path}", timeout=30_000)
    another.locator(".alive .frame h2").wait_for()
    expect(another.locator(".said")).to_contain_text("This page is not live: too many are.")
    # One that nobody sees makes room, and is told what it missed by whoever looks at it again.
    sees(page, seen=False)
    assert room()
    sees(another, seen=True)
    told.model("One more.")
    expect(another.get_by_role("button", name="Live, +1 new")).to_be_visible()
    another.close()
    assert room()
    sees(page, seen=True)
    expect(page.get_by_role("button", name="Live, +1 new")).to_be_visible()


def test_on_a_phone_a_run_in_the_list_is_folded_and_nothing_of_it_is_out_of_sight(
    at: Callable[..., Page], told: Script, server: Server
) -> None:
    Script(told.store, "r-" + "2" * 150, agent="a" * 150, user="u" * 150).denied("refund", {})
    page = at(1, viewport={"width": 320, "height": 740})
    page.goto(f"{server.url}/runs")
    for cell in page.locator("table tr:not(thead tr) > *").all():
        box = cell.bounding_box()
        assert box is None or box["x"] + box["width"] <= 320
    page.set_viewport_size({"width": 1280, "height": 900})
    region = page.get_by_role("region", name="Runs")
    assert region.evaluate("each => each.scrollWidth <= each.clientWidth")
    page.set_viewport_size({"width": 320, "height": 740})
    page.goto(f"{server.url}/runs/diff?a=r-1&b=r-{'2' * 150}")
    region = page.get_by_role("region", name="Frames of both runs")
    assert region.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_it_is_whole_without_javascript(
    opened: Callable[..., Page], server: Server, told: Script
) -> None:
    page = opened(java_script_enabled=False)
    page.goto(f"{server.url}/runs")
    page.get_by_role("link", name="r-1").click()
    page.get_by_role("link", name=re.compile("amount 4500")).click()
    expect(page.locator(".frame h2")).to_contain_text("denied")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nobody_is_kept_out_of_the_pages_of_runs(
    at: Callable[..., Page], server: Server, told: Script, scheme: str, viewport: Any
) -> None:
    page = at(4, color_scheme=scheme, viewport=viewport)
    for path in (
        None,
        "/runs",
        "/runs/diff?a=r-1&b=r-1",
        "/run/value?id=r-1&number=2&field=result",
    ):
        if path is not None:
            page.goto(server.url + path)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        wider = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wider, path
