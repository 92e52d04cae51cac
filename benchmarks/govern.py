"""A whole call of the Agent Governance Toolkit: `govern(fn, policy=yaml)`.

Used as its documentation has it, in its own environment: the call's kind under `action`,
everything else by name, conditions over the values. The rules are those of `work.policy`, as
far as it can say them: it has no types and no lengths, and what is not listed is not noticed.
"""

import json
from collections.abc import Callable

from benchmarks import work

CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "AGT govern: 1 rule": lambda: _governed(0, audit=True),
    "AGT govern: 100 rules, 2 about the tool": lambda: _governed(49, audit=True),
    "AGT govern: 1 rule, no audit": lambda: _governed(0, audit=False),
    "AGT govern: 100 rules, 2 about it, no audit": lambda: _governed(49, audit=False),
}


def policy(others: int, *, when: bool = False) -> str:
    """Rules about `refund`, and two about each of `others` further tools.

    With `when`, those about `refund` are the conditions of `work.policy`, and there are two.
    """
    asked = _WHEN if when else _ABOVE
    highest = work.HIGHEST + 1 if when else work.ASKED_FROM
    rules = [
        ("small-refund", "allow", _FITTING.format(tool="refund", amount=highest)),
        ("big-refund", "require_approval", asked.format(tool="refund", amount=work.ASKED_FROM)),
    ]
    if others:
        huge = work.ASKED_FROM + 1 if when else 50_001
        rules.append(("huge-refund", "require_approval", asked.format(tool="refund", amount=huge)))
    for at in range(others):
        for name, amount in (("big", work.ASKED_FROM), ("huge", 50_001)):
            condition = _ABOVE.format(tool=f"tool_{at}", amount=amount)
            rules.append((f"{name}-{at}", "require_approval", condition))
    return json.dumps(
        {
            "apiVersion": "governance.toolkit/v1",
            "name": "bench",
            "agents": ["*"],
            "default_action": "deny",
            "rules": [
                # A question goes before a permission where both match.
                {
                    "name": name,
                    "action": action,
                    "condition": condition,
                    "priority": int(action != "allow"),
                }
                for name, action, condition in rules
            ],
        }
    )


_FITTING = (
    "action.type == '{tool}' and amount.value >= 1 and amount.value < {amount}"
    f" and currency.value in {list(work.CURRENCIES)}"
)
_ABOVE = "action.type == '{tool}' and amount.value >= {amount}"
_WHEN = "action.type == '{tool}' and amount.value < {amount} and user.tier == 'gold'"


def _governed(others: int, *, audit: bool) -> Callable[[], object]:
    from agentmesh.governance import govern  # type: ignore[import-not-found]

    def refund(order_id: str, amount: int, currency: str, reason: str, action: str) -> object:
        assert action == "refund"
        return work.refund(order_id, amount, currency, reason)

    tool = govern(refund, policy=policy(others), audit=audit)
    return lambda: tool(action="refund", **work.CALL)
