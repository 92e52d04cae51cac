"""Agents that ask, and people who look at the console, as its tests put them."""

import re
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from saferun import Gate, config
from saferun.approval import Request
from saferun.call import Call, RunRef
from saferun.console import Console, Sessions, Who
from saferun.desk import Desk
from saferun.policy import loads
from saferun.store import Enrol

WORLD = """\
durability = "process"

[people.dana]
[people.erik]
[people.vera]
role = "viewer"
[people.alma]
role = "admin"
[people.maria]

[groups]
finance = ["dana", "erik", "maria"]

[approval]
default = "console"
break_glass = ["alma"]
"""

POLICY = """\
version: 1
name: money
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 40}
      amount: {type: integer, minimum: 1, maximum: 100000}
      currency: {enum: [USD, EUR], default: USD}
      note: {type: string, optional: true}
    rules:
      - id: big
        ask: [finance]
        edits: [amount, currency, note]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
      - id: huge
        deny: true
        args: {amount: {minimum: 90001}}
        message: Nobody refunds more than $900.
  wipe:
    effect: destructive
    args: {folder: {type: string}}
    rules:
      - id: two
        ask: [finance]
        approvals: 2
        message: Two of finance look at every deletion.
"""

ARGS = {"order_id": "A-17", "amount": 25_000, "currency": "USD"}

HERE = "http://127.0.0.1:7391"
HEAD = {"origin": HERE}


def made() -> Gate:
    """A gate whose questions wait in the console."""
    Path("saferun.toml").write_text(WORLD, encoding="utf-8")
    return Gate(policy=loads(POLICY), settings=config.load())


def ask(
    gate: Gate, tool: str = "refund", run: str = "r-1", prompt: str = "Refund me.", **args: Any
) -> Request:
    """Have an agent ask, and leave; the request as it stands."""
    about = RunRef(
        run_id=run,
        root=run,
        agent="support",
        user={"id": "maria"},
        prompt=prompt,
        plan=["Find the order", "Refund the duplicate"],
    )
    whole = args if tool == "wipe" else {**ARGS, **args}
    decision = gate.check(Call(tool=tool, args=whole, run=about), leaves=True)
    assert decision.approval_id is not None, decision
    stands = Desk(gate.store, gate.config).stands(decision.approval_id)
    assert stands is not None
    return stands


def stands(gate: Gate, request: Request) -> Request:
    found = Desk(gate.store, gate.config).stands(request.id)
    assert found is not None
    return found


def enrolled(gate: Gate, person: str, secret: str = "") -> Who:
    """Somebody whom the store knows by a secret."""
    credential = gate.store.credential(person, secret or f"{person}-secret")
    gate.store.commit(Enrol(person, credential))
    known = gate.config.people.get(person)
    return Who(person, known.role if known is not None else "viewer", credential)


class Browser:
    """A browser at the console, without JavaScript."""

    def __init__(self, console: Console, who: Who | None = None) -> None:
        self.console = console
        self.client = TestClient(console.app, base_url=HERE, follow_redirects=False)
        if who is not None:
            code = console.sessions.link(who)
            answer = self.client.post("/enter", data={"code": code}, headers=HEAD)
            assert answer.status_code == 303, answer.text

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def post(self, path: str, data: dict[str, Any], **headers: str) -> Any:
        return self.client.post(path, data=data, headers={**HEAD, **headers})

    def form(self, path: str) -> dict[str, str]:
        """What is hidden in the forms of a page: what a browser sends back with any of them."""
        page = self.get(path).text
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
        return {name: value.replace("&#34;", '"') for name, value in found}

    def answer(self, request: Request, act: str, **more: Any) -> Any:
        path = f"/requests/{request.id}"
        return self.post(path, {**self.form(path), "act": act, **more})


def console(gate: Gate, **about: Any) -> Console:
    return Console(gate.store, gate.config, sessions=Sessions(), **about)
