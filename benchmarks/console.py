"""`python -m benchmarks.console`: the console in a browser, with long runs and lists of very many.

Opens runs of ten thousand frames in the Chromium of the system, steps through them and jumps; asks
for lists of a hundred thousand runs; looks at a result of fifty megabytes; and has a hundred people
watch one run that goes on, beside one who does. Times in the page are taken by the page: from the
key to when the frame has been drawn.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

import saferun
from benchmarks import replay, viewers
from benchmarks.guarded import gate, opened
from benchmarks.served import Served, served
from benchmarks.table import Fact, told
from benchmarks.targets import BYTES, CONSOLE_MS, DOM
from saferun.store import Store

RUN = "/run?id=long-1&frame=1"

LARGE = 50_000_000
"""Bytes of a large result. More than 16 MiB are known by their digest alone."""

KEPT = 15_000_000
"""Bytes of one that is kept, and looked at in slices."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# A frame that was changed is on its way to the screen at the next animation frame, and there at
# the first task after that.
_STEP = """
async ([keys, pause]) => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const panel = document.querySelector("article.frame");
  const shown = () => Number(/frame ([0-9]+) of/.exec(panel.querySelector(".meta").textContent)[1]);
  const took = [];
  for (const key of keys) {
    const before = shown();
    const changed = new Promise((done) => {
      const watch = new MutationObserver(() => {
        if (!panel.querySelector(".meta") || shown() === before) return;
        watch.disconnect();
        done();
      });
      watch.observe(panel, { childList: true });
    });
    const began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await changed;
    await drawn();
    took.push(performance.now() - began);
    if (pause) await new Promise((done) => setTimeout(done, pause));
  }
  return took;
}
"""

# The same with nothing to do: what the browser takes to get round to the next picture.
_NOTHING = """
async (count) => {
  const took = [];
  for (let each = 0; each < count; each++) {
    const began = performance.now();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    took.push(performance.now() - began);
  }
  return took;
}
"""

_HELD = """
async ([count, every]) => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const panel = document.querySelector("article.frame");
  const shown = () => Number(/frame ([0-9]+) of/.exec(panel.querySelector(".meta").textContent)[1]);
  const pressed = [], took = [];
  const first = shown();
  let last = first;
  const all = new Promise((done) => {
    const watch = new MutationObserver(async () => {
      const now = shown();
      if (now === last) return;
      last = now;
      const place = now - first - 1;
      await drawn();
      took.push(performance.now() - pressed[place]);
      if (place === count - 1) { watch.disconnect(); done(); }
    });
    watch.observe(panel, { childList: true });
  });
  for (let each = 0; each < count; each++) {
    pressed.push(performance.now());
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    await new Promise((done) => setTimeout(done, every));
  }
  await all;
  return took;
}
"""


class Effort(NamedTuple):
    """How much is done: frames of a long run, short runs, and how often each thing is done."""

    frames: int
    runs: int
    opened: int
    steps: int
    listed: int
    live: viewers.Effort


THOROUGH = Effort(10_000, 100_000, 20, 100, 20, viewers.THOROUGH)
SHORT = Effort(10_000, 2_000, 5, 60, 10, viewers.SHORT)
QUICK = Effort(1_000, 100, 1, 10, 2, viewers.QUICK)


def main() -> None:
    asked = argparse.ArgumentParser(prog="benchmarks.console", description=__doc__)
    asked.add_argument("--quick", action="store_true", help="a smoke test, with short runs")
    asked.add_argument("--json", action="store_true", help="one JSON document")
    asked.add_argument("--only", choices=("page", "live"), help="one half of it")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        effort = QUICK if given.quick else THOROUGH
        found = list(facts(Path(folder), effort, only=given.only))
    if given.json:
        print(json.dumps([fact._asdict() for fact in found], ensure_ascii=False, indent=2))
    else:
        told(found)


