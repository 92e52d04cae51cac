"""Slack's Web API, as far as questions need it, at the pace that Slack allows."""

import contextlib
import math
from contextlib import AbstractContextManager
from typing import Any

from saferun.approval import inert
from saferun.channel.slack.card import Card
from saferun.channel.slack.pace import CHANGES, POSTS, Pace
from saferun.channel.slack.text import plain
from saferun.errors import SafeRunError

TIMEOUT = 10
"""Seconds that Slack has to answer in."""

_PATIENCE = 120.0
"""Seconds that Slack can have us wait for."""

GONE = frozenset({"message_not_found", "channel_not_found", "cant_update_message"})
"""What Slack says of a message that cannot be changed any more."""


class SlackError(SafeRunError):
    """Slack cannot be reached, or does not do what it was asked. `code` is what it has said."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack did not do {method}: {inert(code, 200)}")
        self.code = code


class Line:
    """The connection to one workspace's API. Thread-safe."""

    def __init__(self, token: str, channel: str, api_url: str) -> None:
        from slack_sdk import WebClient

        self._client = WebClient(token=token, base_url=api_url, timeout=TIMEOUT)
        self._channel = channel
        self._posts = Pace(POSTS)
        self._changes = Pace(CHANGES, burst=5)

    def turn(self, most: int | None = None) -> AbstractContextManager[bool]:
        """The turn to post, once it comes; False where `most` others wait for theirs already."""
        return self._posts.turn(most)

    def turn_to_change(self) -> AbstractContextManager[bool]:
        """The turn to change a message, once it comes."""
        return self._changes.turn()

    def post(self, card: Card, *, below: tuple[str, str] | None = None) -> tuple[str, str]:
        """Post a message, or one `below` another; where it is, as channel and ts."""
        about: dict[str, Any] = {
            "channel": self._channel if below is None else below[0],
            "text": card.text,
            "blocks": card.blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if below is not None:
            about["thread_ts"] = below[1]
        done = self._call("chat.postMessage", about, self._posts)
        return str(done.get("channel", about["channel"])), str(done["ts"])

    def change(self, where: tuple[str, str], card: Card) -> None:
        """Have a message say something else."""
        about = {"channel": where[0], "ts": where[1], "text": card.text, "blocks": card.blocks}
        self._call("chat.update", about, self._changes)

    def whisper(self, channel: str, user: str, text: str) -> None:
        """Tell one person something that nobody else sees."""
        block = {"type": "section", "text": plain(text, 1_000)}
        about = {"channel": channel, "user": user, "text": "SafeRun", "blocks": [block]}
        self._call("chat.postEphemeral", about, self._posts)

    def show(self, trigger: str, view: dict[str, Any]) -> None:
        """Open a form. A trigger is good for three seconds, and once."""
        self._call("views.open", {"trigger_id": trigger, "view": view}, None)

    def _call(self, method: str, about: dict[str, Any], pace: Pace | None) -> dict[str, Any]:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            found = self._client.api_call(method, json=about).data
        except SlackApiError as problem:
            code = str(problem.response.get("error", "no reason given"))
            if code == "ratelimited" and pace is not None:
                pace.hold(_seconds(problem.response.headers))
            raise SlackError(method, code) from None
        except (OSError, SlackClientError, ValueError) as problem:
            # Neither the message nor the token is to stand in a log.
            raise SlackError(method, type(problem).__name__) from None
        return found if isinstance(found, dict) else {}


def _seconds(headers: dict[str, str]) -> float:
    """How long Slack wants to be left alone, of what it says."""
    said = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    with contextlib.suppress(ValueError):
        seconds = float(said)
        if math.isfinite(seconds):
            return min(max(seconds, POSTS), _PATIENCE)
    return 30.0
