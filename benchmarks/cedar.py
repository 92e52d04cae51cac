"""The bare decision of Cedar, asked from Python: `is_authorized` of `cedarpy`.

Used as its documentation has it for policies that stay: they are parsed once, and so are the
user and the schema. The arguments are the context, which is encoded anew at every call, as it is
for an application. What is asked about is named by type and id, which it takes faster than text.

The rules are those of `work.policy`, as far as Cedar can say them: one policy permits the tool
within its bounds, and each rule is one that forbids. It knows no person to ask, and no length of
a string. The schema has the types of the arguments and refuses unknown names; it is optional.
"""

import json
from collections.abc import Callable

from benchmarks import work

CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "Cedar: 1 rule": lambda: _asked(_policies(0), _schema(0)),
    "Cedar: 100 rules, 2 conditions evaluated": lambda: _asked(
        _policies(49, when=True), _schema(49)
    ),
    "Cedar: 1 rule, no schema": lambda: _asked(_policies(0), None),
    "Cedar: 100 rules, 2 conditions, no schema": lambda: _asked(_policies(49, when=True), None),
}


def _asked(policies: str, schema: str | None) -> Callable[[], object]:
    from cedarpy import (  # type: ignore[import-not-found]
        Entities,
        PolicySet,
        Schema,
        is_authorized,
    )

    parsed = PolicySet.from_str(policies)
    shape = None if schema is None else Schema.from_str(schema)
    user = {"type": "User", "id": work.USER["id"]}
    known = [{"uid": user, "attrs": {"tier": work.USER["tier"]}, "parents": []}]
    entities = Entities.from_json_str(json.dumps(known), shape)
    request = {
        "principal": user,
        "action": {"type": "Action", "id": "refund"},
        "resource": {"type": "Order", "id": work.CALL["order_id"]},
        "context": work.CALL,
    }
    answer = is_authorized(request, parsed, entities, shape)
    # A policy that fails is passed over, so that a broken prohibition would permit as well.
    assert answer.allowed
    assert not answer.diagnostics.errors
    return lambda: is_authorized(request, parsed, entities, shape)


def _policies(others: int, *, when: bool = False) -> str:
    """A permission and a rule for `refund`, and two rules about each of `others` further tools.

    With `when`, the rules of `refund` are the conditions of `work.policy`, and there are two.
    """
    amount = "context.amount"
    bounds = f"{amount} >= 1 && {amount} <= {work.HIGHEST}"
    listed = f"{json.dumps(work.CURRENCIES)}.contains(context.currency)"
    text = _policy("permit", "refund", f"{bounds} && {listed}")
    if when:
        for at in range(2):
            below = f"{amount} < {work.ASKED_FROM + at}"
            text += _policy("forbid", "refund", f'{below} && principal.tier == "gold"')
    else:
        text += _policy("forbid", "refund", f"{amount} >= {work.ASKED_FROM}")
    for at in range(others):
        for above in (work.ASKED_FROM, 50_001):
            text += _policy("forbid", f"tool_{at}", f"{amount} >= {above}")
    return text


def _policy(effect: str, tool: str, when: str) -> str:
    return f'{effect} (principal, action == Action::"{tool}", resource) when {{ {when} }};\n'


def _schema(others: int) -> str:
    tools = json.dumps(["refund", *(f"tool_{at}" for at in range(others))])[1:-1]
    arguments = "order_id: String, amount: Long, currency: String, reason: String"
    return f"""entity User {{ tier: String }};
entity Order;
action {tools} appliesTo {{
  principal: [User], resource: [Order], context: {{ {arguments} }}
}};
"""
