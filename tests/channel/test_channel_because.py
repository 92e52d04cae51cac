"""Every channel tells the conditions for which policy asks, with what they saw, made inert."""

import json

from saferun.approval import Because, Question, Request
from saferun.call import Demand, Reason
from saferun.channel.email.card import Room
from saferun.channel.email.card import card as letter
from saferun.channel.slack.card import card as slack_card
from saferun.channel.webhook.payload import payload

REQUEST = Request(
    state="pending",
    deadline=1_000_000_000,
    question=Question(
        id="a-1",
        tool="refund",
        args={"amount": 25_000},
        reasons=(
            Reason(id="big", effect="ask", source="rule", message="Big ones need finance."),
            Reason(id="odd", effect="ask", source="rule", message="It is odd."),
        ),
        demands=(Demand(rule="big", of=("finance",)),),
        because=(
            Because(rule="big", text="args.amount >= 20001", saw="25000"),
            Because(rule="odd", text="args.note != ''", saw="a\x1b[31m<!channel>"),
        ),
    ),
)


def test_a_letter_has_the_conditions_below_their_rule() -> None:
    told = letter(REQUEST, Room(each=1_000, all=10_000)).reasons
    assert told[:2] == ("Big ones need finance. (big)", "args.amount >= 20001: 25000")
    assert "\x1b" not in "".join(told)


def test_a_card_in_slack_has_them_beside_it() -> None:
    said = json.dumps(slack_card(REQUEST, asked=None, mentions={}, url=None).blocks)
    assert "Big ones need finance. (big) \\u00b7 args.amount >= 20001: 25000" in said
    assert "\\u001b" not in said


def test_a_webhook_has_them_with_each_reason() -> None:
    said = json.loads(payload(REQUEST, "approval.requested", 0, None, {}))
    [big, odd] = said["data"]["reasons"]
    assert big["because"] == ["args.amount >= 20001: 25000"]
    assert len(odd["because"]) == 1
