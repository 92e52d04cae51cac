"""Text for Slack that shows what it holds and does nothing else.

Slack makes links, mentions and pictures out of what stands in `mrkdwn`. So that holds our own
words alone, and whatever comes from a model, a tool or a person goes into the elements of
`rich_text`, and into plain text, where Slack takes each character for itself. Control and
direction characters are made visible first.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from saferun.approval.inert import inert

Block: TypeAlias = dict[str, Any]
Element: TypeAlias = dict[str, Any]

NAME = 80
"""Characters of a name: of a tool, an argument, a person."""


def said(text: str) -> dict[str, Any]:
    """Our own words, in which a mention may stand. Addresses in them do not become links."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain(text: str, limit: int) -> dict[str, Any]:
    """Anybody's text on one line, of at most `limit` characters in all."""
    return {"type": "plain_text", "text": brief(text, limit), "emoji": False}


def brief(text: str, limit: int) -> str:
    """Anybody's text on one line, of at most `limit` characters once all of it can be seen."""
    return cut(inert(text[: limit + 1]), limit)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def words(text: str, *, bold: bool = False) -> Element:
    """Anybody's text, as a part of a line."""
    styled: Element = {"type": "text", "text": inert(text) or " "}
    return {**styled, "style": {"bold": True}} if bold else styled


def moment(at: int) -> Element:
    """A time in microseconds since 1970, which everybody sees in their own time zone."""
    return {
        "type": "date",
        "timestamp": at // 1_000_000,
        "format": "{date_short_pretty} {time_secs}",
        "fallback": f"{at // 1_000_000} s after 1970",
    }


def row(label: str, *elements: Element) -> Element:
    return {
        "type": "rich_text_section",
        "elements": [words(f"{label}: ", bold=True), *elements],
    }


def lines(text: str) -> str:
    """Text of several lines, each one of them made safe to look at."""
    return "\n".join(inert(line) for line in text.split("\n"))


def rich(sections: Iterable[Element]) -> Block:
    return {"type": "rich_text", "elements": list(sections)}
