"""What Slack sends back: signed bytes first, and only then a click or a form. Pure.

The signature is Slack's `v0`: HMAC-SHA256 of `v0:TIMESTAMP:BODY` under the signing secret, good
for five minutes (docs.slack.dev/authentication/verifying-requests-from-slack).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec

from saferun.channel.slack.modal import Field

LARGEST = 1_000_000
"""Bytes of a callback. Slack sends the card along, which is far smaller."""

WINDOW = 300
"""Seconds that a signature is good for, before and after."""


class MalformedError(ValueError):
    """What has come is none of what Slack sends."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """A click or a form, of whom. `action` is the button's or the form's name.

    `about` is what the button or the form carries, and `trigger` opens a form. `channel` is where
    the card stands, empty for a form.
    """

    team: str
    user: str
    form: bool
    action: str
    about: str
    trigger: str = ""
    channel: str = ""
    fields: Mapping[str, Field] = {}


def signed(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The signature of a body that Slack has sent. Raises MalformedError where it has not."""
    known = {name.lower(): value for name, value in headers.items()}
    at = known.get("x-slack-request-timestamp", "")
    given = known.get("x-slack-signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", at, re.ASCII) or not given:
        raise MalformedError("it is not signed")
    if abs(now - int(at)) > WINDOW:
        raise MalformedError("its signature is too old")
    expected = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256)
    signature = f"v0={expected.hexdigest()}"
    if not hmac.compare_digest(signature.encode(), given.encode("utf-8", "replace")):
        raise MalformedError("its signature is not Slack's")
    return signature


def posted(body: bytes) -> Interaction | None:
    """What an HTTP callback says, None where it is nothing to answer. Raises MalformedError."""
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=4)
        (payload,) = fields["payload"]
        return _interaction(msgspec.json.decode(payload.encode(), type=_Payload))
    except (ValueError, KeyError, RecursionError):
        # What is wrong may be somebody's secret, so it is not told.
        raise MalformedError("it is none of what Slack sends") from None


def sent(payload: object) -> Interaction | None:
    """What a message of Socket Mode says. Raises MalformedError."""
    try:
        # Once more as bytes: they are bounded, and hold nothing that cannot be written down.
        raw = msgspec.json.encode(payload)
        return _interaction(msgspec.json.decode(raw[:LARGEST], type=_Payload))
    except (ValueError, TypeError, RecursionError):
        raise MalformedError("it is none of what Slack sends") from None


# As Slack writes it (docs.slack.dev/reference/interaction-payloads), bounded.


class _Team(msgspec.Struct):
    id: str


class _User(msgspec.Struct):
    id: str
    team_id: str | None = None


class _Named(msgspec.Struct):
    id: str = ""


class _Action(msgspec.Struct):
    action_id: str
    value: str = ""


class _Option(msgspec.Struct):
    value: str = ""


class _Input(msgspec.Struct):
    value: str | None = None
    selected_option: _Option | None = None
    selected_options: list[_Option] = []


class _State(msgspec.Struct):
    values: dict[str, dict[str, _Input]] = {}


class _View(msgspec.Struct):
    callback_id: str
    private_metadata: str = ""
    state: _State = msgspec.field(default_factory=_State)


class _Payload(msgspec.Struct):
    type: str
    user: _User
    team: _Team | None = None
    trigger_id: str = ""
    actions: list[_Action] = []
    channel: _Named | None = None
    view: _View | None = None


def _interaction(payload: _Payload) -> Interaction | None:
    team = payload.user.team_id or (payload.team.id if payload.team is not None else "")
    if payload.type == "block_actions" and payload.actions and payload.view is None:
        action = payload.actions[0]
        if action.action_id == "open":
            # A link: Slack tells of it, and there is nothing to do.
            return None
        return Interaction(
            team=team,
            user=payload.user.id,
            form=False,
            action=action.action_id,
            about=action.value,
            trigger=payload.trigger_id,
            channel=payload.channel.id if payload.channel is not None else "",
        )
    if payload.type == "view_submission" and payload.view is not None:
        view = payload.view
        return Interaction(
            team=team,
            user=payload.user.id,
            form=True,
            action=view.callback_id,
            about=view.private_metadata,
            fields={block: _field(inputs) for block, inputs in view.state.values.items()},
        )
    if payload.type in ("view_closed", "block_actions"):
        return None
    raise MalformedError("it is none of what Slack sends")


def _field(inputs: Mapping[str, _Input]) -> Field:
    found = inputs.get("value", _Input())
    chosen = found.selected_option
    return Field(
        value=found.value,
        chosen=None if chosen is None else chosen.value,
        several=tuple(each.value for each in found.selected_options),
    )
