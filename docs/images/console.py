"""Draw the picture of the console anew: `python docs/images/console.py`.

Has an agent ask, in a folder that is thrown away, opens the console in the Chromium of the system
and writes `console.png`, `replay.png`, `overview.png`, `rule.png` and `shared.png` beside this
file. With a folder as its argument, it writes every page there, light, dark and narrow, to be
looked at.
"""  # noqa: INP001 - a script, run by its path

import contextlib
import math
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from time import time_ns

from playwright.sync_api import sync_playwright

from saferun import ApprovalPending, Call, Gate, config, guard
from saferun.audience import AUDIENCES, Audience, Showing
from saferun.call import Reason, Status, Verdict
from saferun.console import Console, Server, Who, carried
from saferun.console.incident import Viewer
from saferun.control import Stoppable, Switch
from saferun.incident import opened, pack
from saferun.ledger import (
    AnyEntry,
    ControlEntry,
    DecisionEntry,
    ModelEntry,
    OutcomeEntry,
    RunEntry,
    encode,
)
from saferun.policy import loads
from saferun.replay import Playback
from saferun.store import Append, Enrol, Label, Reader, Store, Turn
from saferun.store.index import Index
from saferun.store.views import View, Views

HERE = Path(__file__).resolve().parent

LOOKS = (
    ("light", "light", 1280, 900),
    ("dark", "dark", 1280, 900),
    ("narrow", "light", 360, 1500),
)
"""How each page is drawn that is only to be looked at."""

WORLD = """\
[people.dana]
[people.erik]
[people.alma]
role = "admin"

[groups]
finance = ["dana", "erik"]

[approval]
default = "console"
"""

POLICY = """\
version: 1
name: production
limits:
  - {id: run-calls, max: 50, per: run}
  - {id: run-cost, sum: cost_usd, max: 0.02, per: run}
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
    limits:
      - {id: refunds-per-user, max: 2, per: user, window: 1h}
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


_STOPS: tuple[tuple[Stoppable, str, str], ...] = (
    ("agent", "crawler-7", "It writes to every customer twice."),
    ("tool", "export_all", "Until security has looked at it."),
)

TRIED = """\
      - id: refund-other-currency
        deny: true
        when: args.currency != "USD"
        message: Only USD.
        mode: shadow
"""

TESTS = """\
cases:
  - name: A small refund is simply made.
    call: {tool: refund, args: {order_id: A-1, amount: 4000, currency: USD, note: Twice.}}
    expect: allow
  - name: A large one is asked about.
    call: {tool: refund, args: {order_id: A-1, amount: 25000, currency: USD, note: Twice.}}
    expect: ask
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
        settings = config.load()
        _yesterday(settings.store)
        gate = Gate(policy=loads(POLICY), settings=settings)
        request = _asked(gate)
        _ran(gate)
        _nested(gate)
        _changed()
        gate.store.checkpoint()
        credential = gate.store.credential("dana", "a picture")
        Views(gate.store.path).keep("dana", View(name="Refunds to look at", tool="refund"))
        gate.store.commit(Enrol("dana", credential))
        admin = Who("alma", "admin", gate.store.credential("alma", "another picture"))
        gate.store.commit(Enrol("alma", admin.credential or b""))
        _labelled(gate, credential)
        for scope, value, reason in _STOPS:
            switch = Switch(scope=scope, value=value, by="dana", reason=reason)
            gate.store.commit(Turn(switch=switch, on=True, credential=credential))
        console = Console(gate.store, gate.config)
        console.history.index()
        server = Server(console.app, "127.0.0.1", 0)
        server.start()
        console.verification.begin()
        console.verification.wait(60)
        try:
            _drawn(
                chromium,
                server.url,
                console,
                Who("dana", "approver", credential),
                admin,
                request,
                more,
            )
            if more is not None:
                _drawn_of_a_file(chromium, gate, more)
        finally:
            console.close()
            server.stop()
            gate.close()
    return 0


