"""Pages on paper: dark on white on a dark screen too, nothing cut, nothing that only acts."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from console.asking import ask
from console.browsing import needs_browser
from recording import Script
from saferun import Gate
from saferun.console import Server

A4 = {"width": 690, "height": 1000}
"""Pixels of a sheet without its margins."""

LOOKS = """() => {
  const shown = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility());
  const cut = shown.filter((each) => {
    const style = getComputedStyle(each);
    const clips = /auto|scroll/.test(style.overflowY) || style.maxHeight !== "none";
    return clips && each.scrollHeight > each.clientHeight + 1;
  });
  const fills = shown.map((each) => getComputedStyle(each).backgroundColor);
  return {
    cut: cut.map((each) => each.outerHTML.slice(0, 80)),
    fills: [...new Set(fills)].filter((each) => !/, 0\\)$/.test(each)),
    wide: document.documentElement.scrollWidth - innerWidth,
  };
}"""


@needs_browser
def test_what_is_printed_is_dark_on_white_and_whole(
    opened: Callable[..., Page], server: Server, gate: Gate
) -> None:
    script = Script(gate.store, prompt="Refund the duplicate, please. " * 20)
    script.model("I will look it up. " * 100, model="gpt-4o")
    script.call("refund", {"order_id": "A-1"}, result=[{"line": at} for at in range(200)])
    script.denied("refund", {"order_id": "A-1", "note": "long " * 60})
    request = ask(gate, run="r-2").id
    page = opened(color_scheme="dark", viewport=A4)
    paths = ["/run?id=r-1&frame=2", "/run?id=r-1&frame=3", "/runs/diff?a=r-1&b=r-1", "/runs"]
    for path in [*paths, f"/requests/{request}", "/requests"]:
        page.emulate_media(media="screen")
        page.goto(server.url + path)
        if path.startswith("/run?"):
            page.locator(".alive .frame h2").wait_for()
        page.emulate_media(media="print")
        found = page.evaluate(LOOKS)
        assert found["cut"] == [], path
        assert set(found["fills"]) <= {"rgb(255, 255, 255)"}, path
        assert found["wide"] <= 0, path
        for acts in ("nav", ".who", "button", ".transport"):
            for each in page.locator(acts).all():
                expect(each).to_be_hidden()
