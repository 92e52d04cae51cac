"""What comes to the callback from outside: only what Slack has signed counts, and once."""

import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from saferun.channel.slack import interaction
from saferun.channel.slack.interaction import MalformedError
from slacking import SECRET, pressed, text_of
from slackworld import DANA, World, world


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch) as found:
        yield found


EXAMPLE = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F"
    b"T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
"""From docs.slack.dev/authentication/verifying-requests-from-slack."""

EXAMPLE_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
EXAMPLE_AT = 1531420618
EXAMPLE_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def headers(at: object = EXAMPLE_AT, signature: str = EXAMPLE_SIGNATURE) -> dict[str, str]:
    return {"x-slack-request-timestamp": str(at), "X-Slack-Signature": signature}


def test_the_example_that_slack_documents_is_signed_by_slack() -> None:
    found = interaction.signed(EXAMPLE_SECRET, headers(), EXAMPLE, EXAMPLE_AT + 300)
    assert found == EXAMPLE_SIGNATURE


@pytest.mark.parametrize(
    ("about", "body", "now", "why"),
    [
        (headers(), EXAMPLE + b"&x=1", EXAMPLE_AT, "not Slack's"),
        (headers(at=EXAMPLE_AT + 1), EXAMPLE, EXAMPLE_AT, "not Slack's"),
        (headers(signature="v0=" + "0" * 64), EXAMPLE, EXAMPLE_AT, "not Slack's"),
        (headers(signature="v0=é\ud800"), EXAMPLE, EXAMPLE_AT, "not Slack's"),
        (headers(), EXAMPLE, EXAMPLE_AT + 301, "too old"),
        (headers(), EXAMPLE, EXAMPLE_AT - 301, "too old"),
        (headers(at="now"), EXAMPLE, EXAMPLE_AT, "not signed"),
        (headers(at="-1"), EXAMPLE, EXAMPLE_AT, "not signed"),
        (headers(at="١٢٣"), EXAMPLE, EXAMPLE_AT, "not signed"),
        (headers(at="9" * 5_000), EXAMPLE, EXAMPLE_AT, "not signed"),
        (headers(signature=""), EXAMPLE, EXAMPLE_AT, "not signed"),
        ({}, EXAMPLE, EXAMPLE_AT, "not signed"),
    ],
)
def test_what_is_not_signed_by_slack_now_is_refused(
    about: dict[str, str], body: bytes, now: float, why: str
) -> None:
    with pytest.raises(MalformedError, match=why):
        interaction.signed(EXAMPLE_SECRET, about, body, now)


def approving(at: World) -> bytes:
    card = at.slack.card()
    (value,) = [each["value"] for each in pressed(card) if each["action_id"] == "approve"]
    payload = at.slack.clicked("approve", value, DANA)
    return urlencode({"payload": json.dumps(payload)}).encode()


def test_a_request_that_somebody_else_has_signed_is_401_recorded_and_changes_nothing(
    at: World,
) -> None:
    call = at.call()
    body = approving(at)
    assert at.slack.post(body, secret="guessed")[0] == 401
    assert at.slack.post(body, at=time.time() - 400)[0] == 401
    assert at.slack.post(body, headers={})[0] == 401
    assert at.events() == ["requested", "refused", "refused", "refused"]
    assert "its signature is not Slack's" in at.why()[0]
    assert SECRET not in str(at.entries())
    assert at.ran == []
    assert at.slack.post(body)[0] == 200
    assert call.ended().result == "refunded"


def test_the_same_signed_bytes_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch) as at:
        call = at.call()
        body = approving(at)
        stamp = time.time()
        for _ in range(3):
            assert at.slack.post(body, at=stamp)[0] == 200
        call.ended()
        assert len(at.ran) == 1
        # Neither a vote that was refused, nor a whisper: it was not looked at again.
        assert at.events() == ["requested", "approved"]
        assert at.slack.whispers == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_at_the_callback_changes_nothing(at: World, method: str) -> None:
    call = at.call()
    body = approving(at)
    host, port, path = at.slack.callback
    at.slack.callback = (host, port, f"{path}?{body.decode()}")
    assert at.slack.post(b"", method=method, headers={})[0] == 401
    assert at.ran == []
    at.slack.callback = (host, port, path)
    assert at.slack.post(body)[0] == 200
    call.ended()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload={}",
        b"payload=%7B",
        b"payload=[]",
        b"payload=%ff%fe",
        b"\xff\xfe\x00",
        b"payload={}&payload={}",
        b"a=1&b=2&c=3&d=4&e=5&payload={}",
        b"payload=" + b"[" * 100_000,
        b'payload={"type":"block_actions"}',
        b'payload={"type":"block_actions","user":{"id":7}}',
        b'payload={"type":"block_actions","user":{"id":"U1"},"actions":[{}]}',
        b'payload={"type":"view_submission","user":{"id":"U1"}}',
        b'payload={"type":"shortcut","user":{"id":"U1"}}',
        b'{"type":"block_actions"}',
    ],
)
def test_a_malformed_callback_is_400_and_recorded(at: World, body: bytes) -> None:
    assert at.slack.post(body)[0] == 400
    assert at.why() == ["a callback: it is none of what Slack sends"]


def test_a_callback_that_is_too_long_is_413_before_anything_is_done_with_it(at: World) -> None:
    reply = at.channel.receive("/channels/slack/actions", {}, b"x" * (interaction.LARGEST + 1))
    assert reply.status == 413


@pytest.mark.parametrize(
    "value",
    ["", "nonsense", "a-1", "a-1.x.y", f"a-{'0' * 20}.0.{'0' * 16}", "a.1.b" * 400, "a\ud800.0."],
)
def test_a_button_that_is_about_no_request_is_answered_and_recorded(at: World, value: str) -> None:
    payload = at.slack.clicked("approve", value, DANA)
    body = urlencode({"payload": json.dumps(payload)}).encode()
    status, _ = at.slack.post(body)
    if "\ud800" in value:
        # A string that cannot be written down is no JSON.
        assert status == 400
        return
    assert status == 200
    at.slack.until(lambda: at.slack.whispers)
    assert "no" in text_of(at.slack.whispers[0])
    assert len(at.why()) == 1


def test_an_action_that_there_is_not_is_refused(at: World) -> None:
    call = at.call()
    card = at.slack.card()
    value = pressed(card)[0]["value"]
    at.slack.send(at.slack.clicked("approve_all", value, DANA))
    at.slack.until(lambda: at.slack.whispers)
    assert at.ran == []
    at.slack.click(card, "approve", DANA)
    call.ended()


def test_a_flood_of_bad_callbacks_leaves_a_bounded_number_of_entries(at: World) -> None:
    for number in range(60):
        reply = at.channel.receive("/", {}, b"%d" % number)
        assert reply.status == 401
    assert len(at.why()) == 20