def facts(folder: Path, effort: Effort, *, only: str | None = None) -> Iterator[Fact]:
    """All that there is to say. Without a browser, what the server alone takes."""
    if only != "live":
        folder.mkdir(exist_ok=True)
        file = folder / "bench.db"
        replay.filled(file, effort.frames, effort.runs)
        _enlarged(file)
        Store(f"sqlite:///{file}", durability="process").close()
        yield from _listed(file, effort)
        if CHROMIUM is not None:
            with _chromium() as browser:
                yield from _paged(browser, file, effort)
    if only != "page":
        yield from viewers.facts(folder / "live", effort.live)


@contextlib.contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def _enlarged(file: Path) -> None:
    """A run with two calls whose results are large: one too large to be kept."""
    with opened(file.parent, "process") as store:
        text = "version: 1\nname: bench\ndefault: allow\n"
        within = gate(store, text)

        @saferun.guard(gate=within)
        def export(size: int) -> list[str]:
            return ["a line of what was found, and some more of it;"] * (size // 50)

        with within.run(agent="bench", run_id="large"):
            export(LARGE)
            export(KEPT)


# The server alone.


def _listed(file: Path, effort: Effort) -> Iterator[Fact]:
    with served(file) as console:
        for name, query in (
            ("the newest", ""),
            ("denied, one agent", "?view=denied&agent=agent-7"),
            ("near misses of one tool", "?view=near&tool=pay"),
            ("none that fits", "?view=stopped&agent=nobody"),
            ("a common word", "?text=customer"),
        ):
            took = [_fetched(console, f"/runs{query}")[0] for _ in range(effort.listed)]
            yield _timed(f"runs list of {effort.runs:,}, the server: {name}", took, "list")
        took, sizes = zip(
            *(_fetched(console, "/run/index?id=long-1") for _ in range(effort.listed)), strict=True
        )
        yield Fact(
            f"index of {effort.frames:,} frames, over the wire",
            sizes[0],
            f"{sizes[0] / 1e3:.0f} kB",
            f"≤ {BYTES['index'] / 1e3:.0f} kB",
            sizes[0] <= BYTES["index"],
        )
        yield _timed("a frame, the server", _frames(console, effort), None)


def _frames(console: Served, effort: Effort) -> list[float]:
    _fetched(console, "/run/frame?id=long-1&number=1")
    return [
        _fetched(console, f"/run/frame?id=long-1&number={number * 97 % effort.frames + 1}")[0]
        for number in range(effort.steps)
    ]


def _fetched(console: Served, path: str) -> tuple[float, int]:
    """Milliseconds until a page was here whole, and its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=60)
    headers = {"cookie": console.cookies[0], "accept-encoding": "gzip"}
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    size = len(answer.read())
    took = 1e3 * (time.perf_counter() - began)
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path} was answered with {answer.status}.")
    return took, size


# In the page.


def _paged(browser: Browser, file: Path, effort: Effort) -> Iterator[Fact]:
    cold, warm = [], []
    for _ in range(effort.opened):
        with served(file) as console:
            # The first is opened by a server that has looked at no run yet.
            for took in (cold, warm):
                with _visitor(browser, console) as visitor:
                    took.append(_opened(visitor.new_page(), console.url + RUN))
    yield _timed(f"opening {effort.frames:,} frames, the first to look", cold, "open")
    yield _timed(f"opening {effort.frames:,} frames again", warm, "open")
    with served(file) as console, _visitor(browser, console) as visitor:
        page = visitor.new_page()
        yield from _stepped(page, console, effort)
        most = page.locator("*").count()
        yield Fact("elements in that page", most, f"{most:,}", f"≤ {DOM:,}", most <= DOM)
        took = [_shown(page, console.url + "/runs") for _ in range(effort.listed)]
        yield _timed(f"runs list of {effort.runs:,}, in the page", took, "list")
        yield from _large(visitor, console)


def _stepped(page: Page, console: Served, effort: Effort) -> Iterator[Fact]:
    steps = effort.steps
    _opened(page, console.url + RUN)
    page.evaluate(_STEP, [["j"] * 3, 50])
    yield _timed("a picture with nothing new in it", page.evaluate(_NOTHING, steps), None)
    for name, keys, pause in (
        ("a step on, one right after the other", ["j"] * steps, 0),
        ("a step back, one right after the other", ["k"] * (steps // 2), 0),
        ("a step on, three a second", ["j"] * (steps // 4), 300),
    ):
        yield _timed(name, page.evaluate(_STEP, [keys, pause]), "step")
    held = page.evaluate(_HELD, [steps, 33])
    yield _timed(f"a key held down, 30 a second, {len(held)} of {steps} shown", held, "step")
    yield _timed("next denied", page.evaluate(_STEP, [["n"] * (steps // 2), 0]), "next")


@contextlib.contextmanager
def _visitor(browser: Browser, console: Served) -> Iterator[BrowserContext]:
    """A browser that has seen nothing yet, of somebody who is logged in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    name, _, token = console.cookies[0].partition("=")
    context.add_cookies([{"name": name, "value": token, "url": console.url}])
    yield context
    context.close()


_ALIVE = """
async () => {
  const there = () => document.querySelector(".alive .frame h2");
  while (!there()) await new Promise(requestAnimationFrame);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now();
}
"""


def _opened(page: Page, address: str) -> float:
    """Milliseconds from asking for a run until it is there and can be stepped through."""
    page.goto(address, wait_until="commit")
    return float(page.evaluate(_ALIVE))


def _shown(page: Page, address: str) -> float:
    page.goto(address, wait_until="load")
    return float(
        page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() =>"
            " done(performance.now()))))"
        )
    )


