"""Backtests: recorded calls decided once more, in their order, with the controls along."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from guarding import Yes
from saferun import Denied, Gate, guard
from saferun.call import RunRef
from saferun.ledger import read
from saferun.policy import Policy, loads
from saferun.replay import (
    Backtest,
    Given,
    Redecided,
    Said,
    Step,
    Tally,
    TracedCall,
    TracedRun,
)
from saferun.store import Reader


def policy(rules: str = "[]", limits: str = "[]", extra: str = "") -> Policy:
    return loads(f"""
version: 1
name: candidate
inputs: {{user.tier: string}}
tools:
  refund:
    effect: write
    args: {{amount: {{type: integer, maximum: 1000}}}}
    limits: {limits}
    rules: {rules}
{extra}""")


OPEN = policy()
BIG = policy("[{id: big, ask: [finance], args: {amount: {minimum: 101}}}]")
NO_BIG = policy("[{id: no-big, deny: true, args: {amount: {minimum: 101}}}]")
TWICE = policy(limits="[{id: twice, max: 2, per: run}]")
TIER = policy("""[{id: tier, ask: [finance], when: 'user.tier != "gold"'}]""")


def call(index: int, amount: Any = 5, **about: Any) -> TracedCall:
    args = {"amount": amount}
    fields = {"call_id": f"c{index}", "tool": "refund", "args": args, "result": "done", **about}
    return TracedCall(index=index, **fields)


def run(*steps: Step, **about: Any) -> TracedRun:
    fields = {"agent": None, "user": {}, "tenant": None, "prompt": None, "context": {}, **about}
    return TracedRun(**{"line": 1, "run_id": "r", "steps": steps, **fields})


def told(candidate: Policy, *runs: TracedRun, **about: Any) -> list[Redecided]:
    return list(Backtest(candidate, **about).trace(runs))


def verdicts(found: Sequence[Redecided]) -> list[str]:
    return [each.verdict for each in found]


def test_a_traced_call_has_a_verdict_and_nothing_to_compare_with() -> None:
    [first, second] = told(NO_BIG, run(call(0), call(1, 500)))
    assert (first.verdict, first.rules, first.recorded) == ("allow", (), None)
    assert (second.verdict, second.rules, second.newly) == ("deny", ("no-big",), None)


def test_a_call_that_is_no_json_object_is_decided_as_a_call_with_a_problem() -> None:
    [found] = told(OPEN, run(call(0, args={}, problems=("the arguments are no JSON object",))))
    assert (found.verdict, found.rules) == ("deny", ("refund.args",))


def test_a_limit_stops_the_calls_past_it_and_is_named() -> None:
    found = told(TWICE, run(*(call(index) for index in range(4))))
    assert verdicts(found) == ["allow", "allow", "deny", "deny"]
    assert [each.control for each in found] == [None, None, "twice", "twice"]


def test_what_the_candidate_denies_counts_towards_nothing() -> None:
    found = told(TWICE, run(call(0, 5_000), call(1), call(2), call(3)))
    assert verdicts(found) == ["deny", "allow", "allow", "deny"]


def test_every_line_is_a_run_of_its_own_even_where_ids_repeat() -> None:
    found = told(TWICE, run(call(0), call(1)), run(call(0), call(1), line=2))
    assert verdicts(found) == ["allow"] * 4


def test_where_the_candidate_asks_about_a_call_that_ran_somebody_is_taken_to_have_agreed() -> None:
    asking = policy("[{id: big, ask: [finance]}]", "[{id: twice, max: 2, per: run}]")
    ran = told(asking, run(*(call(index) for index in range(3))))
    assert [each.control for each in ran] == [None, None, "twice"]
    left = told(asking, run(*(call(index, result=msgspec.UNSET) for index in range(3))))
    assert verdicts(left) == ["ask", "ask", "ask"]


def test_an_input_that_is_missing_makes_the_verdict_unknown_and_is_named() -> None:
    [found] = told(TIER, run(call(0)))
    assert (found.verdict, found.missing) == ("unknown", ("user.tier",))


def test_what_is_given_stands_in_for_what_runs_do_not_say() -> None:
    silver = Given(user={"tier": "silver"})
    runs = (run(call(0)), run(call(0), user={"id": "mia", "tier": "gold"}, line=2))
    assert verdicts(told(TIER, *runs, given=silver)) == ["ask", "allow"]


def test_only_wanted_runs_are_decided() -> None:
    def of_airline(about: RunRef | None) -> bool:
        return about is not None and about.agent == "airline"

    runs = (run(call(0), agent="airline"), run(call(0), agent="bank", run_id="b"))
    assert [each.run_id for each in told(OPEN, *runs, wanted=of_airline)] == ["r"]


def test_the_cost_of_model_turns_counts_for_conditions() -> None:
    spent = policy("[{id: spent, deny: true, when: run.cost_usd > 1.0}]")
    turn = Said(by="model", content="…", cost_usd=0.6)
    assert verdicts(told(spent, run(turn, call(0), turn, call(1)))) == ["allow", "deny"]


def test_calls_of_a_trace_are_a_second_apart() -> None:
    late = policy("[{id: late, deny: true, when: run.seconds >= 2.0}]")
    assert verdicts(told(late, run(call(0), call(1), call(2)))) == ["allow", "allow", "deny"]


@given(st.lists(st.integers(-10, 1_500), max_size=20), st.integers(1, 6))
def test_no_candidate_lets_through_more_than_its_limit(amounts: list[int], most: int) -> None:
    candidate = policy(limits=f"[{{id: some, max: {most}, per: run}}]")
    found = told(candidate, run(*(call(index, each) for index, each in enumerate(amounts))))
    allowed = [each for each, amount in zip(found, amounts, strict=True) if amount <= 1_000]
    assert verdicts(allowed) == ["allow"] * len(allowed[:most]) + ["deny"] * len(allowed[most:])


def test_labels_tell_caught_from_missed_and_from_false_alarms() -> None:
    tally = Tally()
    steps = (call(0, 500), call(1, 5), call(2, 500), call(3, 5))
    for each in told(NO_BIG, run(*steps, malicious=frozenset({"c0", "c1"}), attacked=True)):
        tally.add(each)
    labels = tally.summary(NO_BIG.ref).labels
    assert labels is not None
    assert (labels.malicious, labels.caught, labels.missed) == (2, 1, 1)
    assert (labels.harmless, labels.false_alarms) == (2, 1)
    assert (labels.attacked, labels.stopped, labels.peaceful) == (1, 1, 0)


def test_runs_with_a_missed_call_are_the_first_to_look_at() -> None:
    tally = Tally()
    runs = (
        run(*(call(index, 500) for index in range(9)), run_id="many denied"),
        run(call(0, 5), run_id="missed", malicious=frozenset({"c0"}), line=2),
        run(call(0, 5), run_id="quiet", line=3),
    )
    for each in told(NO_BIG, *runs):
        tally.add(each)
    assert [each.run_id for each in tally.summary(NO_BIG.ref).look] == ["missed", "many denied"]


def lived(under: Policy, *amounts: int, note: str | None = None) -> Path:
    """The store of a run that called `refund` with these amounts."""
    gate = Gate(policy=under, approvals=Yes("desk", "fine"))

    def refund(amount: int) -> str:
        return "paid"

    def refund_noted(amount: int, note: str) -> str:
        return "paid"

    safe = guard(refund, gate=gate)
    noted = guard(refund_noted, gate=gate, name="refund")
    with gate.run(run_id="r-1", agent="support", user="maria"):
        for amount in amounts:
            with contextlib.suppress(Denied):
                safe(amount) if note is None else noted(amount, note)
    gate.close()
    return gate.store.path


def history(candidate: Policy, file: Path, since: int = 0, **about: Any) -> list[Redecided]:
    with Reader(file) as reader:
        entries = (read(body) for _, body, _ in reader.rows())
        return list(Backtest(candidate, **about).history(entries, reader.blob, since))


def test_history_is_compared_with_what_was_recorded() -> None:
    file = lived(BIG, 50, 500, 5_000)
    found = history(NO_BIG, file)
    assert [each.index for each in found] == [0, 1, 2]
    assert [each.recorded for each in found] == ["allow", "ask", "deny"]
    assert [each.newly for each in found] == [None, "deny", None]


def test_a_call_that_was_asked_about_is_one_call() -> None:
    assert verdicts(history(BIG, lived(BIG, 500))) == ["ask"]


def test_a_call_that_was_approved_counts_once_it_starts() -> None:
    asking = policy(
        "[{id: big, ask: [finance], args: {amount: {minimum: 101}}}]",
        "[{id: twice, max: 2, per: run}]",
    )
    found = history(asking, lived(BIG, 500, 500, 500))
    assert verdicts(found) == ["ask", "ask", "deny"]
    assert found[2].control == "twice"


def test_what_a_rule_used_to_deny_is_newly_allowed_under_its_name() -> None:
    tally = Tally()
    for each in history(OPEN, lived(NO_BIG, 500, 50)):
        tally.add(each)
    summary = tally.summary(OPEN.ref)
    assert (summary.recorded, summary.newly["allowed"]) == (2, 1)
    assert [(rule.id, rule.newly_allowed) for rule in summary.rules] == [("no-big", 1)]


def test_calls_before_the_time_asked_for_count_towards_nothing() -> None:
    file = lived(OPEN, 5, 5, 5)
    with Reader(file) as reader:
        entries = [read(body) for _, body, _ in reader.rows()]
    second = [entry.time for entry in entries if entry.kind == "decision"][1]
    found = history(TWICE, file, since=second)
    assert [(each.index, each.verdict) for each in found] == [(1, "allow"), (2, "allow")]


def test_arguments_with_a_secret_in_them_cannot_be_decided() -> None:
    noted = loads("""
