"""Which demand has another in it, held against every way in which people may answer."""

from dataclasses import dataclass
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Demand, Escalation
from saferun.policy.analysis.demand import bare, essential, implies

PEOPLE = ("x", "y", "z")
TIMES = (1, 2, 3, 4)

names = st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True).map(tuple)
somebody = st.sampled_from([(one,) for one in PEOPLE] + list(combinations(PEOPLE, 2)))
steps = st.lists(st.tuples(st.integers(1, 3), somebody), max_size=2, unique_by=lambda step: step[0])
demands = st.builds(
    lambda of, approvals, within, escalate, own: Demand(
        rule="r",
        of=of,
        approvals=approvals,
        within=within,
        escalate=tuple(Escalation(after=after, to=to) for after, to in sorted(escalate)),
        own=own,
    ),
    names,
    st.integers(1, 3),
    st.none() | st.integers(1, 4),
    steps,
    st.booleans(),
)


@dataclass(frozen=True)
class Yes:
    who: str
    at: int


def counts(demand: Demand, yes: Yes, configured: int) -> bool:
    """Whether a yes counts towards a demand. The user of the run is x."""
    asked = not demand.of or yes.who in demand.of
    later = any(yes.who in step.to and step.after <= yes.at for step in demand.escalate)
    within = configured if demand.within is None else demand.within
    return (asked or later) and yes.at <= within and (demand.own or yes.who != "x")


def met(demand: Demand, said: list[Yes], configured: int) -> bool:
    able = {yes.who for yes in said if counts(demand, yes, configured)}
    return len(able) >= demand.approvals


answers = st.lists(st.builds(Yes, st.sampled_from(PEOPLE), st.sampled_from(TIMES)), max_size=6)


@given(demands, demands, answers, st.sampled_from(TIMES))
def test_whatever_meets_a_demand_meets_those_that_it_has_in_it(one, other, said, configured):
    if implies(one, other) and met(one, said, configured):
        assert met(other, said, configured)


@given(st.lists(demands, max_size=4), answers, st.sampled_from(TIMES))
def test_whatever_meets_the_essential_demands_meets_all_of_them(some, said, configured):
    least = essential(some)
    assert all(met(each, said, configured) for each in least) == all(
        met(each, said, configured) for each in some
    )


@given(demands)
def test_every_demand_has_itself_in_it(demand):
    assert implies(demand, demand)


@given(st.lists(demands, max_size=4))
def test_no_essential_demand_has_another_in_it(some):
    assert not any(
        implies(one, other) or implies(other, one)
        for one, other in combinations(essential(some), 2)
    )


@given(st.lists(demands, max_size=4), st.randoms(use_true_random=False))
def test_essential_demands_do_not_depend_on_the_order(some, random):
    again = list(some)
    random.shuffle(again)
    assert essential(again) == essential(some) == essential(map(bare, some))
