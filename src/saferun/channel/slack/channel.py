"""The Slack channel: brings cards, keeps them true, and takes what comes back."""

import contextlib
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from saferun.approval import Desk, Request
from saferun.channel.reply import Reply
from saferun.channel.slack import interaction
from saferun.channel.slack.addresses import Addresses
from saferun.channel.slack.answers import Answers, Refusals
from saferun.channel.slack.aside import Aside
from saferun.channel.slack.cards import Cards, Receipt
from saferun.channel.slack.front import Front
from saferun.channel.slack.interaction import Interaction, MalformedError
from saferun.channel.slack.line import Line, SlackError
from saferun.channel.slack.listening import Listening
from saferun.channel.slack.storm import Storm
from saferun.config import Config, SlackTable
from saferun.errors import ConfigError, SafeRunError
from saferun.store import Once

_ONCE = 2 * interaction.WINDOW * 1_000_000 + 60_000_000
"""Microseconds in which the same signed bytes are taken for a repetition: longer than any
signature is good for."""


class _Open:
    """What one process has open to Slack."""

    def __init__(
        self, table: SlackTable, addresses: Addresses, refusals: Refusals, url: str | None
    ) -> None:
        self.process = os.getpid()
        self._aside = Aside()
        line = Line(os.environ[table.token_env], table.channel, table.api_url)
        storm = Storm(line, self._aside, addresses.mentions, url)
        self.cards = Cards(line, storm, addresses, url)
        self.answers = Answers(addresses, line, self._aside, refusals)
        self._listening: Listening | None = None

    def listen(
        self, app_token: str, api_url: str, take: Callable[[str, object], dict[str, Any] | None]
    ) -> None:
        self._listening = Listening(app_token, api_url, take)

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        self._aside.close()


