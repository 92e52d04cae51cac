"""Characters that are not seen for what they are, and texts without any.

Some move the cursor or obey a terminal, some turn the direction of what stands beside them, some
are drawn as nothing: whoever looks at a text that has one is shown another text.
"""

import unicodedata
from typing import Any

_IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Default_Ignorable_Code_Point of Unicode 17.0: what a font without a glyph draws as nothing.

https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt. Selectors of variants are
among them, so some emoji are shown with an escape behind them.
"""

IGNORABLE = frozenset(chr(code) for first, last in _IGNORABLE for code in range(first, last + 1))

_BLANK = frozenset("\u2800\u2d7f\ufffc\U0001107f\U00013441\U00013442\U00016fe4\U0001d159")
"""Others that are drawn as nothing, or not by themselves: blank patterns, fillers and joiners."""


def unseen(char: str) -> bool:
    """Whether a character is a control or a mark, or blank, and not the plain space."""
    return (
        not char.isprintable()
        or unicodedata.category(char) == "Cf"
        or char in IGNORABLE
        or char in _BLANK
    )


def named(char: str) -> str:
    r"""A character by its number, `\u202e`.

    As `repr` writes it, so that a name quoted in a sentence reads as it does by itself.
    """
    return char.encode("unicode_escape").decode()


def alike(name: str) -> str:
    """A name as it is compared where two that look the same are to be one person.

    NFKC_Casefold: without case, width, composition, or what is drawn as nothing.
    https://www.unicode.org/versions/Unicode17.0.0/core-spec/chapter-3/ (3.13.5)
    """
    for _ in range(3):
        # Each step may make work for the others; after few of them nothing changes any more.
        known = "".join(char for char in name if char not in IGNORABLE)
        known = unicodedata.normalize("NFKC", known.casefold())
        if known == name:
            break
        name = known
    return name


def document(value: Any) -> bytes:
    """A value as JSON on one line, in ASCII alone, so that everything in it is seen."""
    import json

    # `json` leaves DEL as it is; it can only stand inside a string.
    return json.dumps(value).replace("\x7f", "\\u007f").encode() + b"\n"
