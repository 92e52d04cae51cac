"""A gate whose calls wait for people, and those who answer them, as tests of channels put them."""

from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from saferun import Gate, config
from saferun.approval import Channel, Request
from saferun.call import Call, RunRef
from saferun.desk import Desk
from saferun.policy import loads

POLICY = """
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 10000000}
      amount: {type: integer, minimum: 1, maximum: 100000}
      card: {type: string, optional: true}
    rules:
      - id: big
        ask: [finance]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
        edits: [amount, order_id]
      - id: huge
        deny: true
        args: {amount: {minimum: 90000}}
        message: No refund is that big.
"""

PEOPLE = """
[people.dana]
email = "dana@example.com"
[people.lee]
email = "Lee <lee@example.com>"
[people.sam]
email = "sam@example.com"
role = "viewer"
[groups]
finance = ["dana", "lee"]
lead = ["sam"]
"""


def settings(text: str, people: str = PEOPLE) -> config.Config:
    """The configuration of the test's world, written anew."""
    Path("saferun.toml").write_text(f'durability = "process"\n{text}\n{people}', encoding="utf-8")
    return config.load()


class Caller:
    """Calls through a gate that ask by one channel, and everybody who may say something."""

    def __init__(self, channel: Channel, chosen: config.Config, policy: str = POLICY) -> None:
        self.channel: Any = channel
        self.gate = Gate(policy=loads(policy), approvals=channel, settings=chosen)
        self.desk = Desk(self.gate.store, chosen)
        self._calls: list[Thread] = []

    def refund(self, amount: int = 25_000, order_id: str = "A-17", **about: Any) -> Future[Any]:
        """Make a call on a thread of its own, where it waits for its answer."""
        said: Future[Any] = Future()
        run = RunRef(
            run_id="r-1",
            root="r-1",
            agent="support",
            user={"id": "maria"},
            prompt=about.pop("prompt", "Refund A-17, please."),
            plan=about.pop("plan", None),
        )
        args = {"order_id": order_id, "amount": amount, **about}
        call = Call(tool="refund", args=args, run=run)
        thread = Thread(target=lambda: said.set_result(self.gate.check(call)), daemon=True)
        thread.start()
        self._calls.append(thread)
        return said

    def request(self) -> Request:
        (found,) = self.desk.open()
        return found

    def finish(self) -> None:
        """Withdraw what nobody has answered, so that no thread outlives its test."""
        for each in self.desk.open():
            self.desk.vote(
                each.id, by="dana", approved=False, channel="test", revision=each.revision
            )
        for each in self._calls:
            each.join(30)
        if self.gate._courier is not None:
            self.gate._courier.close()
