"""A limit that `check` calls idle is never the first that a call is over, whatever is called."""

from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from policy.making import text
from saferun.call import Call, RunRef
from saferun.control import Limit, charges
from saferun.control.limit import Groups, counted, over
from saferun.policy import check, loads

TOOL = """
effect: write
args:
  amount: {type: integer, minimum: 0}
  to: {type: string}
"""
SECOND = 1_000_000

SCOPES = st.sampled_from(
    [
        ("all", "all"),
        ("all", "args.to"),
        ("run", "run"),
        ("run", "user"),
        ("run", "[run, args.to]"),
        ("user", "[user, args.to]"),
        ("[user, args.to]", "[args.to, user]"),
    ]
)
WINDOWS = st.sampled_from(["", ", window: 60s", ", window: 61s", ", window: 62s", ", window: 10s"])
COUNTS = st.builds("max: {}{}".format, st.integers(1, 4), WINDOWS)
SUMS = st.builds("sum: args.amount, max: {}{}".format, st.integers(1, 8), WINDOWS)
RATES = st.builds(
    "rate: {}/{}s, burst: {}".format,
    st.integers(1, 4),
    st.sampled_from([1, 2, 10]),
    st.integers(1, 4),
)
BOUNDS = st.one_of(*(st.tuples(kind, kind) for kind in (COUNTS, SUMS, RATES)))
CALLS = st.lists(
    st.tuples(
        st.sampled_from(
            [0, 1, SECOND // 3, SECOND, 7 * SECOND, 60 * SECOND, 60 * SECOND + 900_000]
        ),
        st.sampled_from(["r1", "r2"]),
        st.sampled_from(["u1", "u2"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 4),
    ),
    max_size=25,
)


def first_over(limits: tuple[Limit, ...], calls: list[Any]) -> set[str]:
    """The limits that some call was over while it was over none of the others."""
    states: dict[Any, Any] = {}
    alone = set()
    now = 1_760_000_000 * SECOND
    for after, run, user, to, amount in calls:
        now += after
        call = Call(
            tool="refund",
            args={"amount": amount, "to": to},
            run=RunRef(run_id=run, root=run, user={"id": user}, agent="support", tenant="acme"),
        )
        due = charges(limits, call, "", 0, Groups())
        full = {
            charge.limit.id
            for charge in due
            if over(charge, states.get((charge.key, charge.limit.name)), now) is not None
        }
        if len(full) == 1:
            alone |= full
        if not full:
            for charge in due:
                at = (charge.key, charge.limit.name)
                states[at] = counted(charge, states.get(at), now)
    return alone


@settings(suppress_health_check=[*HealthCheck])
@given(BOUNDS, SCOPES, CALLS)
@example(("max: 2", "max: 2, window: 60s"), ("all", "args.to"), [(0, "r1", "u1", "a", 1)] * 3)
def test_an_idle_limit_is_never_reached_first(bounds, scopes, calls):
    limits = ", ".join(
        f"{{id: {name}, {bound}, per: {scope}}}"
        for name, bound, scope in zip("ab", bounds, scopes, strict=True)
    )
    document = text(f"{TOOL}limits: [{limits}]\n")
    found = {each.line: each for each in check(document) if each.code == "idle-limit"}
    assume(found)
    made = loads(document).tools["refund"][0].limits
    message = "".join(each.message for each in found.values())
    # Both stand on one line, and the message names the one that is reached first.
    idle = "b" if "`a`" in message else "a"
    assert idle not in first_over(made, calls)


def test_what_a_limit_in_shadow_would_stop_keeps_no_other_from_speaking():
    both = "limits: [{id: a, max: 2, per: run MODE}, {id: b, max: 3, per: run}]\n"
    idle = [
        [each.code for each in check(text(f"{TOOL}{both.replace('MODE', mode)}"))].count(
            "idle-limit"
        )
        for mode in ("", ", mode: shadow")
    ]
    assert idle == [1, 0]
