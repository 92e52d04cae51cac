"""The decision alone: no recording, no disk, the cost of `Policy.decide`."""

from benchmarks import work
from benchmarks.measure import Single
from saferun import Call, policy


def cases() -> list[Single]:
    return [
        _deciding("decide: 1 rule", work.policy()),
        _deciding("decide: 100 rules, 2 about the tool", work.policy(own=2, others=49)),
        _deciding("decide: 100 rules, all about the tool", work.policy(own=100)),
        _deciding("decide: 2 rules, 100 other tools", work.policy(own=2, others=100)),
        _deciding("decide: 2 rules, 1,000 other tools", work.policy(own=2, others=1_000)),
    ]


def _deciding(name: str, text: str) -> Single:
    loaded = policy.loads(text)
    call = Call(tool="refund", args=dict(work.CALL))
    assert loaded.decide(call).verdict == "allow"
    return Single(name, lambda: loaded.decide(call))
