"""Verdict, controls and answers put together: the rules that production and backtests share."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from saferun.admission import (
    HEALTH,
    NOTHING,
    Admission,
    Due,
    Hold,
    admit,
    health,
    holds,
    settled,
)
from saferun.approval import START_BY, State, answered, refusal, standing
from saferun.call import Reason
from saferun.control import COST, STOPPABLE, Breaker, Charge, Finding, Health, Limit, Switch
from saferun.control import breaker as breakers
from saferun.control import limit as limits

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOON = 1_760_000_000 * SECOND

SPOKEN = (Reason(id="rule", effect="ask", source="rule", message="why"),)
STRENGTH = {"allow": 0, "ask": 1, "defer": 2, "deny": 3}


class Kept:
    """What a store keeps of the controls, in memory."""

    def __init__(self, groups: dict[Any, dict[str, Any]] | None = None) -> None:
        self.groups = groups or {}

    def __call__(self, key: Any) -> dict[str, Any]:
        return self.groups.get(key, {})

    def move(self, admission: Admission) -> None:
        for key, name, state, _ in admission.moves:
            self.groups.setdefault(key, {})[name] = state

    def settle(self, held: tuple[Hold, ...], at: int, now: int, **outcome: Any) -> None:
        for hold, by in settled(held, **outcome):
            group, name = self.groups[hold.key], hold.limit.name
            group[name] = limits.corrected(hold.limit, group[name], by, at, now)


def calls(most: int = 1, **about: Any) -> Limit:
    return Limit(**{"id": "cap", "max": most, "per": ("run",), **about})


def finding(step: Any) -> Finding:
    return Finding(
        step=step, signal="same_result", count=6, limit=6, message="You turn in circles."
    )


@st.composite
def limit(draw: Any) -> Limit:
    pace = draw(st.sampled_from(["for good", "window", "rate"]))
    return Limit(
        id=f"cap-{draw(st.integers(0, 99))}",
        max=draw(st.integers(1, 3)),
        per=("run",),
        sum=None if pace == "rate" else draw(st.sampled_from([None, COST, "args.n"])),
        window=None if pace == "for good" else MINUTE,
        burst=draw(st.integers(1, 3)) if pace == "rate" else None,
        on_limit=draw(st.sampled_from(["deny", "ask", "defer"])),
    )


charges = st.builds(
    Charge, limit(), st.sampled_from([b"a", b"b"] * 4 + [None]), st.integers(0, 3), st.just("run")
)
wells = st.sampled_from(
    [
        Health(),
        Health(),
        Health(1, NOON, NOON + MINUTE),
        Health(1, NOON - 2 * MINUTE, NOON - MINUTE),
        Health(1, NOON - MINUTE, NOON, trial=True, probing=((1, NOON), (2, NOON))),
        Health(window=((NOON // breakers.BUCKET, 5, 5, 0, 20, 50 * SECOND),)),
    ]
)
dues = st.builds(
    Due,
    charges=st.lists(charges, max_size=3, unique_by=lambda charge: charge.limit.id),
    breaker=st.sampled_from([None, Breaker()]),
    health=st.just(b"tool"),
    retry=st.booleans(),
    loop=st.sampled_from([None] * 4 + [finding(step) for step in ("nudge", "deny", "ask", "stop")]),
)
verdicts = st.sampled_from(["allow", "ask", "deny"])
modes = st.sampled_from(["enforce", "shadow", "observe"])
switches = st.sampled_from(
    [None] * 2 * len(STOPPABLE) + [Switch(scope=scope, value="x", by="dana") for scope in STOPPABLE]
)


@st.composite
def kept(draw: Any, due: Due) -> Kept:
    """Some state of everything that a call has to pass."""
    found = Kept({b"tool": {HEALTH: draw(wells)}})
    for charge in due.charges:
        state = None
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
            state = limits.counted(charge, state, NOON - draw(st.integers(0, 2)) * MINUTE)
        if charge.key is not None and state is not None:
            found.groups.setdefault(charge.key, {})[charge.limit.name] = state
    return found


@st.composite
def tries(draw: Any) -> dict[str, Any]:
    """The arguments of `admit`, all that there can be."""
    due = draw(dues)
    ids = ["loops", HEALTH, "rule", *(charge.limit.id for charge in due.charges)]
    return {
        "verdict": draw(verdicts),
        "reasons": SPOKEN,
        "due": due,
        "states": draw(kept(due)),
        "now": NOON,
        "mode": draw(modes),
        "call": 7,
        "stopped": draw(switches),
        "overridden": draw(st.frozensets(st.sampled_from(ids))),
    }


# What controls may do to a verdict. Many examples: of what can object, much mostly does.

many = settings(max_examples=settings.default.max_examples * 5)


@many
@given(tries())
def test_no_control_makes_a_verdict_weaker(tried: dict[str, Any]) -> None:
    assert STRENGTH[admit(**tried).verdict] >= STRENGTH[tried["verdict"]]


@many
@given(tries())
def test_only_an_allowed_call_moves_states_and_then_all_of_them(tried: dict[str, Any]) -> None:
    admission = admit(**tried)
    if admission.verdict != "allow":
        assert admission.moves == ()
    else:
        due = tried["due"]
        counted = Counter((move.key, move.name) for move in admission.moves if move.name != HEALTH)
        assert counted == Counter((charge.key, charge.limit.name) for charge in due.charges)
        assert len(holds(due)) == sum(charge.limit.burst is None for charge in due.charges)


@many
@given(tries())
def test_trying_changes_nothing_by_itself(tried: dict[str, Any]) -> None:
    before = {key: dict(group) for key, group in tried["states"].groups.items()}
    first = admit(**tried)
    assert admit(**tried) == first
    assert tried["states"].groups == before


@many
@given(tries())
def test_an_answer_overrides_what_asks_and_nothing_else(tried: dict[str, Any]) -> None:
    with_answer = admit(**tried)
    without = admit(**{**tried, "overridden": frozenset()})
    if without.verdict in ("allow", "deny", "defer"):
        assert with_answer.verdict == without.verdict
    for reason in without.reasons:
        if reason.effect != "ask":
            assert reason in with_answer.reasons


@many
@given(tries())
def test_what_an_answer_overrides_is_still_said_of_a_call_that_runs(tried: dict[str, Any]) -> None:
    admission = admit(**tried)
    if admission.verdict == "allow":
        assert admission.reasons == admit(**{**tried, "overridden": frozenset()}).reasons


@many
@given(tries())
def test_what_an_answer_overrides_counts_all_the_same(tried: dict[str, Any]) -> None:
    every = frozenset(charge.limit.id for charge in tried["due"].charges) | {"loops", HEALTH}
    admission = admit(**{**tried, "verdict": "allow", "overridden": every})
    if admission.verdict == "allow":
        moved = {move.name for move in admission.moves}
        assert {charge.limit.name for charge in tried["due"].charges} <= moved


@many
@given(tries(), st.sampled_from(["deny", "ask", "defer"]))
def test_a_charge_that_cannot_be_counted_denies_whatever_the_limit_says(
    tried: dict[str, Any], on_limit: Any
) -> None:
    lost = Charge(calls(on_limit=on_limit, window=MINUTE), None, missing="run")
    due = Due(charges=[*tried["due"].charges, lost])
    admission = admit(**{**tried, "due": due, "overridden": frozenset({"cap"})})
    assert (admission.verdict, admission.moves) == ("deny", ())


@many
@given(tries())
def test_what_objects_stands_before_what_the_policy_said_the_hardest_first(
    tried: dict[str, Any],
) -> None:
    admission = admit(**{**tried, "overridden": frozenset()})
    assert admission.reasons[-1:] == SPOKEN
    objections = admission.reasons[:-1]
    if objections:
        assert admission.verdict == objections[0].effect
        hardness = [STRENGTH[reason.effect] for reason in objections]
        assert hardness == sorted(hardness, reverse=True)
        assert all(reason.measure is not None for reason in objections)


@many
@given(tries())
def test_with_no_policy_what_objects_binds_and_in_shadow_it_does_not(
    tried: dict[str, Any],
) -> None:
    admission = admit(**{**tried, "overridden": frozenset()})
    objected = len(admission.reasons) > len(SPOKEN)
    if tried["stopped"] is not None:
        assert (admission.verdict, admission.mode) == ("deny", "enforce")
    elif objected and tried["mode"] == "observe":
        assert admission.mode == "enforce"
    else:
        assert admission.mode == tried["mode"]


@many
@given(tries())
def test_a_time_is_said_only_where_all_that_decided_know_one(tried: dict[str, Any]) -> None:
    admission = admit(**tried)
    deciding = [
        reason.measure
        for reason in admission.reasons
        if reason.measure is not None and reason.effect == admission.verdict
    ]
    times = [measure.frees_at for measure in deciding]
    known = [at for at in times if at is not None]
    if admission.frees_at is not None:
        assert len(known) == len(times)
        assert admission.frees_at == max(known)


# One by one.


@pytest.mark.parametrize("on_limit", ["ask", "defer"])
def test_what_the_policy_denies_no_control_softens(on_limit: Any) -> None:
    limit = calls(on_limit=on_limit, window=MINUTE)
    charge = Charge(limit, b"a")
    states = Kept({b"a": {limit.name: limits.counted(charge, None, NOON)}})
    admission = admit("deny", SPOKEN, Due(charges=[charge]), states, NOON)
    assert (admission.verdict, admission.reasons) == ("deny", SPOKEN)


def test_what_the_policy_asks_counts_nothing_before_it_is_answered() -> None:
    due = Due(charges=[Charge(calls(), b"a")])
    assert admit("ask", SPOKEN, due, Kept(), NOON).moves == ()
    assert len(admit("allow", SPOKEN, due, Kept(), NOON).moves) == 1


def test_a_limit_that_cannot_count_denies() -> None:
    limit = Limit(id="per-lead", max=12, per=("args.to",), tool="send_email")
    admission = admit("allow", (), Due(charges=[Charge(limit, None, missing="run")]), Kept(), NOON)
    assert (admission.verdict, admission.reasons[0].error) == ("deny", "LimitExceeded")
    assert "saferun.run" in admission.reasons[0].message


def test_what_the_policy_said_stands_behind_what_a_limit_said() -> None:
    due = Due(charges=[Charge(calls(), b"a")])
    admission = admit("ask", SPOKEN, due, Kept({b"a": {calls().name: 1}}), NOON)
    assert [reason.id for reason in admission.reasons] == ["cap", "rule"]


@pytest.mark.parametrize(
    ("limit", "verdict", "error", "control"),
    [
        (calls(), "deny", "LimitExceeded", "limit"),
        (calls(on_limit="ask"), "ask", "LimitExceeded", "limit"),
        (calls(sum=COST), "deny", "BudgetExceeded", "budget"),
        (calls(window=MINUTE, on_limit="defer"), "defer", "Deferred", "limit"),
        (calls(window=MINUTE, burst=1, on_limit="defer"), "defer", "Deferred", "rate"),
    ],
)
def test_a_limit_that_is_reached_says_what_its_policy_has_it_say(
    limit: Limit, verdict: str, error: str, control: str
) -> None:
    charge = Charge(limit, b"a", about=(("policy", "p"), ("run", "r-1")))
    state = limits.counted(charge, None, NOON)
    admission = admit("allow", (), Due(charges=[charge]), Kept({b"a": {limit.name: state}}), NOON)
    (reason,) = admission.reasons
    assert (admission.verdict, reason.error, reason.source) == (verdict, error, "limit")
    assert reason.measure is not None
    assert (reason.measure.control, reason.measure.scope) == (control, "run r-1")
    assert (admission.frees_at is None) == (limit.window is None)
    assert admission.frees_at == reason.measure.frees_at


def test_the_hardest_of_several_objections_decides() -> None:
    named = {
        "ask": calls(id="asks", on_limit="ask"),
        "defer": calls(id="defers", on_limit="defer", window=MINUTE),
        "deny": calls(id="denies"),
    }
    due, states = [], Kept({b"a": {}})
    for verdict, limit in named.items():
        charge = Charge(limit, b"a")
        due.append(charge)
        states.groups[b"a"][limit.name] = limits.counted(charge, None, NOON)
        assert admit("allow", (), Due(charges=due), states, NOON).verdict == verdict


def test_a_loop_speaks_by_its_step_and_a_nudge_lets_through() -> None:
    steps = {step: admit("allow", (), Due(loop=finding(step)), Kept(), NOON) for step in LADDER}
    assert {step: told.verdict for step, told in steps.items()} == LADDER
    assert [step for step, told in steps.items() if told.stops] == ["stop"]
    assert steps["nudge"].nudge == "You turn in circles."
    assert steps["nudge"].reasons == ()
    assert steps["deny"].reasons[0].error == "LoopDetected"


LADDER = {"nudge": "allow", "deny": "deny", "ask": "ask", "stop": "deny"}


@pytest.mark.parametrize("step", LADDER)
def test_a_loop_that_a_person_has_let_go_on_is_denied_all_the_same_once_it_is_no_question(
    step: str,
) -> None:
    due = Due(loop=finding(step))
    admission = admit("allow", (), due, Kept(), NOON, overridden=frozenset({"loops"}))
    assert admission.verdict == ("allow" if step in ("nudge", "ask") else "deny")


def test_a_tool_that_is_left_alone_is_not_called_and_says_when_it_may_be() -> None:
    open_since = Health(1, NOON - SECOND, NOON + MINUTE)
    due = Due(breaker=Breaker(), health=b"tool", about=(("tool", "refund"), ("tenant", "acme")))
    admission = admit("allow", (), due, Kept({b"tool": {HEALTH: open_since}}), NOON)
    assert (admission.verdict, admission.frees_at) == ("deny", NOON + MINUTE)
    assert admission.reasons[0].error == "CircuitOpen"
    assert admission.reasons[0].measure is not None
    assert admission.reasons[0].measure.scope == "tool refund, tenant acme"


def test_a_probe_is_held_in_the_name_of_the_call() -> None:
    over = Health(1, NOON - 2 * MINUTE, NOON - MINUTE)
    due = Due(breaker=Breaker(), health=b"tool")
    states = Kept({b"tool": {HEALTH: over}})
    admission = admit("allow", (), due, states, NOON, call=41)
    states.move(admission)
    assert health(states(b"tool")).probing == ((41, NOON),)


def test_a_probe_that_a_limit_stops_takes_no_place() -> None:
    due = Due(charges=[Charge(calls(), b"a")], breaker=Breaker(), health=b"tool")
    over = Health(1, NOON - 2 * MINUTE, NOON - MINUTE)
    states = Kept({b"tool": {HEALTH: over}, b"a": {calls().name: 1}})
    assert admit("allow", (), due, states, NOON).moves == ()


def test_how_a_tool_fares_is_read_back_from_what_a_store_keeps() -> None:
    well = Health(1, NOON, NOON + 1, window=((5, 1, 1, 0, 0, 0),))
    kept = [1, NOON, NOON + 1, False, 0, 0, [], [[5, 1, 1, 0, 0, 0]], []]
    assert health({HEALTH: kept}) == health({HEALTH: well}) == well
    assert health({}) == Health()


@pytest.mark.parametrize("mode", ["enforce", "shadow", "observe"])
@pytest.mark.parametrize("verdict", ["allow", "ask", "deny"])
def test_what_is_stopped_is_stopped_in_every_mode(verdict: Any, mode: Any) -> None:
    switch = Switch(scope="tool", value="refund", by="dana", reason="incident 4")
    admission = admit(verdict, SPOKEN, NOTHING, Kept(), NOON, mode=mode, stopped=switch)
    assert (admission.verdict, admission.mode) == ("deny", "enforce")
    assert admission.reasons[0].error == "Stopped"
    assert "incident" not in admission.reasons[0].message
    assert "dana" not in admission.reasons[0].message


# What is held, and what of it is given back.


def held(*of: Limit, amount: int = 10) -> tuple[Hold, ...]:
    return holds(Due(charges=[Charge(limit, b"a", amount) for limit in of]))


MONEY, COUNT = calls(id="money", sum=COST), calls(id="count", sum="args.n")


@pytest.mark.parametrize(
    ("status", "cost", "releasable", "by"),
    [
        ("not_started", None, False, [-10, -10]),
        ("not_started", 3, False, [-10, -10]),
        ("error", None, True, [-10, -10]),
        ("error", None, False, []),
        ("ok", None, True, []),
        ("ok", 3, False, [-7]),
        ("ok", 10, False, []),
        ("ok", 15, False, [5]),
        ("error", 3, False, [-7]),
        ("timeout", None, True, []),
        ("cancelled", None, True, []),
        ("unknown", None, True, []),
    ],
)
def test_only_what_certainly_did_not_happen_or_cost_less_is_given_back(
    status: Any, cost: int | None, releasable: bool, by: list[int]
) -> None:
    found = settled(held(MONEY, COUNT), status, cost, releasable=releasable)
    assert [each for _, each in found] == by
    assert len(found) != 1 or found[0][0].limit is MONEY


def test_a_rate_holds_nothing() -> None:
    assert held(calls(burst=1, window=MINUTE)) == ()


class Counting(RuleBasedStateMachine):
    """Calls that are let through, end and cost what they cost, against a log kept exactly.

    Whatever comes in which order: no limit ever counts more than it allows, and none counts
    less than what has happened.
    """

    MAX = 10
    PER_HOUR = Limit(id="hour", max=MAX, per=("all",), sum=COST, window=60 * MINUTE)
    PER_MINUTE = Limit(id="minute", max=MAX, per=("all",), window=MINUTE)
    FOR_GOOD = Limit(id="good", max=6 * MAX, per=("all",), sum="args.n")
    PACED = Limit(id="pace", max=30, per=("all",), window=MINUTE, burst=8)
    LIMITS = (PER_HOUR, PER_MINUTE, FOR_GOOD, PACED)

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept()
        self.now = NOON
        self.open: list[int] = []
        # Of each call that was let through: when, and what it stands at with each limit.
        self.log: list[tuple[int, dict[str, int]]] = []
        self.held: list[tuple[Hold, ...]] = []

    @rule(by=st.sampled_from([0, 1, SECOND, 29 * SECOND, MINUTE, 31 * MINUTE, 61 * MINUTE]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(amounts=st.fixed_dictionaries({"hour": st.integers(0, 4), "good": st.integers(0, 4)}))
    def a_call_comes(self, amounts: dict[str, int]) -> None:
        amounts = {"minute": 1, "pace": 1, **amounts}
        due = Due(charges=[Charge(each, b"all", amounts[each.id]) for each in self.LIMITS])
        admission = admit("allow", (), due, self.kept, self.now)
        if admission.verdict == "allow":
            self.kept.move(admission)
            self.open.append(len(self.log))
            self.log.append((self.now, amounts))
            self.held.append(holds(due))
        else:
            assert admission.moves == ()
            self.was_rightly_refused(amounts, {reason.id for reason in admission.reasons})

    def was_rightly_refused(self, amounts: dict[str, int], by: set[str]) -> None:
        for limit in self.LIMITS:
            if limit.id not in by or limit.burst is not None:
                continue
            # A slice counts a little longer than the window, and never by more than that.
            late = (limit.window or 0) + (limit.window or 0) // 60
            since = None if limit.window is None else self.now - late
            most = self.counts(limit, since)
            assert most + amounts[limit.id] > limit.max or most >= limit.max

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_call_ends(self, data: Any) -> None:
        call = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        at, amounts = self.log[call]
        status = data.draw(st.sampled_from(["ok", "error", "not_started", "cancelled", "unknown"]))
        cost = data.draw(st.none() | st.integers(0, amounts["hour"]))
        releasable = data.draw(st.booleans())
        self.kept.settle(
            self.held[call], at, self.now, status=status, cost=cost, releasable=releasable
        )
        if status == "not_started" or (status == "error" and releasable):
            amounts.update(hour=0, minute=0, good=0)
        elif cost is not None:
            amounts["hour"] = cost

    def counts(self, limit: Limit, since: int | None, until: int | None = None) -> int:
        return sum(
            amounts[limit.id]
            for at, amounts in self.log
            if (since is None or at >= since) and (until is None or at <= until)
        )

    @invariant()
    def no_stretch_of_time_holds_more_than_its_limit(self) -> None:
        for limit in (self.PER_HOUR, self.PER_MINUTE):
            assert limit.window is not None
            for until, _ in self.log:
                assert self.counts(limit, until - limit.window, until) <= limit.max
        assert self.counts(self.FOR_GOOD, None) <= self.FOR_GOOD.max
        for until, _ in self.log:
            paced = self.counts(self.PACED, until - MINUTE, until)
            assert paced <= self.PACED.max + (self.PACED.burst or 0)

    @invariant()
    def what_is_kept_is_whole_and_neither_less_than_what_happened_nor_more_than_allowed(
        self,
    ) -> None:
        group = self.kept(b"all")
        for limit in (self.PER_HOUR, self.PER_MINUTE, self.FOR_GOOD):
            used = limits.used(limit, group.get(limit.name), self.now)
            assert type(used) is int
            assert used <= limit.max
            since = None if limit.window is None else self.now - limit.window + 1
            assert used >= self.counts(limit, since)
        total = limits.used(self.FOR_GOOD, group.get(self.FOR_GOOD.name), self.now)
        assert total == self.counts(self.FOR_GOOD, None)


TestCounting = Counting.TestCase


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=20))
def test_a_limit_is_passed_only_by_what_calls_cost_beyond_what_was_held(
    costs: list[tuple[int, int]],
) -> None:
    limit = calls(20, sum=COST)
    states, beyond = Kept(), 0
    for most, true in costs:
        due = Due(charges=[Charge(limit, b"a", most)])
        admission = admit("allow", (), due, states, NOON)
        used = limits.used(limit, states(b"a").get(limit.name), NOON)
        assert used <= limit.max + beyond
        if used >= limit.max:
            assert admission.verdict == "deny"
        if admission.verdict == "allow":
            states.move(admission)
            states.settle(holds(due), NOON, NOON, status="ok", cost=true, releasable=False)
            beyond += max(0, true - most)


# Requests to a person.


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


# Calls that come close to a limit.


@pytest.mark.parametrize(
    ("limit", "amount", "close"),
    [
        (calls(10), 1, [9, 10]),
        (calls(20, window=MINUTE), 1, [18, 19, 20]),
        # What is less than ten calls is close with the last one, unless that is the first.
        (calls(2), 1, [2]),
        (calls(1), 1, []),
        (calls(1_000_000, sum=COST), 450_000, [2]),
        (calls(1_000_000, sum=COST), 900_000, [1]),
        # A rate is there to be kept up with.
        (calls(60, window=MINUTE, burst=3), 1, []),
    ],
)
def test_a_call_that_leaves_a_tenth_of_a_limit_is_close_to_it(limit, amount, close) -> None:
    states, found = Kept(), []
    due = Due(charges=[Charge(limit, "group", amount)])
    for number in range(1, 100):
        tried = admit("allow", (), due, states, NOON)
        if tried.verdict != "allow":
            # Who comes too late comes close to nothing.
            assert not tried.close
            break
        states.move(tried)
        if tried.close:
            assert list(tried.close) == [limit.id]
            found.append(number)
    assert found == close


def test_what_is_only_asked_about_has_come_close_to_nothing_yet() -> None:
    due = Due(charges=[Charge(calls(1_000_000, sum=COST), "group", 950_000)])
    assert not admit("ask", SPOKEN, due, Kept(), NOON).close
    assert list(admit("allow", SPOKEN, due, Kept(), NOON).close) == ["cap"]
