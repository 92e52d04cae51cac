"""Questions in Slack: what people see there, what they do, and what comes of it."""

from collections.abc import Iterator

import pytest

from saferun import Rejected
from slacking import buttons, pressed, text_of
from slackworld import DANA, LEE, MARIA, STRANGER, World, world


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch) as found:
        yield found


def test_a_card_says_what_the_agent_wants_for_whom_and_why(at: World) -> None:
    call = at.call(note="customer was charged twice")
    card = at.slack.card()
    text = text_of(card)
    for part in (
        "refund asks for approval",
        "support for maria",
        "I want my money back",
        "A-17",
        "25000",
        "customer was charged twice",
        "Refunds above $200 need finance. (big, line",
        "changes something",
        "1 of finance",
        "money ",
    ):
        assert part in text
    assert f"<@{DANA}>" in text
    # She is the user of the run, so it is not for her to say.
    assert f"<@{MARIA}>" not in text
    assert buttons(card) == ["approve", "edit", "reject", "grant", "open"]
    at.slack.click(card, "reject", DANA)
    at.slack.submit(at.slack.view(), DANA, {"Reason": "no"})
    call.ended()


def test_what_is_approved_runs_once_and_the_card_says_how_it_ended(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "approve", DANA)
    assert call.ended().result == "refunded"
    assert at.ran == [{"order_id": "A-17", "amount": 25_000, "note": ""}]
    card = at.slack.card("Executed: succeeded")
    assert "Approved by dana" in text_of(card)
    assert buttons(card) == ["open"]
    assert at.events() == ["requested", "approved"]


def test_what_is_rejected_never_runs_and_the_card_says_why(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "reject", LEE)
    assert at.slack.submit(at.slack.view(), LEE, {"Reason": "wrong <!channel> order"}) is None
    assert isinstance(call.ended().error, Rejected)
    assert at.ran == []
    assert "Rejected by lee: wrong <!channel> order" in text_of(at.slack.card("Rejected by lee"))
    assert at.entries()[-1]["reason"] == "wrong <!channel> order"


def test_what_is_edited_is_what_runs_and_earlier_votes_are_void(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(monkeypatch, approvals=2, more='[people.kim]\nslack = "T0TEAM/U0KIM"\n') as at:
        call = at.call()
        first = at.slack.card()
        at.slack.click(first, "approve", DANA)
        voted = at.slack.card("Votes so far")
        assert "dana: yes (slack)" in text_of(voted)
        at.slack.click(voted, "edit", LEE)
        assert at.slack.submit(at.slack.view(), LEE, {"amount": "21000"}) is None
        edited = at.slack.card("21000")
        assert "Votes so far" not in text_of(edited)
        assert "Edited" in text_of(edited)
        # Whoever saw it before is told below, where a changed card notifies nobody.
        at.slack.until(lambda: any("arguments were changed" in each for each in at.slack.told()))
        at.slack.click(edited, "approve", DANA)
        at.slack.click(edited, "approve", LEE)
        assert call.ended().result == "refunded"
        assert [each["amount"] for each in at.ran] == [21_000]
        at.slack.card("Executed: succeeded")


def test_an_edit_that_policy_denies_is_refused_in_the_form_and_stays_pending(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "edit", DANA)
    form = at.slack.view()
    said = at.slack.submit(form, DANA, {"amount": "70000"})
    assert said["response_action"] == "errors"
    assert "Nobody refunds more than $600." in str(said["errors"])
    assert at.slack.submit(form, DANA, {"amount": "21000"}) is None
    edited = at.slack.card("21000")
    at.slack.click(edited, "approve", LEE)
    assert call.ended().result == "refunded"
    assert at.events() == ["requested", "refused", "edited", "approved"]


def test_an_edit_of_nothing_is_told_in_the_form(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "edit", DANA)
    said = at.slack.submit(at.slack.view(), DANA)
    assert "nothing is changed" in str(said["errors"])
    at.slack.click(at.slack.card(), "approve", DANA)
    call.ended()


@pytest.mark.parametrize(
    ("user", "team", "why", "told"),
    [
        (STRANGER, "T0TEAM", "is nobody known here", "not among the people"),
        (DANA, "T0OTHER", "is nobody known here", "not among the people"),
        (MARIA, "T0TEAM", "for whom it would run", "somebody else has to answer"),
    ],
)
def test_whoever_may_not_answer_is_refused_in_a_whisper_and_recorded(
    at: World, user: str, team: str, why: str, told: str
) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "approve", user, team=team)
    at.slack.until(lambda: at.slack.whispers)
    assert at.slack.whispers[0]["user"] == user
    assert told in text_of(at.slack.whispers[0])
    assert why in at.why()[0]
    assert at.ran == []
    at.slack.click(card, "approve", DANA)
    assert call.ended().result == "refunded"