def _yesterday(url: str) -> None:
    """A day of many runs, so that there is something to count: written as if it had been."""
    draw = random.Random(7)  # noqa: S311 - a picture
    now = time_ns() // 1000
    at = [now - 86_400_000_000]
    more = random.Random(8)  # noqa: S311 - a picture
    store = Store(url, durability="process", clock=lambda: at[0])
    for number in range(180):
        # More by day than by night.
        part = number / 180
        at[0] = now - round(86_000_000_000 * (1 - part - 0.05 * math.sin(6.3 * part)))
        of = {"run": f"ticket-{number - 160}", "agent": draw.choice(("support-agent", "billing"))}
        entries: list[AnyEntry] = [RunEntry(event="start", root=of["run"], **of)]
        for _ in range(draw.randrange(1, 9)):
            tool = draw.choice(("find_orders", "refund", "send_mail", "delete_branch"))
            rule = draw.choice(("refund.args", "refunds-per-user", "branches", "office-hours"))
            denied, failed = draw.random() < 0.14, draw.random() < 0.05
            reason = Reason(source="rule", id=rule, effect="deny", message="No.")
            about: dict[str, object] = {}
            if tool == "refund":
                about = _refunded(number, more)
            entries.append(ModelEntry(output="I will.", cost_usd=draw.random() / 50, **of))
            seq = store.size() + len(entries)
            verdict: Verdict = "deny" if denied else "allow"
            entries.append(
                DecisionEntry(tool=tool, verdict=verdict, reasons=(reason,) * denied, **about, **of)
            )
            if not denied:
                status: Status = "error" if failed else "ok"
                entries.append(OutcomeEntry(of=seq, tool=tool, status=status, **of))
        entries.append(RunEntry(event="end", run=of["run"]))
        store.commit(Append(entries=[encode(each) for each in entries], boot=store.boot))
    about = {"scope": "tool", "value": "send_mail", "by": "saferun"}
    store.commit(
        Append(
            entries=[encode(ControlEntry(event="opened", until=now + 90_000_000, **about))],
            boot=store.boot,
        )
    )
    store.close()


def _refunded(number: int, draw: random.Random) -> dict[str, object]:
    """A refund as most are, and what a rule in shadow has said of it."""
    currency = draw.choice(("USD", "USD", "USD", "USD", "EUR"))
    args = {
        "order_id": f"A-{4_000 + number}",
        "amount": 100 * draw.randrange(5, 90),
        "currency": currency,
        "note": "Charged twice.",
    }
    tried = Reason(source="rule", id="refund-other-currency", effect="deny", message="Only USD.")
    return {"args": args, "shadow": (tried,) * (currency == "EUR")}


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


def _ran(gate: Gate) -> None:
    """Two runs to look at: in the second one, more is asked for than policy lets through."""

    @guard(gate=gate)
    def find_orders(user: str) -> list[dict[str, object]]:
        return [{"id": "A-4471", "user": user, "charges": 2}]

    @guard(gate=gate, on_deny="return", on_ask="suspend")
    def refund(order_id: str, amount: int, currency: str, note: str) -> dict[str, object]:
        return {"order_id": order_id, "refunded": amount, "currency": currency, "note": note}

    for run_id, amounts in (("ticket-30", (4_000,)), ("ticket-31", (4_000, 450_000, 25_000))):
        with gate.run(
            agent="support-agent",
            user="maria@acme.example",
            prompt="Refund the duplicate charge on order A-4471.",
            run_id=run_id,
        ) as run:
            said = {"model": "a-model", "input_tokens": 812, "output_tokens": 96}
            run.model("I will look the order up first.", latency=0.8, cost_usd=0.0041, **said)
            find_orders(user="maria")
            for amount, words in zip(
                amounts,
                (
                    "Charged twice. I will refund the duplicate.",
                    "The customer asks for the full amount back, so I will refund the whole order.",
                    "Then a partial refund, which somebody has to approve.",
                ),
                strict=False,
            ):
                run.model(words, latency=1.1, cost_usd=0.0033, **said)
                with contextlib.suppress(ApprovalPending):
                    refund(order_id="A-4471", amount=amount, currency="USD", note="Charged twice.")
    gate.store.flush()


