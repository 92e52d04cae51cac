"""The decision alone: no recording, no disk, the cost of `Policy.decide`."""

from benchmarks import work
from benchmarks.measure import Single
from saferun import Call, Policy, policy
from saferun.call import Facts, RunRef

_RUN = RunRef(run_id="r", root="r", user=work.USER)


def cases() -> list[Single]:
    return [
        _deciding(
            "decide: 100 rules, 2 conditions evaluated", work.policy(own=2, others=49, when=True)
        ),
        _crowded("decide: 2 conditions, 10,000 other tools", 10_000),
        _deciding("decide: 1 rule", work.policy()),
        _deciding("decide: 100 rules, 2 about the tool", work.policy(own=2, others=49)),
        _deciding("decide: 100 rules, all about the tool", work.policy(own=100)),
        _deciding("decide: 2 rules, 100 other tools", work.policy(own=2, others=100)),
        _deciding("decide: 2 rules, 1,000 other tools", work.policy(own=2, others=1_000)),
    ]


def loading() -> list[Single]:
    return [
        _loading("load: 100 rules, one tool", work.policy(own=100)),
        _loading("load: 100 conditions, one tool", work.policy(own=100, when=True)),
        _restoring("restore: 100 rules, 50 tools", work.policy(own=2, others=49)),
    ]


def _crowded(name: str, others: int) -> Single:
    """Among so many other tools that no file is meant to hold them."""
    value = dict(policy.loads(work.policy(own=2, when=True)).document.value)
    value["tools"] |= {f"tool_{at}": {"effect": "read", "args": "any"} for at in range(others)}
    return _decided(name, policy.restore(value))


def _deciding(name: str, text: str) -> Single:
    return _decided(name, policy.loads(text))


def _decided(name: str, loaded: Policy) -> Single:
    call = Call(tool="refund", args=dict(work.CALL), run=_RUN)
    facts = Facts(now=1)
    assert loaded.decide(call, facts).verdict == "allow"
    return Single(name, lambda: loaded.decide(call, facts))


def _loading(name: str, text: str) -> Single:
    return Single(name, lambda: policy.loads(text))


def _restoring(name: str, text: str) -> Single:
    """Made again from what a store keeps, which no YAML has to be read for."""
    kept = policy.loads(text).canonical
    return Single(name, lambda: policy.restore(kept))