class Slack:
    """Questions in a channel of Slack, answered there by those whom the configuration knows.

    Thread-safe. Raises ConfigError for a configuration that says what it cannot.
    """

    name = "slack"

    def __init__(self, settings: Config) -> None:
        where = f"{settings.file}: " if settings.file is not None else ""
        if settings.approval.slack is None:
            raise ConfigError(
                f"{where}there is no [approval.slack]; say there which `channel` questions go to, "
                "and what is in `token_env`."
            )
        try:
            self._addresses = Addresses(settings.people)
        except ConfigError as problem:
            raise ConfigError(f"{where}{problem}.") from None
        self._table = settings.approval.slack
        address = urlsplit(self._table.api_url)
        if address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError(
                f"{where}api_url under [approval.slack] is {self._table.api_url!r}; write an https "
                "address, since the token goes there."
            )
        self._url = settings.approval.url.rstrip("/") if settings.approval.url else None
        self._lock = threading.Lock()
        self._desk: Front | None = None
        self._at: _Open | None = None
        self.closed = False
        self._refusals = Refusals()

    def unreachable(self) -> str | None:
        if importlib.util.find_spec("slack_sdk") is None:
            return "slack-sdk is not installed; pip install 'saferun-sdk[slack]'"
        if not self._addresses:
            return 'nobody has a `slack` under [people], such as "T024BE7LD/U0123ABCD"'
        if self._table.app_token_env is None and self._table.signing_secret_env is None:
            return "neither app_token_env nor signing_secret_env says how answers come back"
        # What answers come back by may be known to another process alone, out of the agent's reach.
        if not os.environ.get(self._table.token_env):
            return f"the environment has no {self._table.token_env}"
        return None

    def attend(self, desk: Desk) -> None:
        """Have what people do in Slack go to this desk from now on."""
        with self._lock:
            if self.closed:
                return
            # Only the desk of a store has what this takes, and there is no other.
            self._desk = cast("Front", desk)
        if self.unreachable() is None:
            self._opened()

    def bring(self, request: Request, desk: Desk, receipt: str | None) -> str | None:
        self.attend(desk)
        nobody = self.unreachable()
        if nobody is not None:
            raise SlackError("anything", nobody)
        known = None if receipt is None else msgspec.json.decode(receipt, type=Receipt)
        brought = self._opened().cards.bring(request, cast("Front", desk), known)
        return msgspec.json.encode(brought).decode()

    def receive(
        self,
        path: str,  # noqa: ARG002 - there is one place for all of it
        headers: Mapping[str, str],
        body: bytes,
        *,
        desk: Desk | None = None,
        method: str = "POST",
    ) -> Reply:
        """Take an HTTP callback of Slack's. Only what is signed counts."""
        if method != "POST":
            return Reply(405, b"Slack posts what people do.")
        if desk is not None:
            self.attend(desk)
        secret = os.environ.get(self._table.signing_secret_env or "")
        with self._lock:
            front = self._desk
        if front is None or not secret or self.unreachable() is not None:
            return Reply(503, b"Slack's callbacks are not configured here.")
        if len(body) > interaction.LARGEST:
            return self._refused(front, 413, "it is too long")
        try:
            signature = interaction.signed(secret, headers, body, time.time())
        except MalformedError as problem:
            return self._refused(front, 401, str(problem))
        try:
            said = self._once(front, signature, lambda: interaction.posted(body))
        except MalformedError as problem:
            return self._refused(front, 400, str(problem))
        except (SafeRunError, SlackError):
            return Reply(503, b"The store cannot be used.")
        if said is None:
            return Reply(200)
        return Reply(200, msgspec.json.encode(said), "application/json")

    def close(self) -> None:
        """Hear nothing more, and tell nothing more, for good."""
        with self._lock:
            self.closed = True
            at, self._at, self._desk = self._at, None, None
        if at is not None:
            at.close()

    def forked(self) -> None:
        """Go on in a child process, where no thread holds the lock any more."""
        self._lock = threading.Lock()

    def _heard(self, envelope: str, payload: object) -> dict[str, Any] | None:
        """Take a message of Socket Mode."""
        with self._lock:
            desk = self._desk
        if desk is None:
            return None
        try:
            return self._once(desk, envelope[:100], lambda: interaction.sent(payload))
        except MalformedError as problem:
            self._refusals.note(desk, f"a message of Socket Mode: {problem}")
            return None

    def _once(
        self, desk: Front, signature: str, read: Callable[[], Interaction | None]
    ) -> dict[str, Any] | None:
        """Answer what is said, the first time. Raises MalformedError, StoreError."""
        told = read()
        if told is None or not desk.store.commit(Once(channel="slack", id=signature, within=_ONCE)):
            return None
        return self._opened().answers.take(told, desk)

    def _refused(self, desk: Front, status: int, why: str) -> Reply:
        with contextlib.suppress(SafeRunError):
            self._refusals.note(desk, f"a callback: {why}")
        return Reply(status, b"Only what Slack has signed is taken here.")

    def _opened(self) -> "_Open":
        """What this process has open to Slack; a fork opens its own."""
        with self._lock:
            if self.closed:
                raise SlackError("anything", "the channel is closed")
            if self._at is None or self._at.process != os.getpid():
                self._at = _Open(self._table, self._addresses, self._refusals, self._url)
                app_token = os.environ.get(self._table.app_token_env or "")
                if app_token:
                    self._at.listen(app_token, self._table.api_url, self._heard)
            return self._at


_shared: dict[bytes, Slack] = {}
_sharing = threading.Lock()


def shared(settings: Config) -> Slack:
    """The process's one Slack channel of a configuration: they share its pace and its connection.

    Raises ConfigError for a configuration that says what it cannot.
    """
    of = (settings.store, settings.ledger, settings.approval, settings.people)
    key = msgspec.json.encode(of)
    with _sharing:
        found = _shared.get(key)
        if found is None or found.closed:
            found = _shared[key] = Slack(settings)
        return found


def _after_in_child() -> None:
    global _sharing  # noqa: PLW0603
    _sharing = threading.Lock()
    for each in _shared.values():
        each.forked()
    _shared.clear()


os.register_at_fork(after_in_child=_after_in_child)
