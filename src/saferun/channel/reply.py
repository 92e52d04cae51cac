"""What a channel answers to whatever comes in from outside, without a web framework in it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from saferun.desk import Desk


class Reply(NamedTuple):
    """An HTTP response: its status, its body, and the media type of that."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"


class Called(Protocol):
    """What a channel has that is called back from outside, below `/channels/NAME/`."""

    def receive(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        desk: "Desk",
        method: str,
    ) -> Reply:
        """Answer what has come in. `path` is what stands after the channel's name.

        Runs on a thread of its own. Whatever it is given, it answers; it raises nothing.
        """
        ...
