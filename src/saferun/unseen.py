"""Characters that are not seen for what they are, and texts without any.

Some move the cursor or obey a terminal, some turn the direction of what stands beside them, some
are drawn as nothing: whoever looks at a text that has one is shown another text.
"""

import unicodedata
from typing import Any

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category that are drawn as nothing."""


def unseen(char: str) -> bool:
    """Whether a character is a control or a mark, or blank, and not the plain space."""
    return not char.isprintable() or unicodedata.category(char) == "Cf" or char in _BLANK


def named(char: str) -> str:
    r"""A character by its number, `\u202e`.

    As `repr` writes it, so that a name quoted in a sentence reads as it does by itself.
    """
    return char.encode("unicode_escape").decode()


def document(value: Any) -> bytes:
    """A value as JSON on one line, in ASCII alone, so that everything in it is seen."""
    import json

    # `json` leaves DEL as it is; it can only stand inside a string.
    return json.dumps(value).replace("\x7f", "\\u007f").encode() + b"\n"
