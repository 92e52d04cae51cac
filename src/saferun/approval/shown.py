"""What every surface says alike: how a value is spelled, and for how many calls an answer is."""

from typing import Any

import msgspec

from saferun.approval.question import Request


def spelled(value: Any) -> str:
    """A value as people are to read it: text as it is, unless its ends could not be seen."""
    if (
        isinstance(value, str)
        and value
        # Nor what could be taken for something that is spelled out here.
        and not value.startswith('"')
        and value == value.strip()
        and all(line == line.rstrip() for line in value.split("\n"))
    ):
        return value
    return msgspec.json.encode(value).decode()


def kind(value: Any) -> str:
    """What a value is, so that the text `5` is not taken for the number."""
    if isinstance(value, str):
        return "text"
    if value is None or isinstance(value, bool):
        return "yes or no" if value is not None else "nothing"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list | tuple) else "record"


def story(request: Request) -> str:
    """What has become of a request, in one word: `asked`, `yes` or `no`.

    That what was approved starts and ends is no other story, and nobody needs to be told twice;
    that it does not run after all is one.
    """
    if request.open:
        return "asked"
    return "no" if request.state in ("rejected", "expired", "cancelled", "stale") else "yes"


def others(request: Request) -> str | None:
    """What becomes of further calls that wait for the same answer, None where there are none."""
    if not request.open or not request.joined:
        return None
    many = "1 more call waits" if request.joined == 1 else f"{request.joined} more calls wait"
    return f"{many} for this: a yes lets one of them all run, a no is for all"