def _nested(gate: Gate) -> None:
    """An agent that has others do part of its work; in one of them, something is denied."""

    @guard(gate=gate)
    def find_orders(user: str) -> list[dict[str, object]]:
        return [{"id": "A-4471", "user": user, "charges": 2}]

    @guard(gate=gate, on_deny="return", on_ask="suspend")
    def refund(order_id: str, amount: int, currency: str, note: str) -> dict[str, object]:
        return {"order_id": order_id, "refunded": amount, "currency": currency, "note": note}

    told = [
        {"role": "system", "content": "You look after the refunds of a shop."},
        {"role": "user", "content": "Refund the duplicate charge on order A-4471."},
    ]
    with gate.run(
        agent="orchestrator",
        user="maria@acme.example",
        prompt=told[1]["content"],
        run_id="ticket-32",
    ) as run:
        said = {"model": "a-model", "input_tokens": 412, "output_tokens": 60}
        words = "I will have the order looked up first, and then refunded."
        run.model(words, messages=told, cost_usd=0.0021, latency=0.7, **said)
        with gate.run(agent="researcher", run_id="ticket-32-research") as inner:
            inner.model("Looking for the order.", cost_usd=0.0012, latency=0.4, **said)
            find_orders(user="maria")
        told = [
            *told,
            {"role": "assistant", "content": words},
            {"role": "tool", "content": "Order A-4471 was charged twice, 250.00 USD each."},
        ]
        words = "Charged twice. The refund agent takes it from here."
        run.model(words, messages=told, cost_usd=0.0026, latency=0.9, **said)
        with gate.run(agent="refunder", run_id="ticket-32-refund") as inner:
            inner.model("The whole order, then.", cost_usd=0.0017, latency=0.5, **said)
            refund(order_id="A-4471", amount=450_000, currency="USD", note="Charged twice.")
            with gate.run(agent="writer", run_id="ticket-32-letter") as letter:
                letter.model("Dear Maria, …", cost_usd=0.0009, latency=0.3, **said)
            refund(order_id="A-4471", amount=4_000, currency="USD", note="Charged twice.")
        run.model("The customer has been told.", cost_usd=0.0011, latency=0.4, **said)
    gate.store.flush()


def _changed() -> None:
    """Put a changed policy into the folder, with its tests."""
    folder = Path("policies")
    folder.mkdir()
    text = POLICY.replace("minimum: 20001", "minimum: 10001").replace("$200", "$100")
    # A rule that is tried out, in its place among the others of its tool.
    tool, _, rest = text.partition("  delete_branch:")
    (folder / "production.yaml").write_text(f"{tool}{TRIED}  delete_branch:{rest}", "utf-8")
    (folder / "production.test.yaml").write_text(TESTS, encoding="utf-8")


def _labelled(gate: Gate, credential: bytes) -> None:
    """Have the file decide on a call, and somebody say something of a few."""
    by_file = Gate(policy="production", settings=gate.config)
    args = {"order_id": "A-4480", "amount": 900, "currency": "EUR", "note": "Twice."}
    with by_file.run(agent="support-agent", user="nina", run_id="ticket-33") as run:
        by_file.check(Call(tool="refund", args=args, run=run.ref))
    gate.store.flush()
    with Reader(gate.store.path) as reader, Index(reader) as index:
        index.build()
        tried = index.numbers({"kind": ("decision",), "rule": ("refund-other-currency",)})
        seqs = [
            *((seq, "right") for seq in tried[-2:]),
            *((seq, "false") for seq in tried[-3:-2]),
            (Playback(index, "ticket-31").outline.row(8).seq, "right"),
        ]
    for seq, mark in seqs:
        gate.store.commit(Label(of=seq, mark=mark, by="dana", credential=credential))


def _ask(gate: Gate, run: object, tool: str, **args: object) -> str:
    decision = gate.check(Call(tool=tool, args=args, run=run.ref), leaves=True)  # type: ignore[attr-defined]
    return str(decision.approval_id)


