"""Limits: what counts as one value, who counts together, how much fits, and what is said."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Call, RunRef
from saferun.control import COST, Groups, Limit, charges
from saferun.control.amount import MAX, MICRO
from saferun.control.limit import Charge, corrected, counted, duration, over, used

SECOND = 1_000_000
HOUR = 3_600 * SECOND
NOON = 1_760_000_000 * SECOND

LIMIT = Limit(id="mails", max=2, per=("args.to",), tool="send_email")


def key(to: object, limit: Limit = LIMIT, root: str = "r-1", space: str = "p/enforce"):
    call = Call(tool="send_email", args={"to": to}, run=RunRef(run_id="r-1", root=root))
    return charge(limit, call, space).key


def charge(limit: Limit, call: Call, space: str = "p", cost: int | None = None) -> Charge:
    (found,) = charges([limit], call, space, cost, Groups())
    return found


def of(run: RunRef | None = None, **args: Any) -> Call:
    return Call(tool="t", args=args, run=run)


# What counts as one.


def test_spellings_that_a_reader_takes_for_one_recipient_count_as_one() -> None:
    spellings = [
        "Lead@Acme.test",
        "lead@acme.test",
        "LEAD@ACME.TEST",
        " lead@acme.test ",
        "l\u200bead@acme.test",
        "\uff4cead@acme.test",
        "lead@acme\u00ad.test",
    ]
    assert len({key(spelling) for spelling in spellings}) == 1


def test_what_a_reader_tells_apart_counts_apart() -> None:
    values = ["jose@x.test", "josé@x.test", "a@x.test", ["a@x.test"], {"a": 1}, 5, "5", None, True]
    assert len({key(value) for value in values}) == len(values)


def test_equal_numbers_count_as_one_however_they_are_written() -> None:
    assert key(5) == key(5.0)
    assert key(5) != key(5.5)


@given(st.text())
def test_case_never_starts_a_count_of_its_own(text: str) -> None:
    assert key(text) == key(text.casefold())


# Who counts together.


def test_an_argument_alone_counts_over_all_runs_and_outside_of_any() -> None:
    outside = Call(tool="send_email", args={"to": "a"})
    assert key("a") == key("a", root="r-9") == charge(LIMIT, outside, "p/enforce").key


def test_with_the_run_beside_it_an_argument_counts_within_a_run() -> None:
    within = Limit(id="mails", max=2, per=("run", "args.to"), tool="send_email")
    child = Call(tool="send_email", args={"to": "a"}, run=RunRef(run_id="r-2", root="r-1"))
    assert charge(within, child, "p/enforce").key == key("a", within)
    assert key("a", within, root="r-9") != key("a", within)


@pytest.mark.parametrize("scope", ["run", "agent", "user", "tenant", "tool", "all"])
def test_a_scope_counts_by_its_own_value_and_by_nothing_else(scope: str) -> None:
    limit = Limit(id="cap", max=1, per=(scope,))
    values = {"run": "r", "agent": "a", "user": "u", "tenant": "t", "tool": "w"}

    def group(**other: str) -> Any:
        said = {**values, **other}
        run = RunRef(
            run_id="x",
            root=said["run"],
            agent=said["agent"],
            user={"id": said["user"]},
            tenant=said["tenant"],
        )
        return charge(limit, Call(tool=said["tool"], args={}, run=run)).key

    moved = {name for name in values if group(**{name: "other"}) != group()}
    assert moved == {scope} - {"all"}


def test_two_scopes_whose_values_are_swapped_are_two_groups() -> None:
    limit = Limit(id="cap", max=1, per=("user", "tenant"))
    one = RunRef(run_id="r", root="r", user={"id": "x"}, tenant="y")
    two = RunRef(run_id="r", root="r", user={"id": "y"}, tenant="x")
    assert charge(limit, of(one)).key != charge(limit, of(two)).key


def test_a_policy_in_shadow_counts_apart() -> None:
    assert key("a") != key("a", space="p/shadow")


def test_limits_of_one_group_are_kept_in_it_under_names_of_their_own() -> None:
    limits = [
        Limit(id="a", max=1, per=("user",)),
        Limit(id="b", max=1, per=("user",)),
        Limit(id="a", max=1, per=("user",), window=HOUR),
        Limit(id="a", max=1, per=("user",), sum=COST),
        Limit(id="a", max=1, per=("user",), sum="args.n"),
        Limit(id="a", max=1, per=("user",), window=HOUR, burst=1),
        Limit(id="a", max=2, per=("user",), window=HOUR, burst=1),
    ]
    call = of(RunRef(run_id="r", root="r", user={"id": "u"}), n=1)
    assert len({each.key for each in charges(limits, call, "p", 1, Groups())}) == 1
    assert len({each.name for each in limits}) == len(limits)


def test_a_count_goes_on_where_a_new_version_only_allows_more_or_says_it_otherwise() -> None:
    before = Limit(id="a", max=1, per=("user",), window=HOUR)
    after = Limit(id="a", max=9, per=("user",), window=HOUR, message="No.", on_limit="ask", line=7)
    assert before.name == after.name


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans()), max_size=9))
def test_groups_that_are_kept_at_hand_are_those_that_were_worked_out(
    tries: list[tuple[str, str, bool]],
) -> None:
    run = RunRef(run_id="r", root="r", user={"id": "u"})
    limits = [
        Limit(id=str(at), max=1, per=per)
        for at, per in enumerate([("tool",), ("user",), ("user", "args.to"), ("tenant",), ("all",)])
    ]
    kept = Groups()
    for tool, to, shadow in tries:
        call = Call(tool=tool, args={"to": to}, run=run)
        space = "p/shadow" if shadow else "p/enforce"
        assert charges(limits, call, space, None, kept) == charges(
            limits, call, space, None, Groups()
        )


def test_no_more_groups_are_kept_at_hand_than_is_said() -> None:
    groups = Groups()
    limit = Limit(id="c", max=1, per=("tool",))
    for at in range(2 * Groups.MAX):
        charges([limit], Call(tool=f"t{at}", args={}), "p", None, groups)
    assert len(groups._known) <= Groups.MAX


@pytest.mark.parametrize(
    ("limit", "call", "missing", "said"),
    [
        (Limit(id="c", max=1, per=("run",)), of(), "run", "use saferun.run(...)"),
        (Limit(id="c", max=1, per=("user",)), of(), "user", "saferun.run(user=...)"),
        (
            Limit(id="c", max=1, per=("tenant",)),
            of(RunRef(run_id="r", root="r")),
            "tenant",
            "the run says none; use saferun.run(tenant=...)",
        ),
        (Limit(id="c", max=1, per=("args.to",)), of(), "args.to", "this call does not have"),
        (Limit(id="c", max=1, per=("all",), sum="args.n"), of(), "args.n", "does not have"),
        (Limit(id="c", max=1, per=("all",), sum="args.n"), of(n="1"), "args.n", "does not have"),
        (Limit(id="c", max=1, per=("all",), sum="args.n"), of(n=True), "args.n", "does not have"),
        (Limit(id="c", max=1, per=("all",), sum="args.n"), of(n=-1), "args.n", "does not have"),
        (Limit(id="c", max=1, per=("all",), sum=COST), of(), COST, "does not have"),
    ],
)
def test_what_cannot_be_counted_does_not_fit_and_says_what_it_lacks(
    limit: Limit, call: Call, missing: str, said: str
) -> None:
    found = charge(limit, call)
    assert (found.key, found.missing) == (None, missing)
    objection = over(found, None, NOON)
    assert objection is not None
    assert objection.frees_at is None
    assert said in limit.uncountable(missing)


# How much fits. Amounts are exact: a sum is right to the millionth, whatever was added up.


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_charge_fits_until_its_maximum_is_used(most: int, before: int) -> None:
    limit = Limit(id="cap", max=most, per=("all",))
    objection = over(charge(limit, of()), before, NOON)
    assert (objection is not None) == (before >= most)
    assert objection is None or (objection.used, objection.frees_at) == (before, None)


prices = st.decimals(0, 1_000, places=6)


@given(st.lists(st.one_of(prices, st.integers(0, 1_000), st.floats(0, 1_000))))
def test_money_adds_up_exactly_and_as_whole_numbers(amounts: list[Any]) -> None:
    limit = Limit(id="sum", max=MAX, per=("all",), sum="args.n")
    state, total = None, Fraction(0)
    for amount in amounts:
        due = charge(limit, of(n=amount))
        state = counted(due, state, NOON)
        exact = Fraction(repr(amount)) if isinstance(amount, float) else Fraction(amount)
        # What is finer than a millionth is rounded up, and by less than one.
        assert 0 <= due.amount - exact * MICRO < 1
        total += due.amount
        assert type(state) is int
    assert (state or 0) == total


def test_a_budget_is_spent_to_the_last_millionth() -> None:
    limit = Limit(id="cap", max=25 * MICRO, per=("all",), sum="args.n")
    state = None
    for _ in range(250):
        assert over(charge(limit, of(n=0.1)), state, NOON) is None
        state = counted(charge(limit, of(n=0.1)), state, NOON)
    assert state == 25 * MICRO
    assert over(charge(limit, of(n=0.000001)), state, NOON) is not None


def test_what_the_application_sets_for_its_own_decimals_changes_no_amount() -> None:
    limit = Limit(id="cap", max=MAX, per=("all",), sum="args.n")
    with localcontext() as context:
        context.prec = 2
        assert charge(limit, of(n=Decimal("123.456789"))).amount == 123_456_789
        assert charge(limit, of(n=123.456789)).amount == 123_456_789


def test_once_a_budget_is_spent_a_call_that_costs_nothing_does_not_fit_either() -> None:
    limit = Limit(id="cap", max=MICRO, per=("all",), sum=COST)
    free = charge(limit, of(), cost=0)
    assert over(free, MICRO - 1, NOON) is None
    assert over(free, MICRO, NOON) is not None


windows = st.sampled_from([SECOND, 60 * SECOND, HOUR, 7 * SECOND + 13])
gaps = st.fractions(0, Fraction(3, 2), max_denominator=120)


@given(windows, st.integers(1, 5), st.lists(st.tuples(gaps, st.integers(1, 3)), max_size=40))
def test_a_window_says_the_very_moment_at_which_the_call_fits_again(
    window: int, most: int, tries: list[tuple[Fraction, int]]
) -> None:
    limit = Limit(id="cap", max=most, per=("all",), sum="args.n", window=window)
    state, now = None, NOON
    for gap, amount in tries:
        now += int(gap * window)
        due = Charge(limit, b"k", amount)
        objection = over(due, state, now)
        if objection is None:
            state = counted(due, state, now)
        elif objection.frees_at is None:
            assert amount > most
        else:
            assert over(due, state, objection.frees_at) is None
            assert over(due, state, objection.frees_at - 1) is not None


@given(windows, st.integers(1, 9), st.integers(1, 5), st.lists(gaps, max_size=40))
def test_a_rate_says_the_very_moment_at_which_the_call_fits_again(
    window: int, most: int, burst: int, tries: list[Fraction]
) -> None:
    limit = Limit(id="pace", max=most, per=("all",), window=window, burst=burst)
    state, now, let = None, NOON, 0
    for gap in tries:
        now += int(gap * window / most)
        objection = over(charge(limit, of()), state, now)
        if objection is None:
            state, let = counted(charge(limit, of()), state, now), let + 1
            assert used(limit, state, now) <= burst
        else:
            assert objection.frees_at is not None
            assert over(charge(limit, of()), state, objection.frees_at) is None
            assert over(charge(limit, of()), state, objection.frees_at - 1) is not None
    assert let <= burst + Fraction((now - NOON) * most, window)


# What is corrected once more is known.


def test_a_correction_counts_where_the_call_was_counted() -> None:
    limit = Limit(id="cap", max=10, per=("all",), sum=COST, window=HOUR)
    state = counted(Charge(limit, b"k", 8), None, NOON)
    later = corrected(limit, state, -5, NOON, NOON + HOUR // 2)
    assert used(limit, later, NOON + HOUR // 2) == 3
    # It leaves with the call, and not an hour after the correction.
    assert used(limit, later, NOON + HOUR + HOUR // 30) == 0


def test_a_correction_of_what_has_left_the_window_changes_nothing() -> None:
    limit = Limit(id="cap", max=10, per=("all",), sum=COST, window=HOUR)
    now = NOON + 2 * HOUR
    state = counted(Charge(limit, b"k", 4), None, now)
    for by in (-8, 8):
        assert used(limit, corrected(limit, state, by, NOON, now), now) == 4


def test_nothing_is_ever_owed_to_whoever_gives_back_more_than_there_is() -> None:
    for window in (None, HOUR):
        limit = Limit(id="cap", max=10, per=("all",), sum=COST, window=window)
        state = counted(Charge(limit, b"k", 4), None, NOON)
        assert used(limit, corrected(limit, state, -9, NOON, NOON), NOON) == 0


def test_a_rate_gives_nothing_back() -> None:
    limit = Limit(id="pace", max=10, per=("all",), window=HOUR, burst=2)
    state = counted(charge(limit, of()), None, NOON)
    assert corrected(limit, state, -1, NOON, NOON) == state


@pytest.mark.parametrize("window", [None, HOUR])
def test_no_cost_however_absurd_makes_a_count_that_cannot_be_kept(window: int | None) -> None:
    limit = Limit(id="cap", max=10, per=("all",), sum=COST, window=window)
    state = None
    for _ in range(10):
        state = counted(Charge(limit, b"k", MAX), state, NOON)
        state = corrected(limit, state, MAX, NOON, NOON)
    assert used(limit, state, NOON) == MAX
    assert over(Charge(limit, b"k", 1), state, NOON) is not None


# What is said.


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (Limit(id="c", max=2, per=("args.to",)), "at most 2 calls for each value of args.to"),
        (Limit(id="c", max=1, per=("run",)), "at most 1 call in one run"),
        (
            Limit(id="c", max=3, per=("run", "args.a", "args.b")),
            "at most 3 calls for each run and value of args.a and value of args.b",
        ),
        (Limit(id="c", max=20, per=("all",), window=HOUR), "at most 20 calls in 1 hour"),
        (
            Limit(id="c", max=20, per=("user",), window=90 * SECOND),
            "at most 20 calls for each user in 90 seconds",
        ),
        (
            Limit(id="c", max=2 * MICRO, per=("run",), sum=COST),
            "at most $2.00 in sum for each run",
        ),
        (
            Limit(id="c", max=200_000 * MICRO, per=("user",), sum="args.amount", window=24 * HOUR),
            "at most 200,000 of args.amount in sum for each user in 1 day",
        ),
        (
            Limit(id="c", max=10, per=("tenant",), window=60 * SECOND, burst=3),
            "at most 10 calls in 1 minute for each tenant",
        ),
        (Limit(id="c", max=7, per=("run",), message="Enough."), "Enough."),
        (Limit(id="c", max=7, per=("run",), disclose=False), "a limit of the policy is reached"),
    ],
)
def test_a_limit_says_what_it_allows_unless_it_may_not(limit: Limit, said: str) -> None:
    assert limit.sentence() == said


def test_people_are_told_how_a_limit_stood() -> None:
    run = RunRef(run_id="r", root="r", user={"id": "maria"})
    limit = Limit(id="c", max=2 * MICRO, per=("user",), sum=COST, window=HOUR)
    due = charge(limit, of(run), cost=50_000)
    objection = over(due, counted(Charge(limit, due.key, 1_980_000), None, NOON), NOON)
    assert objection is not None
    measure = objection.measure()
    assert (measure.control, measure.scope) == ("budget", "user maria")
    assert measure.said() == (
        "budget, user maria: $1.98 of $2.00, wants $0.05, free at 2025-10-09 09:54:00Z"
    )


def test_a_time_is_said_in_the_largest_unit_that_it_is_whole_in() -> None:
    said = [duration(many * SECOND) for many in (1, 60, 90, 3_600, 86_400, 172_800)]
    assert said == ["1 second", "1 minute", "90 seconds", "1 hour", "1 day", "2 days"]
    assert duration(SECOND // 2) == "0.5 seconds"
