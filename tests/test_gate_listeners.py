"""Whoever listens is told of every decision, and can spoil none."""

import logging

import pytest

import saferun
from guarding import enforcing, observing
from saferun import Decision, Denied, guard, listening

CLOSED = "version: 1\nname: closed\ntools: {other: {effect: read}}\n"


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    monkeypatch.setattr(listening, "_listeners", [])
    told: list[Decision] = []
    saferun.on_decision(told.append)
    return told


def test_every_decision_is_told(heard):
    guard(lambda: 1, name="open", gate=observing())()
    with pytest.raises(Denied):
        guard(lambda: 1, name="shut", gate=enforcing(CLOSED))()
    assert [(decision.tool, decision.verdict) for decision in heard] == [
        ("open", "allow"),
        ("shut", "deny"),
    ]
    assert all(decision.seq is not None for decision in heard)


def test_a_decision_is_told_before_the_tool_runs(heard):
    assert guard(lambda: len(heard), name="tool", gate=observing())() == 1


def test_on_decision_is_a_decorator_that_gives_the_function_back(heard):
    @saferun.on_decision
    def listen(decision: Decision) -> None:
        heard.append(decision)

    assert listen.__name__ == "listen"
    guard(lambda: 1, name="tool", gate=observing())()
    assert len(heard) == 2


def test_a_listener_that_fails_is_logged_and_harms_neither_the_call_nor_the_others(heard, caplog):
    @saferun.on_decision
    def fail(_: Decision) -> None:
        raise RuntimeError("listener")

    saferun.on_decision(heard.append)
    assert guard(lambda: 1, name="tool", gate=observing())() == 1
    assert len(heard) == 2
    assert "a listener of on_decision failed" in caplog.text


def test_a_denial_is_logged_with_the_model_s_sentence_and_an_allowed_call_is_not(caplog):
    caplog.set_level(logging.INFO, "saferun")
    guard(lambda: 1, name="other", gate=enforcing(CLOSED))()
    assert caplog.records == []
    with pytest.raises(Denied) as raised:
        guard(lambda: 1, name="shut", gate=enforcing(CLOSED))()
    assert raised.value.for_model in caplog.text


def test_whoever_stopped_listening_is_told_nothing_more(heard):
    listening.stop_listening(heard.append)
    guard(lambda: 1, name="tool", gate=observing())()
    assert heard == []
