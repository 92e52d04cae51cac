"""What a browser has sent: the body of a request, and the fields of a form, bounded."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.requests import Request as Asked

from saferun.errors import SafeRunError

Fields: TypeAlias = Mapping[str, Sequence[str]]

MAX_FORM = 2_000_000
"""Bytes of a form: an argument of a million characters, encoded."""

PATIENCE = 15.0
"""Seconds in which a form has to be here whole."""


class TooLargeError(SafeRunError):
    """What was sent is more than anybody enters."""


class UnreadableError(SafeRunError):
    """What was sent is no form."""


async def body(asked: Asked, most: int) -> bytes:
    """What was sent, whole. Raises TooLargeError, UnreadableError."""
    found = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in asked.stream():
                found += chunk
                if len(found) > most:
                    raise TooLargeError(f"That is more than {most:,} bytes.")
    except TimeoutError:
        raise UnreadableError("It took too long to be sent.") from None
    return bytes(found)


async def form(asked: Asked) -> dict[str, list[str]]:
    """The fields of a form. Raises TooLargeError, UnreadableError."""
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    sent = await body(asked, MAX_FORM)
    if kind != "application/x-www-form-urlencoded":
        raise UnreadableError("That is not a form.")
    try:
        pairs = parse_qsl(sent.decode("ascii"), keep_blank_values=True, max_num_fields=1_000)
    except ValueError:
        raise UnreadableError("That form cannot be read.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def one(fields: Fields | None, name: str) -> str:
    """The first value of a field, empty where it was not sent."""
    found = (fields or {}).get(name)
    return found[0] if found else ""


def number(text: str) -> int:
    """A number that was sent, -1 where it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else -1
