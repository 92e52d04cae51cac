"""Draw the picture of the console anew: `python docs/images/console.py`.

Has an agent ask, in a folder that is thrown away, opens the console in the Chromium of the system
and writes `console.png` beside this file. With a folder as its argument, it writes further ones
there, to be looked at: dark, on a phone, and the inbox.
"""  # noqa: INP001 - a script, run by its path

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from saferun import Call, Gate, config
from saferun.console import Console, Server, Who
from saferun.policy import loads
from saferun.store import Enrol

HERE = Path(__file__).resolve().parent

WORLD = """\
[people.dana]
[people.erik]

[groups]
finance = ["dana", "erik"]

[approval]
default = "console"
"""

POLICY = """\
version: 1
name: production
tools:
  find_orders:
    effect: read
    args: {user: {type: string}}
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer, minimum: 1, maximum: 100000}
      currency: {enum: [USD, EUR, GBP]}
      note: {type: string}
    rules:
      - id: big-refund
        ask: [finance]
        edits: [amount, note]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
  delete_branch:
    effect: destructive
    args: {branch: {type: string}}
    rules:
      - {id: branches, ask: [finance], approvals: 2, message: Two people look at every deletion.}
"""


def main() -> int:
    """Ask, open, draw; returns an exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stderr.write("There is no Chromium on PATH.\n")
        return 69
    more = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("saferun.toml").write_text(WORLD, encoding="utf-8")
        gate = Gate(policy=loads(POLICY), settings=config.load())
        request = _asked(gate)
        credential = gate.store.credential("dana", "a picture")
        gate.store.commit(Enrol("dana", credential))
        console = Console(gate.store, gate.config)
        server = Server(console.app, "127.0.0.1", 0)
        server.start()
        try:
            _drawn(
                chromium, server.url, console, Who("dana", "approver", credential), request, more
            )
        finally:
            console.close()
            server.stop()
            gate.close()
    return 0


def _asked(gate: Gate) -> str:
    with gate.run(agent="deploy-agent", user="ivan") as run:
        _ask(gate, run, "delete_branch", branch="release/2.4")
    with gate.run(
        agent="support-agent",
        user="maria@acme.example",
        prompt="You charged me twice, please refund the second one.",
        plan=["Find the order", "Check the charge", "Refund the duplicate", "Tell the customer"],
    ) as run:
        run.model("I will look for the order first.", model="a-model")
        decision = gate.check(Call(tool="find_orders", args={"user": "maria"}, run=run.ref))
        from saferun import Outcome

        gate.settle(decision, Outcome(status="ok", result=[{"id": "A-4471", "charges": 2}]))
        run.model("The customer was double charged on 12 November.", model="a-model")
        return _ask(
            gate,
            run,
            "refund",
            order_id="A-4471",
            amount=25_000,
            currency="USD",
            note="Charged twice on 12 November.",
        )


def _ask(gate: Gate, run: object, tool: str, **args: object) -> str:
    decision = gate.check(Call(tool=tool, args=args, run=run.ref), leaves=True)  # type: ignore[attr-defined]
    return str(decision.approval_id)


def _drawn(
    chromium: str, url: str, console: Console, who: Who, request: str, more: Path | None
) -> None:
    looks = [(HERE / "console.png", f"/requests/{request}", "light", 1180, 900)]
    if more is not None:
        looks += [
            (more / "dark.png", f"/requests/{request}", "dark", 1180, 900),
            (more / "phone.png", f"/requests/{request}", "light", 390, 1500),
            (more / "inbox.png", "/", "light", 1180, 600),
            (more / "inbox-phone.png", "/", "dark", 390, 700),
            (more / "edit.png", f"/requests/{request}", "light", 1180, 1500),
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for file, path, scheme, width, height in looks:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            page.goto(f"{url}/enter#{console.sessions.link(who)}")
            page.wait_for_url(f"{url}/")
            page.goto(f"{url}{path}")
            if file.stem == "edit":
                for each in page.locator("summary").all():
                    each.click()
            page.screenshot(path=str(file))
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
