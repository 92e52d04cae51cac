"""In Slack: a yes for further calls, one person's for all others, and who hears of that."""

from collections.abc import Iterator

import pytest

from saferun.channel import courier as couriers
from slacking import buttons, pressed, text_of
from slackworld import DANA, LEE, MARIA, POLICY, World, world

KIM = '[people.kim]\nslack = "T0TEAM/U0KIM"\nrole = "admin"\n'


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch) as found:
        yield found


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Where it takes two, and kim may break the glass."""
    monkeypatch.setattr(couriers, "AGAIN", (0.05,))
    with world(monkeypatch, approvals=2, more=KIM, glass="kim") as found:
        yield found


def alarms(at: World) -> list[str]:
    return [each for each in at.slack.told() if "broke the glass" in each.split("\n")[0]]


def chosen(at: World, **typed: str) -> object:
    form = at.slack.view()
    return at.slack.submit(form, DANA, {"For how long": "In any run, for 30 minutes", **typed})


# Grants.


def test_a_yes_for_further_calls_lets_those_run_without_a_question(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "grant", DANA)
    assert chosen(at, **{"“Like it” means equal in": "order_id"}) is None
    assert call.ended().result == "refunded"
    assert at.call(amount=26_000).ended().result == "refunded"
    assert at.events().count("requested") == 1
    assert "granted" in at.events()
    other = at.call(order_id="A-18")
    at.slack.click(at.slack.card("A-18"), "reject", DANA)
    at.slack.submit(at.slack.view(1), DANA, {"Reason": "no"})
    assert other.ended().error is not None


def test_with_no_argument_chosen_a_grant_is_for_the_very_same_call(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "grant", DANA)
    assert (
        at.slack.submit(at.slack.view(), DANA, {"For how long": "In this run, for an hour at most"})
        is None
    )
    call.ended()
    (grant,) = [each for each in at.entries() if each["event"] == "granted"]
    assert grant["by"] == "dana"


def test_a_grant_by_somebody_who_may_not_answer_is_refused_in_the_form(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "grant", MARIA)
    form = at.slack.view()
    said = at.slack.submit(form, MARIA, {"For how long": "In any run, for 10 minutes"})
    assert "maria is the one for whom it would run" in str(said["errors"])
    assert "granted" not in at.events()
    at.slack.click(card, "approve", DANA)
    call.ended()


@pytest.mark.parametrize(("field", "value"), [("span", "500"), ("span", "once"), ("same", "77")])
def test_a_span_or_an_argument_that_was_not_offered_grants_nothing(
    at: World, field: str, value: str
) -> None:
    call = at.call()
    card = at.slack.card()
    at.slack.click(card, "grant", DANA)
    form = at.slack.view()
    for block in form["blocks"]:
        if block.get("block_id") == field:
            block["element"]["options"][0]["value"] = value
    name = "“Like it” means equal in"
    first = form["blocks"][2]["element"]["options"][0]["text"]["text"]
    span = form["blocks"][1]["element"]["options"][0]["text"]["text"]
    said = at.slack.submit(form, DANA, {"For how long": span, name: first})
    assert "Choose for how long" in str(said["errors"])
    assert at.events() == ["requested"]
    at.slack.click(card, "approve", DANA)
    call.ended()


def test_there_is_no_grant_for_what_takes_several(two: World) -> None:
    call = two.call()
    card = two.slack.card()
    assert buttons(card) == ["approve", "edit", "reject", "glass", "open"]
    two.slack.click(card, "reject", DANA)
    two.slack.submit(two.slack.view(), DANA, {"Reason": "no"})
    call.ended()


def test_there_is_no_grant_for_what_cannot_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch, text=POLICY.replace("effect: write", "effect: destructive")) as at:
        call = at.call()
        card = at.slack.card()
        assert buttons(card) == ["approve", "edit", "reject", "open"]
        # Nor by a click that there was no button for.
        at.slack.send(at.slack.clicked("grant", pressed(card)[0]["value"], DANA))
        form = at.slack.view()
        said = at.slack.submit(form, DANA, {"For how long": "In any run, for 10 minutes"})
        assert "asked about each time" in str(said["errors"])
        at.slack.click(card, "approve", DANA)
        call.ended()


# The glass.


def test_one_person_breaks_the_glass_and_all_others_hear_of_it_once(two: World) -> None:
    call = two.call()
    two.slack.click(two.slack.card(), "glass", "U0KIM")
    form = two.slack.view()
    assert (
        two.slack.submit(form, "U0KIM", {"Why can it not wait?": "the <!here> shop burns"}) is None
    )
    assert call.ended().result == "refunded"
    alarm = two.slack.card("🚨 kim broke the glass: refund")
    text = text_of(alarm)
    assert "the <!here> shop burns" in text
    assert "2 of finance" in text
    assert "25000" in text
    assert f"For <@{DANA}> <@{LEE}>" in text
    # She is the user of the run: it was not hers to answer.
    assert MARIA not in text
    assert buttons(alarm) == ["open"]
    two.slack.card("Executed: succeeded")
    assert len(alarms(two)) == 1


def test_an_alarm_that_slack_did_not_take_is_told_later_and_once(two: World) -> None:
    call = two.call()
    card = two.slack.card()
    two.slack.click(card, "glass", "U0KIM")
    form = two.slack.view()
    two.slack.down = True
    two.slack.submit(form, "U0KIM", {"Why can it not wait?": "now"})
    call.ended()
    two.slack.until(lambda: two.slack.missed >= 3)
    two.slack.down = False
    two.slack.card("broke the glass")
    two.slack.card("Executed: succeeded")
    assert len(alarms(two)) == 1


def test_a_glass_that_was_broken_before_there_was_a_card_alarms_all_the_same(two: World) -> None:
    two.slack.down = True
    call = two.call()
    two.slack.until(lambda: two.slack.missed)
    (request,) = two.gate._desk.open()
    done = two.gate._desk.vote(
        request.id, by="kim", approved=True, channel="test", revision=0, reason="now", glass=True
    )
    assert done.counted
    call.ended()
    two.slack.down = False
    two.slack.card("broke the glass")
    assert len(two.slack.told()) == 1


def test_who_may_not_break_the_glass_is_refused_in_the_form(two: World) -> None:
    call = two.call()
    card = two.slack.card()
    two.slack.click(card, "glass", DANA)
    said = two.slack.submit(two.slack.view(), DANA, {"Why can it not wait?": "I want it"})
    assert "dana may not break the glass" in str(said["errors"])
    assert "dana may not break the glass" in two.why()
    two.slack.click(card, "reject", DANA)
    two.slack.submit(two.slack.view(1), DANA, {"Reason": "no"})
    call.ended()


def test_where_nobody_may_break_it_there_is_no_such_button(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    assert "glass" not in buttons(card)
    at.slack.click(card, "approve", DANA)
    call.ended()
