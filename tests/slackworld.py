"""A guarded tool that asks in Slack, and whoever calls it, as tests put them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guarding import entries
from saferun import Gate, config, guard
from saferun.channel.slack import Slack
from slacking import APP_TOKEN, CHANNEL, SECRET, TEAM, TOKEN, FakeSlack, Mounted

DANA, LEE, MARIA, STRANGER = "U0DANA", "U0LEE", "U0MARIA", "U0STRANGER"

CONFIG = f"""
durability = "process"

[people.dana]
slack = "{TEAM}/{DANA}"

[people.lee]
slack = "{TEAM}/{LEE}"

[people.maria]
slack = "{TEAM}/{MARIA}"

[groups]
finance = ["dana", "lee", "maria"]
lead = ["lee"]
desk = ["dana"]

[approval]
default = "slack"
url = "https://saferun.test"

[approval.slack]
channel = "{CHANNEL}"
token_env = "TEST_BOT_TOKEN"
"""

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer, minimum: 1, maximum: 100000}
      note: {type: string, optional: true}
    rules:
      - id: big
        ask: [finance]
        approvals: APPROVALS
        edits: [amount, note]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
      - id: huge
        deny: true
        args: {amount: {minimum: 60001}}
        message: Nobody refunds more than $600.
"""


def policy(approvals: int = 1, text: str = POLICY) -> Path:
    Path("policies").mkdir(exist_ok=True)
    file = Path("policies/money.yaml")
    file.write_text(text.replace("APPROVALS", str(approvals)), encoding="utf-8")
    return file


class Call:
    """Somebody who calls a tool and waits for what becomes of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._go, args=(call,), daemon=True)
        self._thread.start()

    def _go(self, call: Callable[[], Any]) -> None:
        try:
            self.result = call()
        except BaseException as problem:
            self.error = problem

    def ended(self) -> "Call":
        self._thread.join(30)
        assert not self._thread.is_alive(), "the call still waits"
        return self


class World:
    """A gate whose questions go to a Slack on loopback."""

    def __init__(self, slack: FakeSlack, approvals: int, text: str) -> None:
        self.slack = slack
        self.ran: list[dict[str, Any]] = []
        self.gate = Gate(policy=policy(approvals, text), settings=config.load())
        (channel,) = self.gate._channels
        assert isinstance(channel, Slack)
        self.channel = channel

        def refund(order_id: str, amount: int, note: str = "") -> str:
            self.ran.append({"order_id": order_id, "amount": amount, "note": note})
            return "refunded"

        self.refund = guard(refund, gate=self.gate)

    def call(self, **args: Any) -> Call:
        known = {"order_id": "A-17", "amount": 25_000, **args}

        def go() -> Any:
            with self.gate.run(agent="support", user="maria", prompt="I want my money back"):
                return self.refund(**known)

        return Call(go)

    def entries(self, kind: str = "approval") -> list[dict[str, Any]]:
        return entries(self.gate, kind)

    def events(self) -> list[str]:
        return [each["event"] for each in self.entries()]

    def why(self) -> list[str]:
        return [each["why"] for each in self.entries() if each["event"] == "refused"]


@contextmanager
def world(
    monkeypatch: Any,
    *,
    socket: bool = False,
    approvals: int = 1,
    text: str = POLICY,
    more: str = "",
    glass: str = "",
) -> Iterator[World]:
    """A world whose clicks come by HTTP, or with `socket` by a websocket.

    `glass` is somebody who may break it.
    """
    monkeypatch.setenv("TEST_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TEST_APP_TOKEN", APP_TOKEN)
    monkeypatch.setenv("TEST_SIGNING_SECRET", SECRET)
    by = (
        'app_token_env = "TEST_APP_TOKEN"'
        if socket
        else ('signing_secret_env = "TEST_SIGNING_SECRET"')
    )
    with FakeSlack() as slack:
        told = f'{CONFIG}{by}\napi_url = "{slack.url}"\n{more}'
        if glass:
            told = told.replace("[approval]\n", f'[approval]\nbreak_glass = ["{glass}"]\n')
        Path("saferun.toml").write_text(told, encoding="utf-8")
        found = World(slack, approvals, text)
        try:
            if socket:
                yield found
            else:
                # As `saferun serve` does, whether anything is asked yet or not.
                found.channel.attend(found.gate._desk)
                with Mounted(found.channel.receive) as where:
                    slack.callback = where
                    yield found
        finally:
            found.channel.close()
