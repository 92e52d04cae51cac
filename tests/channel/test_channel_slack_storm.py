"""Many questions at once: Slack takes a message a second, and nobody's question is lost."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from saferun import Call, Decision
from saferun.call import RunRef
from slacking import buttons, text_of
from slackworld import DANA, LEE, World, world


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch) as found:
        yield found


def asking(number: int) -> Call:
    return Call(
        tool="refund",
        args={"order_id": f"A-{number}", "amount": 25_000},
        run=RunRef(run_id=f"r-{number}", root=f"r-{number}", agent="support"),
        call_id=f"call-{number}",
    )


def left_at_once(at: World, many: int) -> list[Decision]:
    # Whoever leaves one after the other waits for Slack each time, and is no storm.
    with ThreadPoolExecutor(many) as agents:
        return list(agents.map(lambda n: at.gate.check(asking(n), leaves=True), range(many)))


def test_a_storm_becomes_one_message_with_a_link_and_every_request_is_in_slack(at: World) -> None:
    many = 60
    decisions = left_at_once(at, many)
    requests = {each.approval_id for each in decisions}
    assert len(requests) == many
    message = at.slack.card(f"{many} requests")
    assert f"<@{DANA}>" in text_of(message)
    assert buttons(message) == ["open"]
    assert message["blocks"][-1]["elements"][0]["url"] == "https://saferun.test"
    at.slack.until(lambda: shown(at) == requests)
    # Slack said no to none of them: the pace was kept.
    assert at.slack.refused == []
    assert len(at.slack.messages) < many / 2
    for request in requests:
        done = at.gate._desk.vote(request, by="dana", approved=True, channel="test", revision=0)
        assert done.counted
    at.slack.card("have been answered, or have ended")


def shown(at: World) -> set[str]:
    """The requests that the store says have been brought to people, by a card or all together."""
    import sqlite3

    with sqlite3.connect(at.gate.store.path) as known:
        rows = known.execute("SELECT approval FROM delivery WHERE shown >= 0").fetchall()
    return {row[0] for row in rows}


def test_after_a_storm_a_request_that_moves_has_a_card_of_its_own(at: World) -> None:
    decisions = left_at_once(at, 20)
    at.slack.card("20 requests")
    requests = {each.approval_id for each in decisions}
    at.slack.until(lambda: shown(at) == requests)
    carded = {
        each["value"].split(".")[0]
        for card in list(at.slack.messages.values())
        for block in card["blocks"]
        if block["type"] == "actions"
        for each in block["elements"]
        if "value" in each
    }
    left = sorted(requests - carded)
    assert left
    done = at.gate._desk.edit(
        left[0], by="lee", args={"amount": 22_000}, channel="test", revision=0
    )
    assert done.counted
    card = at.slack.card("22000")
    at.slack.click(card, "approve", DANA)
    at.slack.until(lambda: at.gate._desk.stands(left[0]).state == "approved")


def test_of_fifty_clicks_at_once_one_lets_it_run_once(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    ready = threading.Barrier(10)

    def click(number: int) -> None:
        ready.wait()
        for _ in range(5):
            at.slack.click(card, "approve", (DANA, LEE)[number % 2])

    with ThreadPoolExecutor(10) as hands:
        list(hands.map(click, range(10)))
    assert call.ended().result == "refunded"
    assert len(at.ran) == 1
    assert at.events().count("approved") == 1
    at.slack.card("Executed: succeeded")
