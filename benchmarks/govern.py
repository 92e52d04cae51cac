"""The peer's side: runs in the peer's environment, and makes calls as it is told on its input.

Used as its documentation has it: `govern(fn, policy=yaml)`, the call's kind under `action`,
everything else by name, conditions over the values. The rules are those of `work.policy`, as
far as it can say them: it has no types and no lengths, and what is not listed is not noticed.
"""

import json
import sys
from collections.abc import Callable

from benchmarks import work
from benchmarks.measure import timed

_AUDITED, _BARE = True, False

CASES: dict[str, tuple[int, bool]] = {
    "AGT govern: 1 rule": (0, _AUDITED),
    "AGT govern: 100 rules, 2 about the tool": (49, _AUDITED),
    "AGT govern: 1 rule, no audit": (0, _BARE),
    "AGT govern: 100 rules, 2 about it, no audit": (49, _BARE),
}
"""How many further tools its policy is about, with two rules each, and whether it audits."""


def policy(others: int) -> str:
    rules = [
        ("small-refund", "allow", _FITTING.format(tool="refund", amount=work.ASKED_FROM)),
        ("big-refund", "require_approval", _ABOVE.format(tool="refund", amount=work.ASKED_FROM)),
    ]
    if others:
        rules.append(
            ("huge-refund", "require_approval", _ABOVE.format(tool="refund", amount=50_001))
        )
    for at in range(others):
        for name, amount in (("big", work.ASKED_FROM), ("huge", 50_001)):
            condition = _ABOVE.format(tool=f"tool_{at}", amount=amount)
            rules.append((f"{name}-{at}", "require_approval", condition))
    return json.dumps(
        {
            "apiVersion": "governance.toolkit/v1",
            "name": "bench",
            "default_action": "deny",
            "rules": [
                {"name": name, "action": action, "condition": condition}
                for name, action, condition in rules
            ],
        }
    )


_FITTING = (
    "action.type == '{tool}' and amount.value >= 1 and amount.value < {amount}"
    " and currency.value in ['USD', 'EUR', 'GBP']"
)
_ABOVE = "action.type == '{tool}' and amount.value >= {amount}"


def _governed(others: int, audit: bool) -> Callable[[], object]:
    from agentmesh.governance import govern  # type: ignore[import-not-found]

    def refund(order_id: str, amount: int, currency: str, reason: str, action: str) -> object:
        assert action == "refund"
        return work.refund(order_id, amount, currency, reason)

    tool = govern(refund, policy=policy(others), audit=audit)
    return lambda: tool(action="refund", **work.CALL)


def main() -> None:
    calls = {name: _governed(*how) for name, how in CASES.items()}
    for line in sys.stdin:
        name, times = json.loads(line)
        print(json.dumps(timed(calls[name], times).spent), flush=True)


if __name__ == "__main__":
    main()
