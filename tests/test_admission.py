"""Verdict, controls and answers put together: the rules that production and backtests share."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from saferun.admission import START_BY, State, admit, answered, refusal, standing
from saferun.call import Reason
from saferun.control import Charge, Limit

KEYS = st.sampled_from([b"a", b"b", b"c"])
charges = st.lists(
    st.builds(
        lambda key, most: Charge(Limit(id=f"cap-{key!r}", max=most, per=("run",)), key),
        st.none() | KEYS,
        st.integers(1, 3),
    ),
    max_size=4,
)
used = st.dictionaries(KEYS, st.integers(0, 4))
verdicts = st.sampled_from(["allow", "ask", "deny"])
SPOKEN = (Reason(id="rule", effect="ask", source="rule", message="why"),)


@given(verdicts, charges, used)
def test_only_an_allowed_call_moves_counters_and_then_all_of_them(verdict, due, before) -> None:
    admission = admit(verdict, SPOKEN, due, before)
    if admission.verdict == "allow":
        assert list(admission.moves) == [charge.key for charge in due]
    else:
        assert admission.moves == ()


@given(verdicts, charges, used)
def test_no_control_makes_a_verdict_weaker(verdict, due, before) -> None:
    strength = {"allow": 0, "ask": 1, "deny": 2}
    assert strength[admit(verdict, SPOKEN, due, before).verdict] >= strength[verdict]


@given(charges, used)
def test_no_counter_ever_passes_its_limit(due, before) -> None:
    admission = admit("allow", (), due, before)
    for charge in due:
        if admission.verdict == "allow":
            assert before.get(charge.key, 0) < charge.limit.max


def test_a_limit_that_cannot_count_denies() -> None:
    limit = Limit(id="per-lead", max=12, per=("args.to",), tool="send_email")
    admission = admit("allow", (), [Charge(limit, None, "run")], {})
    assert (admission.verdict, admission.reasons[0].error) == ("deny", "LimitExceeded")
    assert "saferun.run" in admission.reasons[0].message


def test_what_the_policy_said_stands_behind_what_a_limit_said() -> None:
    due = [Charge(Limit(id="cap", max=1, per=("run",)), b"a")]
    admission = admit("ask", SPOKEN, due, {b"a": 1})
    assert [reason.id for reason in admission.reasons] == ["cap", "rule"]


ENDS: set[State] = {"rejected", "expired", "cancelled", "stale"}


class Request(RuleBasedStateMachine):
    """One request as people, callers and the clock may treat it, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state: State = "pending"
        self.deadline = 1_000_000
        self.now = 0
        self.approved_in_time = False
        self.starts = 0

    @rule(by=st.integers(0, 2 * START_BY))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(answer=st.sampled_from(["approved", "rejected", "cancelled", "expired"]))
    def somebody_answers(self, answer: State) -> None:
        before = self.state
        self.state = answered(before, answer, deadline=self.deadline, now=self.now)
        if before != "pending":
            assert self.state == before
        elif self.now > self.deadline:
            assert self.state == "expired"
        elif answer == "approved":
            self.approved_in_time = True
            self.deadline = self.now + START_BY

    @rule(same=st.booleans())
    def the_call_comes_back(self, same: bool) -> None:
        worth = standing(
            self.state,
            binding=b"this",
            asked=b"this" if same else b"that",
            deadline=self.deadline,
            now=self.now,
        )
        if worth == "approved":
            assert same
            assert self.now <= self.deadline
            self.starts += 1
            self.state = "executing"
        elif worth != "pending":
            self.state = worth

    @precondition(lambda self: self.state == "executing")
    @rule(end=st.sampled_from(["succeeded", "failed", "unknown"]))
    def the_call_ends(self, end: State) -> None:
        self.state = end

    @invariant()
    def it_starts_at_most_once_and_only_when_approved_in_time(self) -> None:
        assert self.starts <= 1
        if self.starts:
            assert self.approved_in_time

    @invariant()
    def a_refused_request_never_starts(self) -> None:
        if self.state in ENDS:
            assert self.starts == 0
            assert refusal(self.state).effect == "deny"


TestRequest = Request.TestCase
