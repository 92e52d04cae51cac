"""The text of a policy for a page: lines, each in pieces that have a colour. Nothing is markup."""

import difflib
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from saferun.approval import inert
from saferun.policy import Policy

LINES = 5_000
"""Lines that are shown of one text."""

WIDEST = 1_000
"""Characters that are shown of one line."""

AROUND = 3
"""Lines that stand around a change."""

DIFFER = 4_000
"""Lines of either text that are compared: beyond, a comparison could take minutes."""

Piece = tuple[str, str]

# A key with its colon, after dashes: what makes the shape of a YAML file.
_KEY = re.compile(r"(\s*(?:- +)*)((?:\"[^\"]*\"|'[^']*'|[^\s:#'\"\[{-][^:#]*):)(?=\s|$)")
_COMMENT = re.compile(r"(^|\s)#.*$")


class Change(NamedTuple):
    """A line of two texts beside each other: how it differs, its numbers, and what it says."""

    sign: str
    old: int | None
    new: int | None
    text: str


def lines(text: str) -> list[list[Piece]]:
    """Each line as pieces of a class and a text, as many as are shown."""
    return [list(_pieces(inert(line, WIDEST))) for line in text.split("\n")[:LINES]]


def _pieces(line: str) -> Iterator[Piece]:
    comment = _COMMENT.search(line)
    # A hash in quotes is no comment; whatever is taken for one is still shown whole.
    end = comment.start() if comment and line.count('"', 0, comment.start()) % 2 == 0 else len(line)
    key = _KEY.match(line[:end])
    if key is not None:
        yield "", key[1]
        yield "key", key[2]
    yield "", line[key.end() if key is not None else 0 : end]
    if end < len(line):
        yield "comment", line[end:]


def written(policy: Policy) -> str:
    """A version as a policy file would say it: with all that it includes, and without comments."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 100
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(_ordered(dict(policy.document.value)), out)
    return out.getvalue().rstrip("\n")


_FIRST = ("version", "name", "mode", "default", "include", "inputs", "limits", "id", "effect")
_PLACES = {key: place for place, key in enumerate(_FIRST)}


def _ordered(value: object) -> object:
    """The same value, with what people look for first in front.

    One order for all: a version that was kept has lost that of its file.
    """
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (_PLACES.get(key, len(_PLACES)), key))
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value


def changes(old: str, new: str) -> tuple[list[Change | None], int]:
    """What differs between two texts, with some lines around; None where lines are left out.

    And how many lines were not compared, since there are too many.
    """
    was, now = old.split("\n"), new.split("\n")
    left = max(len(was) - DIFFER, 0) + max(len(now) - DIFFER, 0)
    was, now = was[:DIFFER], now[:DIFFER]
    found: list[Change | None] = []
    # Lines that are everywhere lead nowhere, and would have it take minutes.
    matcher = difflib.SequenceMatcher(None, was, now, autojunk=True)
    for group in matcher.get_grouped_opcodes(AROUND):
        if found or group[0][1] > 0:
            found.append(None)
        for tag, a, b, c, d in group:
            if tag == "equal":
                found += [
                    Change(" ", a + at + 1, c + at + 1, inert(line, WIDEST))
                    for at, line in enumerate(was[a:b])
                ]
                continue
            found += [Change("-", at + 1, None, inert(was[at], WIDEST)) for at in range(a, b)]
            found += [Change("+", None, at + 1, inert(now[at], WIDEST)) for at in range(c, d)]
    return found[:LINES], left