version: 1
name: noted
tools:
  refund: {effect: write, args: {amount: {type: integer}, note: {type: string}}}
""")
    [found] = history(noted, lived(noted, 5, note="password: hunter2hunter2"))
    assert (found.verdict, found.missing, found.recorded) == ("unknown", ("args",), "allow")


def test_arguments_that_lie_beside_the_ledger_are_found_there() -> None:
    noted = loads("""
version: 1
name: noted
tools:
  refund: {effect: write, args: {amount: {type: integer}, note: {type: string}}}
""")
    file = lived(noted, 5, note="x" * 40_000)
    assert verdicts(history(noted, file)) == ["allow"]
    with Reader(file) as reader:
        entries = (read(body) for _, body, _ in reader.rows())
        [erased] = Backtest(noted).history(entries, lambda _: None)
    assert (erased.verdict, erased.missing) == ("unknown", ("args",))


def naming(prompt: Any, *steps: Step, **about: Any) -> list[Redecided]:
    rule = "[{id: r, deny: true, when: '!run.said.contains(string(args.amount))'}]"
    return told(policy(rule), run(*steps, prompt=prompt, **about))


def test_what_people_say_in_a_trace_is_known_from_then_on() -> None:
    user, model = (Said(by=by, content="Pay 20, too.") for by in ("user", "model"))
    found = naming("Pay 10.", call(0, 10), model, call(1, 20), user, call(2, 20))
    assert verdicts(found) == ["allow", "deny", "allow"]


def test_where_a_trace_does_not_say_it_whole_nobody_can_tell() -> None:
    for prompt in (None, {"a": 1}, "10" + "x" * 9_000):
        [found] = naming(prompt, call(0, 10))
        assert (found.verdict, found.missing) == ("unknown", ("run.said",))


def test_what_an_agent_tells_the_run_below_is_said_by_nobody() -> None:
    user = Said(by="user", content="Pay 10.")
    [found] = naming("Pay 10.", user, call(0, 10), parent="above")
    assert (found.verdict, found.missing) == ("unknown", ("run.said",))
