"""Text from a model or a tool, made safe to print in a terminal.

Escape sequences can rewrite what stands above them on the screen, and direction marks can
turn `deny` into `yned`: a person must see what would run, so both are shown as what they
are and never sent to the terminal.
"""

import unicodedata

_SHOWN = {"\n": "⏎", "\t": "⇥"}
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category that are drawn as nothing."""


def inert(text: str, limit: int | None = None) -> str:
    """One line of `text` with every control and format character made visible.

    A text longer than `limit` is cut, and says by how much.
    """
    left = 0
    if limit is not None and len(text) > limit:
        left = len(text) - limit
        text = text[:limit]
    shown = "".join(
        char
        if char.isprintable() and unicodedata.category(char) != "Cf" and char not in _BLANK
        else _visible(char)
        for char in text
    )
    return f"{shown}… ({left:,} more characters)" if left else shown


def _visible(char: str) -> str:
    return _SHOWN.get(char, f"\\u{{{ord(char):x}}}" if char != " " else char)
