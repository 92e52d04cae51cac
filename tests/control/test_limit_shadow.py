"""Limits in shadow: they count as enforced ones do, deny nothing, and say what they would have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import saferun
from driving import Agent
from guarding import approve, enforcing, entries, statuses, verdicts
from saferun import Call, Gate, LimitExceeded, Outcome, guard
from saferun.call import RunRef
from saferun.ledger import read
from saferun.policy import loads
from saferun.rehearsal import Rehearsal
from saferun.store import Reader

SECOND = 1_000_000

HEAD = "version: 1\nname: shop\nloops: off\nbreaker: off\n"
POLICY = f"""{HEAD}
tools:
  pay:
    effect: write
    args: {{to: {{type: string}}, amount: {{type: integer, default: 1}}}}
    releasable: true
    limits:
      - {{id: a-person, max: 2, per: args.to, window: 1h, mode: MODE}}
      - {{id: a-run, max: 4, per: run}}
    rules: [{{id: large, ask: true, when: args.amount > 100}}]
"""
TRIED = POLICY.replace("MODE", "shadow")
ENFORCED = POLICY.replace("MODE", "enforce")


def pay(to: str, amount: int = 1) -> str:
    return "paid"


def paying(gate: Gate) -> Any:
    return guard(pay, gate=gate)


def tried(gate: Gate) -> list[list[str]]:
    """What was said in shadow of each decision."""
    return [[each["id"] for each in entry.get("shadow", ())] for entry in entries(gate, "decision")]


def test_a_limit_in_shadow_stops_nothing_and_is_recorded_with_how_it_stood():
    gate = enforcing(TRIED)
    send = paying(gate)
    with saferun.run():
        assert [send("ann") for _ in range(3)] == ["paid"] * 3
    assert verdicts(gate) == ["allow"] * 3
    assert tried(gate) == [[], [], ["a-person"]]
    entry = entries(gate, "decision")[-1]
    assert "reasons" not in entry
    assert entry["shadow"] == [
        {
            "id": "a-person",
            "effect": "deny",
            "source": "limit",
            "message": "at most 2 calls for each value of args.to in 1 hour",
            "error": "LimitExceeded",
            "line": 12,
            "measure": {
                "control": "limit",
                "scope": "args.to ann",
                "max": "2",
                "used": "2",
                "wants": "1",
                "frees_at": entry["shadow"][0]["measure"]["frees_at"],
            },
        }
    ]


def test_a_call_that_it_would_stop_counts_towards_all_others():
    gate = enforcing(TRIED)
    send = paying(gate)
    with saferun.run():
        for _ in range(4):
            send("ann")
        with pytest.raises(LimitExceeded) as raised:
            send("ann")
    assert [each.id for each in raised.value.decision.reasons] == ["a-run"]
    # What it says of a call that is denied anyway stands there too, and not among the reasons.
    assert tried(gate)[-1] == ["a-person"]
    assert "a-person" not in raised.value.for_model


def test_a_call_that_another_limit_stops_is_not_counted_in_shadow():
    gate = enforcing(TRIED)
    send = paying(gate)
    with saferun.run():
        for number in range(4):
            send(f"p-{number}")
        for _ in range(3):
            with pytest.raises(LimitExceeded):
                send("ann")
    with saferun.run():
        send("ann")
        send("ann")
    assert tried(gate) == [[]] * 9


def test_once_it_is_enforced_it_goes_on_from_what_it_has_counted():
    with saferun.run():
        for _ in range(2):
            paying(enforcing(TRIED))("ann")
        with pytest.raises(LimitExceeded):
            paying(enforcing(ENFORCED))("ann")


def test_what_cannot_be_counted_is_said_and_let_through():
    gate = enforcing(
        f"{HEAD}limits: [{{id: each, max: 1, per: user, mode: shadow}}]\ndefault: allow"
    )
    assert paying(gate)("ann") == "paid"
    (reason,) = entries(gate, "decision")[0]["shadow"]
    assert (reason["id"], reason["failed"]) == ("each", True)


def test_it_speaks_of_a_question_and_of_the_call_that_a_person_lets_run():
    gate = enforcing(TRIED, approve)
    send = paying(gate)
    with saferun.run():
        send("ann")
        send("ann")
        assert send("ann", 200) == "paid"
    assert verdicts(gate)[-2:] == ["ask", "allow"]
    assert tried(gate)[-2:] == [["a-person"]] * 2


def test_what_asks_or_defers_in_shadow_does_neither():
    limits = "{id: a, max: 1, per: all, window: 1h, on_limit: ask, mode: shadow}, "
    limits += "{id: d, rate: 1/h, per: all, on_limit: defer, mode: shadow}"
    gate = enforcing(f"{HEAD}limits: [{limits}]\ndefault: allow")
    assert [paying(gate)("ann") for _ in range(2)] == ["paid"] * 2
    shadow = entries(gate, "decision")[-1]["shadow"]
    assert [(each["id"], each["effect"]) for each in shadow] == [("a", "ask"), ("d", "defer")]
    assert entries(gate, "decision")[-1].get("frees_at") is None


def test_a_call_that_it_would_stop_gives_nothing_back_when_it_fails():
    gate = enforcing(TRIED)
    broken = True

    def fails(to: str, amount: int = 1) -> str:
        if broken:
            raise ValueError("no")
        return "paid"

    send = guard(fails, name="pay", gate=gate)
    with saferun.run():
        with pytest.raises(ValueError, match="no"):
            send("ann")
        broken = False
        send("ann")
        send("ann")
        # Two are counted: the first was given back, since its error means that nothing happened.
        broken = True
        with pytest.raises(ValueError, match="no"):
            send("ann")
        broken = False
        # The third was over the limit and took nothing, so its failure frees nothing.
        send("ann")
    assert statuses(gate) == ["error", "ok", "ok", "error", "ok"]
    assert tried(gate) == [[], [], [], ["a-person"], ["a-person"]]


def test_processes_count_together_in_shadow(file: Path, agent: Callable[..., Agent]) -> None:
    crew = [agent(TRIED) for _ in range(2)]
    for number in range(3):
        for one in crew:
            within = {"run_id": f"r-{number}-{crew.index(one)}"}
            one.does("call", tool="pay", args={"to": "ann"}, within=within)
            one.does("flush")
    with Reader(file) as reader:
        found = [read(body) for _, body, _ in reader.rows()]
    said = [entry.fields.get("shadow", ()) for entry in found if entry.kind == "decision"]
    assert [len(each) for each in said] == [0, 0, 1, 1, 1, 1]


CALLS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 20, 59, 61]),
        st.sampled_from(["r1", "r2"]),
        st.sampled_from(["ann", "bo"]),
        st.integers(1, 4),
        st.sampled_from(["ok", "error", "not_started"]),
    ),
    max_size=14,
)
BOUNDS = st.sampled_from(
    [
        "max: 2, per: args.to",
        "max: 2, per: [run, args.to], window: 1min",
        "sum: args.amount, max: 5, per: run, window: 1min",
        "sum: cost_usd, max: 0.25, per: all",
        "rate: 2/min, burst: 2, per: args.to",
    ]
)


@given(BOUNDS, CALLS)
@example("max: 2, per: args.to", [(0, "r1", "ann", 1, "ok")] * 4)
def test_it_speaks_of_just_those_calls_that_it_stops_once_it_is_enforced(bound, calls):
    said = f"""{HEAD}
tools:
  pay:
    effect: write
    args: {{to: {{type: string}}, amount: {{type: integer}}}}
    cost: double(args.amount) * 0.05
    releasable: true
    limits: [{{id: it, {bound}, window: forever, mode: MODE}}]
"""
    if "window: 1min" in bound or "rate" in bound:
        said = said.replace(", window: forever", "")
    stopped, spoken = (_played(said.replace("MODE", mode), calls) for mode in ("enforce", "shadow"))
    assert [verdict != "allow" for verdict, _ in stopped] == [bool(ids) for _, ids in spoken]
    assert {verdict for verdict, _ in spoken} <= {"allow"}


def _played(text: str, calls: list[Any]) -> list[tuple[str, list[str]]]:
    rehearsal, now, found = Rehearsal(loads(text)), 0, []
    for after, run, to, amount, status in calls:
        now += after * SECOND
        about = RunRef(run_id=run, root=run)
        call = Call(tool="pay", args={"to": to, "amount": amount}, run=about)
        said = rehearsal.decide(call, now)
        rehearsal.end(call, said, Outcome(status=status, error="E: no"), now)
        found.append((said.verdict, [each.id for each in said.shadow]))
    return found