def _shared(store: Store) -> str:
    """A run as one file, as a team gets it: its address."""
    store.checkpoint()
    with Reader(store.path) as reader, Index(reader) as index:
        index.build()
        audience = Audience(name="team", parts=AUDIENCES["team"]).but("hide", ["args.note"])
        page = carried.page(
            Playback(index, "ticket-31"), Showing(audience, b"a picture"), time.time_ns() // 1000
        )
    file = Path("shared.html").absolute()
    file.write_bytes(page)
    return f"{file.as_uri()}#run&frame=6"


def _drawn_of_a_file(chromium: str, gate: Gate, more: Path) -> None:
    """The console on an incident file, of the same run."""
    with Reader(gate.store.path) as reader, Index(reader) as index:
        index.build()
        pack(index, "ticket-31", Path("ticket-31.saferun"), signer=reader.signer())
    with opened(Path("ticket-31.saferun")) as found, sync_playwright() as playwright:
        viewer = Viewer(found)
        server = Server(viewer.app, "127.0.0.1", 0)
        server.start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path in (("incident", "/"), ("incident-replay", "/run?id=ticket-31&frame=6")):
            for look, scheme, width, height in LOOKS:
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,  # type: ignore[arg-type]
                )
                page.goto(f"{server.url}{viewer.link()}")
                page.wait_for_url(f"{server.url}/")
                page.goto(f"{server.url}{path}")
                if "/run?" in path:
                    page.locator(".alive .frame h2").wait_for()
                page.screenshot(path=str(more / f"{name}-{look}.png"))
        browser.close()
        viewer.close()
        server.stop()


def _drawn(
    chromium: str,
    url: str,
    console: Console,
    who: Who,
    admin: Who,
    request: str,
    more: Path | None,
) -> None:
    looks = [
        (HERE / "console.png", f"/requests/{request}", "light", 1180, 900),
        (HERE / "replay.png", "/run?id=ticket-31&frame=6", "light", 1280, 800),
        (HERE / "overview.png", "/overview", "light", 1180, 900),
        (HERE / "rule.png", "/rule?id=ticket-31&frame=8", "light", 1440, 900),
    ]
    pages = {
        "request": f"/requests/{request}",
        "edit": f"/requests/{request}",
        "inbox": "/",
        "settled": "/requests",
        "grants": "/grants",
        "runs": "/runs",
        "overview": "/overview",
        "controls": "/controls",
        "replay": "/run?id=ticket-31&frame=6",
        "asked": "/run?id=ticket-31&frame=8",
        "tree": "/run?id=ticket-32&frame=2",
        "child": "/run?id=ticket-32-letter",
        "children": "/runs?children=yes",
        "diff": "/runs/diff?a=ticket-30&b=ticket-31",
        "export": "/export?id=ticket-31&for=team&hide=args.amount",
        "ledger": "/ledger",
        "entries": "/ledger/entries",
        "entry": "/ledger/entries/9",
        "policies": "/policies",
        "policy": "/policy?name=production",
        "policy-text": "/policy/text?name=production&version=file",
        "rule": "/rule?id=ticket-31&frame=8",
        "near": "/near",
        "shadow": "/shadow",
        "policy-diff": f"/policy/diff?name=production&a={loads(POLICY).version}&b=file",
        "login": "/login",
    }
    shared = (HERE / "shared.png", _shared(console.store), "light", 1280, 800)
    looks.append(shared)
    if more is not None:
        pages["shared"] = shared[1]
        looks += [
            (more / f"{name}-{look}.png", path, scheme, width, height)
            for name, path in pages.items()
            for look, scheme, width, height in LOOKS
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for file, path, scheme, width, height in looks:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
            )
            changes = path.startswith(("/rule", "/shadow"))
            page.goto(f"{url}/enter#{console.sessions.link(admin if changes else who)}")
            page.wait_for_url(f"{url}/")
            page.goto(path if path.startswith("file:") else f"{url}{path}")
            if "shared" in file.stem:
                page.locator("summary").click()
            if "/run?" in path or "#run" in path:
                page.locator(".alive .frame h2").wait_for()
                page.locator(".list b").first.wait_for()
            if file.stem.startswith(("edit", "tree", "runs")):
                for each in page.locator("summary").all():
                    each.click()
            page.screenshot(path=str(file))
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
