"""The work that every alternative is given: one tool, one call of it, policies of several sizes.

Nothing here imports SafeRun, so that a peer's own environment can use it as well.
"""

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


def policy(*, others: int = 0, own: int = 1, limit: int | None = None, when: bool = False) -> str:
    """A SafeRun policy for `refund`: its arguments closed, and `own` rules about them.

    `others` is the number of further tools, each with a schema and two rules of its own.
    `limit` is how many calls a run may make, None for no such limit. With `when`, the rules of
    `refund` are conditions on the arguments and on the user.
    """
    ruled = _condition if when else _rule
    rules = [ruled(f"big-refund-{at}", ASKED_FROM + at) for at in range(own)]
    limits = "" if limit is None else f"    limits: [{{id: refunds, max: {limit}, per: run}}]\n"
    inputs = "inputs: {user.tier: string}\n"
    text = (
        f"version: 1\n{inputs}name: bench\ndefault: deny\ntools:\n{_tool('refund', rules)}{limits}"
    )
    for at in range(others):
        text += _tool(f"tool_{at}", [_rule(f"big-{at}", 20_001), _rule(f"huge-{at}", 50_001)])
    return text


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