def test_one_person_counts_once_where_it_takes_two(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch, approvals=2) as at:
        call = at.call()
        card = at.slack.card()
        at.slack.click(card, "approve", DANA)
        at.slack.click(card, "approve", DANA)
        assert at.ran == []
        at.slack.click(card, "approve", LEE)
        assert call.ended().result == "refunded"
        assert len(at.ran) == 1


def test_a_yes_to_what_has_been_edited_since_does_not_count(at: World) -> None:
    call = at.call()
    stale = at.slack.card()
    at.slack.click(stale, "edit", LEE)
    at.slack.submit(at.slack.view(), LEE, {"amount": "21000"})
    at.slack.click(stale, "approve", DANA)
    at.slack.until(lambda: at.slack.whispers)
    assert "it was changed since it was shown" in text_of(at.slack.whispers[0])
    assert at.ran == []
    at.slack.click(at.slack.card("21000"), "approve", DANA)
    call.ended()
    assert [each["amount"] for each in at.ran] == [21_000]


def test_a_form_about_what_has_been_edited_since_is_refused_in_it(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "edit", LEE)
    at.slack.click(card, "edit", DANA)
    at.slack.view(1)
    at.slack.submit(at.slack.view(0), LEE, {"amount": "21000"})
    said = at.slack.submit(at.slack.view(1), DANA, {"amount": "22000"})
    assert "it was changed since it was shown" in str(said["errors"])
    at.slack.click(at.slack.card("21000"), "approve", DANA)
    call.ended()
    assert [each["amount"] for each in at.ran] == [21_000]


def test_a_button_with_another_digest_is_refused_and_recorded(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    (value,) = {each["value"] for each in pressed(card) if each["action_id"] == "approve"}
    request, revision, _ = value.split(".")
    at.slack.send(at.slack.clicked("approve", f"{request}.{revision}.{'0' * 16}", DANA))
    at.slack.until(lambda: at.slack.whispers)
    assert "something else than is asked" in at.why()[0]
    assert at.ran == []
    at.slack.click(card, "approve", DANA)
    call.ended()


def test_a_yes_after_the_deadline_is_refused_and_the_card_says_it_has_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    rules:
      - {id: big, ask: [finance], expires: 2s, args: {amount: {minimum: 20001}}}
"""
    with world(monkeypatch, text=text) as at:
        call = at.call()
        card = at.slack.card()
        assert "asks for approval" in text_of(card)
        call.ended()
        at.slack.card("has expired")
        at.slack.click(card, "approve", DANA)
        at.slack.until(lambda: at.slack.whispers)
        assert "expired" in text_of(at.slack.whispers[0])
        assert at.ran == []


def test_further_people_are_called_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    rules:
      - id: big
        ask: [desk]
        escalate: [{after: 1s, to: [lead]}]
        args: {amount: {minimum: 20001}}
"""
    with world(monkeypatch, text=text) as at:
        call = at.call()
        assert f"<@{LEE}>" not in text_of(at.slack.card())
        below = at.slack.until(
            lambda: [each for each in at.slack.messages.values() if "thread_ts" in each]
        )
        assert "you are asked too" in text_of(below[0])
        assert f"<@{LEE}>" in text_of(below[0])
        assert f"<@{DANA}>" not in text_of(below[0])
        card = at.slack.card(f"<@{LEE}>")
        at.slack.click(card, "approve", LEE)
        assert call.ended().result == "refunded"


def test_a_withdrawn_question_says_so_and_can_be_answered_no_more(at: World) -> None:
    at.call()
    card = at.slack.card()
    (request,) = [each["id"] for each in at.entries()]
    from saferun.ledger import ApprovalEntry
    from saferun.store import Answer

    gone = ApprovalEntry(id=request, event="cancelled")
    at.gate.store.commit(Answer(request, "cancelled", gone))
    at.gate.store.feed.poke()
    withdrawn = at.slack.card("was withdrawn")
    assert buttons(withdrawn) == ["open"]
    at.slack.click(card, "approve", DANA)
    at.slack.until(lambda: at.slack.whispers)
    assert at.ran == []


def test_a_deleted_card_is_posted_anew_while_its_question_stands(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    del at.slack.messages[card["ts"]]
    at.slack.click(card, "edit", DANA)
    at.slack.submit(at.slack.view(), DANA, {"amount": "21000"})
    again = at.slack.card("21000")
    at.slack.click(again, "approve", LEE)
    assert call.ended().result == "refunded"


def test_while_slack_is_down_nothing_runs_and_the_card_comes_when_it_is_back(at: World) -> None:
    at.slack.down = True
    call = at.call()
    at.slack.until(lambda: at.slack.missed)
    at.slack.down = False
    at.slack.click(at.slack.card(), "approve", DANA)
    assert call.ended().result == "refunded"
    assert len(at.ran) == 1
