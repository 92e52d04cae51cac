"""Cards and forms, whatever the arguments hold: inert, within Slack's limits, whole or not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from saferun.approval import Question, Request, Vote
from saferun.call import Demand, Measure, Reason, RunRef
from saferun.channel import storm
from saferun.channel.slack import modal
from saferun.channel.slack.card import Card, card, digest, whole
from saferun.channel.slack.mark import mark, marked
from saferun.channel.slack.modal import Field
from slacking import buttons, check_message, check_view, filled, text_of


def request(args: dict[str, Any], **about: Any) -> Request:
    standing = {
        name: about.pop(name)
        for name in ("state", "votes", "by", "reason", "revision")
        if name in about
    }
    question = Question(id="a-1", tool="refund", args=args, digest="ab" * 32, **about)
    return Request(question=question, **{"state": "pending", **standing})


def drawn(of: Request, url: str | None = "https://saferun.test") -> dict[str, Any]:
    made: Card = card(of, asked=frozenset({"dana"}), mentions={"dana": "U0DANA"}, url=url)
    message = {"text": made.text, "blocks": made.blocks}
    check_message(json.loads(json.dumps(message)))
    return message


def mrkdwn(message: Any) -> list[str]:
    """All the text in a message that Slack would read as its markup."""
    if isinstance(message, dict):
        if message.get("type") == "mrkdwn":
            return [message["text"]]
        return [text for each in message.values() for text in mrkdwn(each)]
    if isinstance(message, list):
        return [text for each in message for text in mrkdwn(each)]
    return []


HOSTILE = [
    "<!channel> <@U0DANA> <https://evil.test|Approve> *bold* `code` &amp;",
    "\u202eyned\u202c and \x1b[2J\x07 and \u200bhidden\u2800",
    "``` \n```\nArguments\namount (number)\n1",
    "x" * 5_000_000,
    "\n" * 100_000,
    "<" * 3_000,
    "\u202e" * 4_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_inert_wherever_it_stands(text: str) -> None:
    run = RunRef(
        run_id="r",
        root="r",
        agent=text,
        user={"id": text},
        tenant=text,
        prompt=text,
        plan=[text] * 40,
    )
    of = request(
        {"note": text, "list": [text] * 2},
        run=run,
        reasons=(
            Reason(
                id=text,
                effect="ask",
                source="rule",
                message=text,
                measure=Measure(control=text, used="1"),
            ),
        )
        * 9,
        demands=(Demand(rule="r", of=(text,) * 30),) * 9,
        state="pending",
        votes=(Vote(by=text, approved=True, channel=text),) * 30,
        edits=("note",),
    )
    message = drawn(of)
    for said in mrkdwn(message):
        assert text[:20] not in said
    shown = json.dumps(message, ensure_ascii=False)
    assert not {"\u202e", "\u200b", "\x1b", "\u2800"} & set(shown)
    ended = msgspec.structs.replace(of, state="rejected", by=text, reason=text)
    drawn(ended)
    for form in (modal.edit(of), modal.reject(of)):
        check_view(json.loads(json.dumps(form)))
    odd = msgspec.structs.replace(of.question, tool=text)
    drawn(msgspec.structs.replace(of, question=odd))


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=4_000),
    lambda inner: (
        some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(some.dictionaries(some.text(min_size=1, max_size=100), values, max_size=40))
def test_a_card_can_be_approved_if_and_only_if_every_argument_is_whole_on_it(
    args: dict[str, Any],
) -> None:
    of = request(args)
    message = drawn(of)
    assert ("approve" in buttons(message)) is whole(of)
    if whole(of):
        assert "characters in all" not in text_of(message) or any(
            "characters in all" in str(each) for each in args.values()
        )
    form = modal.edit(request(args, edits=tuple(args)))
    check_view(json.loads(json.dumps(form)))


@pytest.mark.parametrize(
    ("args", "about", "why"),
    [
        ({"note": "x" * 4_501}, {}, "Open the request to approve it"),
        ({"note": "\u202e" * 1_000}, {}, "Open the request to approve it"),
        ({f"a{number}": 1 for number in range(31)}, {}, "Open the request to approve it"),
        ({"x" * 81: 1}, {}, "Open the request to approve it"),
        ({"card": "[redacted]"}, {"hidden": ("card",)}, "nobody approves what they cannot see"),
    ],
)
def test_what_is_not_shown_whole_has_no_button_to_approve(
    args: dict[str, Any], about: dict[str, Any], why: str
) -> None:
    message = drawn(request(args, **about))
    assert buttons(message) == ["reject", "open"]
    assert why in text_of(message)


def test_a_text_that_looks_like_a_number_is_told_from_one() -> None:
    text = text_of(drawn(request({"text": "5", "number": 5, "blank": " ", "tail": "a "})))
    assert "text (text)\n5" in text
    assert "number (number)\n5" in text
    assert '" "' in text
    assert '"a "' in text


def test_the_plan_is_marked_as_the_agents_own_words() -> None:
    run = RunRef(run_id="r", root="r", agent="support", plan=["look it up", "refund"])
    text = text_of(drawn(request({}, run=run)))
    assert "in the agent's own words, which nobody has checked\n1. look it up\n2. refund" in text


@pytest.mark.parametrize(
    ("state", "by", "said"),
    [
        ("approved", "dana", "Approved by dana. It may start now, once."),
        ("executing", "dana", "Approved by dana. It is running."),
        ("succeeded", "dana", "Executed: succeeded."),
        ("failed", "dana", "Executed: failed."),
        ("unknown", "dana", "Executed: unknown."),
        ("rejected", "dana", "Rejected by dana"),
        ("expired", None, "Nobody approved it in time"),
        ("expired", "dana", "Approved by dana, and not started in time."),
        ("cancelled", None, "no longer waits"),
        ("stale", None, "no longer what would run"),
    ],
)
def test_a_card_says_how_it_ended_and_has_no_buttons_left(
    state: str, by: str | None, said: str
) -> None:
    message = drawn(request({"amount": 1}, state=state, by=by))
    assert said in text_of(message)
    assert buttons(message) == ["open"]
    assert buttons(drawn(request({}, state=state, by=by), url=None)) == []


def test_a_mark_is_read_back_as_it_was_written() -> None:
    of = request({}, revision=3)
    assert mark(str(marked(of))) == marked(of)
    assert mark(None) is None


UNSEEN: dict[str, Any] = {"names": frozenset(), "mentions": {}, "url": None}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_digest_lists_what_waits_inert_and_within_limits(text: str) -> None:
    many = [request({"note": text, text[:50]: 5})] * 40
    made = digest(storm.digest(many, 10), **UNSEEN)
    message = {"text": made.text, "blocks": made.blocks}
    check_message(json.loads(json.dumps(message)))
    assert text[:20] not in "".join(mrkdwn(message))
    assert text_of(message).count("refund: ") == 10
    assert "And: 30 more" in text_of(message)


def test_a_digest_without_a_url_says_where_else_the_requests_are() -> None:
    made = digest(storm.digest([request({"n": 1})] * 1_000, 2), **UNSEEN)
    assert "1,000 requests" in made.blocks[0]["text"]["text"]
    assert "saferun approval list" in made.blocks[0]["text"]["text"]


# Forms.

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer"},
        "rate": {"type": "number"},
        "note": {"type": "string"},
        "sure": {"type": "boolean"},
        "speed": {"enum": ["slow", "fast"]},
        "lines": {"type": "array", "items": {"type": "string"}},
        "odd": {"type": "string"},
        "extra": {"type": "string"},
    },
}
ARGS = {
    "amount": 25,
    "rate": 0.5,
    "note": "two\nlines",
    "sure": True,
    "speed": "slow",
    "lines": ["a"],
    "odd": "\u202ex",
}


def asked() -> Request:
    return request(dict(ARGS), edits=tuple(SCHEMA["properties"]), schema=SCHEMA)


def typed(**fields: str) -> modal.Edits:
    of = asked()
    values = filled(modal.edit(of), fields)
    read = {
        block: Field(
            value=field["value"].get("value"),
            chosen=(field["value"].get("selected_option") or {}).get("value"),
        )
        for block, field in values.items()
    }
    return modal.edited(of.question, read)


def test_a_form_that_is_sent_as_it_was_changes_nothing() -> None:
    assert typed() == modal.Edits({}, {})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("amount", "30", 30),
        ("amount", "-7", -7),
        ("rate", "0.75", 0.75),
        ("note", "one line", "one line"),
        ("sure", "no", False),
        ("speed", "fast", "fast"),
        ("lines", '["b", "c"]', ["b", "c"]),
        ("odd", '"plain"', "plain"),
        ("extra", "more", "more"),
    ],
)
def test_each_kind_of_field_gives_a_value_of_its_kind(name: str, text: str, value: Any) -> None:
    found = typed(**{name: text})
    assert found == modal.Edits({name: value}, {})
    assert type(found.args[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("amount", "1e9", "Write a number."),
        ("amount", "0x10", "Write a number."),
        ("amount", "٣", "Write a number."),
        ("amount", "9" * 400, "Write a number."),
        ("lines", "[", "This is not JSON."),
        ("lines", "[" * 3_000, "This is not JSON."),
        ("lines", "[" * 900 + "]" * 900, "It is nested more than 32 deep."),
        ("odd", "no quotes", "This is not JSON."),
    ],
)
def test_what_is_wrong_with_a_field_is_told_beside_it(name: str, text: str, why: str) -> None:
    at = f"argument-{list(SCHEMA['properties']).index(name)}"
    assert typed(**{name: text}) == modal.Edits({}, {at: why})


def test_what_cannot_be_seen_is_written_as_json() -> None:
    (field,) = [
        each for each in modal.edit(asked())["blocks"] if each.get("label", {}).get("text") == "odd"
    ]
    assert field["element"]["initial_value"] == '"\\u202ex"'


def test_an_argument_that_is_too_long_for_a_field_is_left_out_and_that_is_said() -> None:
    of = request({"note": "x" * 3_001}, edits=("note",), schema=SCHEMA)
    form = modal.edit(of)
    assert [each["type"] for each in form["blocks"]] == ["section", "section"]
    assert "too long to be changed here" in form["blocks"][-1]["text"]["text"]


def test_a_refusal_is_told_at_the_argument_that_it_names() -> None:
    fields = {"argument-0": Field("1"), "argument-2": Field("x")}
    assert modal.beside(asked().question, fields, "note is too long") == {
        "argument-2": "note is too long"
    }
    assert modal.beside(asked().question, fields, "no") == {"argument-0": "no"}
