"""Socket Mode: what people do comes in over a connection that is opened from here.

The connection is slack-sdk's, which opens another one where Slack ends this. That the first one
comes about is seen to here, for as long as it takes.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_sdk.socket_mode.client import BaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

log = logging.getLogger("saferun")

_AGAIN = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds after which the first connection is tried again, the last ones over and over."""


class Listening:
    """Hears Slack from its own threads, which are daemons, until it is closed.

    `take` is given the id and the payload of each message, and gives back what is answered to it.
    """

    def __init__(
        self, app_token: str, api_url: str, take: Callable[[str, object], dict[str, Any] | None]
    ) -> None:
        self._app_token = app_token
        self._api_url = api_url
        self._take = take
        self._closed = threading.Event()
        threading.Thread(target=self._open, name="saferun-slack", daemon=True).start()

    def close(self) -> None:
        """Hear nothing more; the connection ends a moment later."""
        self._closed.set()

    def _open(self) -> None:
        from slack_sdk import WebClient
        from slack_sdk.socket_mode import SocketModeClient

        web = WebClient(base_url=self._api_url, timeout=10)
        client = SocketModeClient(self._app_token, web_client=web, concurrency=4)
        client.socket_mode_request_listeners.append(self._heard)
        tries = 0
        while not self._closed.is_set() and not client.is_connected():
            try:
                client.connect()
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is tried again
                # An address that did not do is not tried again: each is good for once.
                log.warning("saferun cannot hear Slack: %s", type(problem).__name__)
            if not client.is_connected():
                client.wss_uri = None
                self._closed.wait(_AGAIN[min(tries, len(_AGAIN) - 1)])
                tries += 1
        self._closed.wait()
        client.close()

    def _heard(self, client: "BaseSocketModeClient", message: "SocketModeRequest") -> None:
        from slack_sdk.socket_mode.response import SocketModeResponse

        said: dict[str, Any] | None = None
        try:
            if message.type == "interactive":
                said = self._take(message.envelope_id, message.payload)
        except Exception as problem:  # noqa: BLE001 - it is not to end the thread that hears
            # What is not acknowledged is shown to whoever has clicked as having failed.
            log.warning("saferun could not take an answer from Slack: %s", problem)
            return
        client.send_socket_mode_response(SocketModeResponse(message.envelope_id, said))