def _large(visitor: BrowserContext, console: Served) -> Iterator[Fact]:
    page = visitor.new_page()
    sizes = _counted(visitor.new_cdp_session(page))
    bound = BYTES["large"]
    for frame, size in ((1, LARGE), (2, KEPT)):
        sizes.clear()
        took = _opened(page, f"{console.url}/run?id=large&frame={frame}")
        yield Fact(
            f"the page of a call with {size / 1e6:.0f} MB",
            sum(sizes),
            f"{sum(sizes) / 1e3:.0f} kB reach it, after {took:.0f} ms",
            f"≤ {bound / 1e3:.0f} kB",
            sum(sizes) <= bound,
        )
    sizes.clear()
    slices = [
        _shown(page, f"{console.url}/run/value?id=large&number=2&field=result&offset={offset}")
        for offset in (0, KEPT // 2)
    ]
    each = sum(sizes) / len(slices)
    yield Fact(
        f"a slice of {KEPT / 1e6:.0f} MB",
        each,
        f"{each / 1e3:.0f} kB reach the page, after {slices[0]:.0f} ms, and the next after"
        f" {slices[1]:.0f}",
        f"≤ {bound / 1e3:.0f} kB",
        each <= bound,
    )


def _counted(wire: CDPSession) -> list[int]:
    """The bytes of everything that arrives from now on."""
    sizes: list[int] = []
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda said: sizes.append(_size(said)))
    return sizes


def _size(said: Any) -> int:
    return int(said["encodedDataLength"])


def _timed(name: str, took: Sequence[float], target: str | None) -> Fact:
    ranked = sorted(took)
    p50, p95 = (ranked[max(0, -(-len(ranked) * percent // 100) - 1)] for percent in (50, 95))
    said = f"p50 {p50:.1f}, p95 {p95:.1f} ms"
    if target is None:
        return Fact(name, p95, said, "", None)
    bound = CONSOLE_MS[target]
    return Fact(name, p95, said, f"p95 ≤ {bound:,.0f} ms", p95 <= bound)


if __name__ == "__main__":
    sys.exit(main())
