"""The work that every alternative is given: one tool, one call of it, policies of several sizes.

Nothing here imports SafeRun, so that a peer's own environment can use it as well.
"""

import itertools
from collections.abc import Iterator
from typing import TypedDict


class Arguments(TypedDict):
    order_id: str
    amount: int
    currency: str
    reason: str


CALL: Arguments = {
    "order_id": "A-1742",
    "amount": 4_000,
    "currency": "USD",
    "reason": "The parcel came with a broken lid; the customer sent two photographs of it.",
}
"""A call that every policy here allows, which is what nearly every call is."""


def orders(desk: str = "A") -> Iterator[Arguments]:
    """The same call for one order after the other: work, and no loop. Endless.

    Two desks never have an order in common.
    """
    for number in itertools.count():
        yield {**CALL, "order_id": f"{desk}-{number}"}


USER = {"id": "maria", "tier": "silver"}
"""Who calls. No condition here holds for this tier, so each is evaluated to its second half."""

ASKED_FROM = 20_001
"""Cents from which a refund needs a person; none of the timed calls gets there."""

HIGHEST = 100_000
"""Cents that no refund may go beyond."""

CURRENCIES = ("USD", "EUR", "GBP")


def refund(order_id: str, amount: int, currency: str, reason: str) -> dict[str, object]:
    """A tool that does nothing, so that what is left is the cost of what stands around it."""
    return {"order_id": order_id, "refunded": amount, "currency": currency, "note": reason}


async def refund_later(order_id: str, amount: int, currency: str, reason: str) -> dict[str, object]:
    return refund(order_id, amount, currency, reason)


def policy(
    *,
    others: int = 0,
    own: int = 1,
    limit: int | None = None,
    when: bool = False,
    controls: str = "",
    limits: str = "",
) -> str:
    """A SafeRun policy for `refund`: its arguments closed, and `own` rules about them.

    `others` is the number of further tools, each with a schema and two rules of its own.
    `limit` is how many calls a run may make, None for no such limit. With `when`, the rules of
    `refund` are conditions on the arguments and on the user. `controls` are lines of the whole
    policy, and `limits` lines of `refund`.
    """
    ruled = _condition if when else _rule
    rules = [ruled(f"big-refund-{at}", ASKED_FROM + at) for at in range(own)]
    if limit is not None:
        limits = f"    limits: [{{id: refunds, max: {limit}, per: run}}]\n"
    inputs = "inputs: {user.tier: string}\n"
    text = (
        f"version: 1\n{controls}{inputs}name: bench\ndefault: deny\ntools:\n"
        f"{_tool('refund', rules)}{limits}"
    )
    for at in range(others):
        text += _tool(f"tool_{at}", [_rule(f"big-{at}", 20_001), _rule(f"huge-{at}", 50_001)])
    return text


OFF = "loops: off\nbreaker: off\n"
"""A policy with these has no control but its limits."""

PER_ORDER = "    limits: [{id: once, max: 1, per: args.order_id, window: forever}]\n"
"""Each call begins a count that stays for good, so that there are soon tens of thousands."""

FIVE = """    cost: 0.0000001
    limits:
      - {id: refunds, max: 1000000000, per: run}
      - {id: refunds-per-user, max: 1000000000, per: user, window: 1h}
      - {id: refunded-per-user, sum: args.amount, max: 1000000000000, per: user, window: 1d}
      - {id: pace, rate: 1000000/s, per: tenant}
      - {id: spent, sum: cost_usd, max: 1000000, per: run}
"""
"""A limit of every kind, none of which is ever reached."""


def _tool(name: str, rules: list[str]) -> str:
    return f"""  {name}:
    effect: write
    args:
      order_id: {{type: string, maxLength: 40}}
      amount: {{type: integer, minimum: 1, maximum: {HIGHEST}}}
      currency: {{enum: [{", ".join(CURRENCIES)}]}}
      reason: {{type: string, maxLength: 500}}
    rules:
{"".join(rules)}"""


def _rule(name: str, amount: int) -> str:
    return f"      - {{id: {name}, ask: [finance], args: {{amount: {{minimum: {amount}}}}}}}\n"


def _condition(name: str, amount: int) -> str:
    # It holds in its first half, so that both are evaluated at every call.
    when = f'args.amount < {amount} && user.tier == "gold"'
    return f"      - {{id: {name}, ask: [finance], when: '{when}'}}\n"
