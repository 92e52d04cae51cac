"""Socket Mode: the same answers, over a connection that is opened from here."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from saferun import Call as ToolCall
from saferun import Rejected
from saferun.call import RunRef
from slacking import pressed, text_of
from slackworld import DANA, LEE, STRANGER, World, world


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch, socket=True) as found:
        yield found


def test_a_yes_comes_in_without_any_port_being_open(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "approve", DANA)
    assert call.ended().result == "refunded"
    at.slack.card("Executed: succeeded")
    assert at.channel.receive("/", {}, b"").status == 503


def test_a_form_is_opened_answered_and_refused_over_the_connection(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "edit", LEE)
    form = at.slack.view()
    said = at.slack.submit(form, LEE, {"amount": "70000"})
    assert "Nobody refunds more than $600." in str(said["errors"])
    assert at.slack.submit(form, LEE, {"amount": "30000"}) is None
    at.slack.click(at.slack.card("30000"), "reject", DANA)
    assert at.slack.submit(at.slack.view(1), DANA, {"Reason": "still too much"}) is None
    assert isinstance(call.ended().error, Rejected)
    assert at.ran == []


def test_whoever_is_not_listed_is_refused_over_the_connection_too(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "approve", STRANGER)
    at.slack.until(lambda: at.slack.whispers)
    assert "not among the people" in text_of(at.slack.whispers[0])
    assert at.ran == []
    at.slack.click(card, "approve", DANA)
    call.ended()


def test_a_message_that_slack_sends_twice_counts_once(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    socket = at.slack.socket()
    value = next(each["value"] for each in pressed(card) if each["action_id"] == "approve")
    payload = at.slack.clicked("approve", value, DANA)
    for _ in range(2):
        at.slack.deliver(socket, "the-same-envelope", payload)
    at.slack.acknowledged("the-same-envelope")
    assert call.ended().result == "refunded"
    at.slack.card("Executed: succeeded")
    assert at.events() == ["requested", "approved"]


@pytest.mark.parametrize(
    "payload",
    ["x", {"no": "type"}, {"type": 7}, {"type": "block_actions", "user": {"id": "\ud800"}}],
)
def test_a_malformed_message_is_recorded_and_the_connection_goes_on(
    at: World, payload: object
) -> None:
    call = at.call()
    card = at.slack.card()
    socket = at.slack.socket()
    at.slack.deliver(socket, "broken", payload)
    at.slack.until(lambda: at.why())
    assert "none of what Slack sends" in at.why()[0]
    at.slack.click(card, "approve", DANA)
    assert call.ended().result == "refunded"


def test_where_slack_ends_the_connection_another_is_opened(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    first = at.slack.socket()
    first.send({"type": "disconnect", "reason": "refresh_requested"})
    at.slack.until(lambda: at.slack.connected and at.slack.connected[-1] is not first)
    at.slack.click(card, "approve", DANA)
    assert call.ended().result == "refunded"


AGENT = """
import os, sys
from pathlib import Path
from saferun import Call, Gate, config
from saferun.call import RunRef
gate = Gate(policy=Path("policies/money.yaml"), settings=config.load())
run = RunRef(run_id="r-1", root="r-1", agent="support")
args = {"order_id": "A-17", "amount": 25_000}
decision = gate.check(Call(tool="refund", args=args, run=run, call_id="call-1"))
print("starts" if decision.starts else "denied")
"""


def test_an_agent_hears_the_answer_in_its_own_process_and_then_ends(at: World) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE)
    at.slack.click(at.slack.card(), "approve", DANA)
    said, _ = agent.communicate(timeout=60)
    assert (said, agent.returncode) == (b"starts\n", 0)


def test_a_question_whose_agent_was_killed_is_answered_to_the_agent_that_asks_again(
    at: World,
) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT])
    card = at.slack.card()
    at.slack.until(lambda: at.slack.connected)
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    at.slack.until(lambda: not at.slack.connected)
    call = ToolCall(
        tool="refund",
        args={"order_id": "A-17", "amount": 25_000},
        run=RunRef(run_id="r-1", root="r-1", agent="support"),
        call_id="call-1",
    )
    from slackworld import Call

    again = Call(lambda: at.gate.check(call))
    at.slack.click(card, "approve", DANA)
    assert again.ended().result.starts
    assert at.events() == ["requested", "approved"]
    assert len([each for each in at.slack.messages.values() if "thread_ts" not in each]) == 1
