"""The bare decision of the Agent Governance Toolkit: its two evaluators, with nothing around them.

`PolicyEngine` is the one that `govern` asks, so it gets the rules of `govern`, word for word.
`PolicyEvaluator` is the lighter one, and can say less: a rule of it compares one field, and the
first rule that matches decides. So the fields carry the name of the tool that they belong to,
and what is denied comes before what is allowed. It knows no person to ask, and denies instead.
"""

from collections.abc import Callable

from benchmarks import work
from benchmarks.govern import policy

CASES: dict[str, Callable[[], Callable[[], object]]] = {
    "AGT PolicyEngine: 1 rule": lambda: _engine(policy(0)),
    "AGT PolicyEngine: 100 rules, 2 conditions": lambda: _engine(policy(49, when=True)),
    "AGT PolicyEvaluator: 1 rule": lambda: _evaluator(0),
    "AGT PolicyEvaluator: 100 rules, 2 about it": lambda: _evaluator(49),
}


def _engine(text: str) -> Callable[[], object]:
    from agentmesh.governance import PolicyEngine  # type: ignore[import-not-found]

    engine = PolicyEngine()
    engine.load_yaml(text)
    # The shape that `govern` gives to what it is called with.
    values = {name: {"value": value} for name, value in work.CALL.items()}
    context = {"action": {"type": "refund"}, "user": work.USER, **values}
    assert engine.evaluate("*", context).allowed
    return lambda: engine.evaluate("*", context)


def _evaluator(others: int) -> Callable[[], object]:
    from agent_os.policies import (  # type: ignore[import-not-found]
        PolicyDocument,
        PolicyEvaluator,
    )

    evaluator = PolicyEvaluator([PolicyDocument.model_validate(_document(others))])
    values = {f"refund.{name}": value for name, value in work.CALL.items()}
    context = {"tool_name": "refund", **values}
    assert evaluator.evaluate(context).allowed
    return lambda: evaluator.evaluate(context)


def _document(others: int) -> dict[str, object]:
    rules: list[tuple[str, str, str, object]] = [
        ("no-refund", "refund.amount", "lt", 1),
        ("other-currency", "refund.currency", "not_in", work.CURRENCIES),
        ("big-refund", "refund.amount", "gte", work.ASKED_FROM),
    ]
    if others:
        rules.append(("huge-refund", "refund.amount", "gte", 50_001))
    for at in range(others):
        rules += [
            (f"big-{at}", f"tool_{at}.amount", "gte", work.ASKED_FROM),
            (f"huge-{at}", f"tool_{at}.amount", "gte", 50_001),
        ]
    denials = [_rule("deny", *rule) for rule in rules]
    allowed = _rule("allow", "small-refund", "tool_name", "eq", "refund")
    return {"name": "bench", "defaults": {"action": "deny"}, "rules": [*denials, allowed]}


def _rule(action: str, name: str, field: str, operator: str, value: object) -> dict[str, object]:
    condition = {"field": field, "operator": operator, "value": value}
    return {"name": name, "action": action, "condition": condition}
