"""Figures: calls, denials, approvals, times, costs and breakers, of few different labels."""

import pytest

from guarding import Yes, enforcing, observing
from saferun import Denied, Gate, guard
from saferun.policy import loads
from saferun.telemetry.account import Answered, Asked, Tripped
from saferun.telemetry.labels import OTHER, Few
from telemetry_policies import ASKS, CLOSED
from tracing import telling


def test_calls_are_counted_by_tool_verdict_and_status() -> None:
    with telling() as told:
        tool = guard(lambda: 1, name="tool", gate=observing())
        tool()
        tool()
        with pytest.raises(Denied):
            guard(lambda: 1, name="shut", gate=enforcing(CLOSED))()
        found = {
            (about["gen_ai.tool.name"], about["saferun.verdict"], about["saferun.status"]): p.value
            for about, p in told.points("saferun.calls")
        }
        [(why, denials)] = told.points("saferun.denials")
    assert found == {("tool", "allow", "ok"): 2, ("shut", "deny", "not_run"): 1}
    assert denials.value == 1
    assert why["saferun.source"] == "default"


def test_the_times_before_and_in_the_tool_are_told() -> None:
    with telling() as told:
        guard(lambda: 1, name="tool", gate=observing())()
        [(_, before)] = told.points("saferun.decision.duration")
        [(about, during)] = told.points("saferun.tool.duration")
    assert before.count == 1
    assert 0 < before.sum < 60
    assert (about["saferun.status"], during.count) == ("ok", 1)


def test_what_people_took_is_no_time_of_deciding() -> None:
    gate = Gate(policy=loads(ASKS), approvals=Yes())
    with telling() as told:
        guard(lambda: 1, name="refund", gate=gate)()
        assert told.points("saferun.decision.duration") == []
        [(about, answers)] = told.points("saferun.approval.duration")
        [(_, waiting)] = told.points("saferun.approvals.waiting")
    assert (about["saferun.approval.state"], answers.count, waiting.value) == ("approved", 1, 0)


def test_turns_are_told_by_model_with_tokens_cost_and_time() -> None:
    gate = observing()
    with telling() as told:
        with gate.run() as run:
            run.model("Hi.", model="m", input_tokens=7, output_tokens=2, cost_usd=0.5, latency=0.25)
        tokens = {
            about["gen_ai.token.type"]: point.sum
            for about, point in told.points("gen_ai.client.token.usage")
        }
        [(about, cost)] = told.points("saferun.cost")
        [(_, took)] = told.points("gen_ai.client.operation.duration")
    assert tokens == {"input": 7, "output": 2}
    assert (about["gen_ai.request.model"], cost.value, took.sum) == ("m", 0.5, 0.25)


def test_requests_wait_until_they_have_an_end() -> None:
    with telling() as told:
        meters = told.telemetry._meters
        meters.tell(Asked(id="a-1", at=0))
        meters.tell(Asked(id="a-2", at=0))
        meters.tell(Answered(id="a-1", state="expired", waited=5_000_000))
        [(_, waiting)] = told.points("saferun.approvals.waiting")
    assert waiting.value == 1


def test_a_breaker_is_open_until_it_closes() -> None:
    with telling() as told:
        meters = told.telemetry._meters
        meters.tell(Tripped(tool="a", tenant=None, open=True))
        meters.tell(Tripped(tool="b", tenant="acme", open=True))
        meters.tell(Tripped(tool="a", tenant=None, open=False))
        [(about, _)] = told.points("saferun.breakers.open")
    assert about == {"gen_ai.tool.name": "b", "saferun.tenant": "acme"}


def test_a_breaker_that_a_failing_tool_opens_is_told() -> None:
    gate = enforcing(
        "version: 1\nname: p\ndefault: allow\nloops: off\n"
        "tools: {bad: {effect: read, breaker: {failure_rate: 0.5, min_calls: 2, open_for: 30s}}}\n"
    )

    def bad() -> None:
        raise OSError

    with telling() as told:
        for _ in range(2):
            with pytest.raises(OSError):
                guard(bad, name="bad", gate=gate)()
        [(about, _)] = told.points("saferun.breakers.open")
    assert about["gen_ai.tool.name"] == "bad"


def test_labels_are_few_and_short_whatever_comes() -> None:
    few = Few(most=2)
    assert [few("a"), few("b" * 500), few("c"), few("a")] == ["a", "b" * 120, OTHER, "a"]
    assert few(None) == ""
