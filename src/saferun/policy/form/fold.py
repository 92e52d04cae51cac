"""Texts that people would take for the same one, brought to one form.

What is compared folded is meant to be refused, so that the folding errs on that side: two
texts that fold alike may still be different words to somebody.
"""

from typing import Any
from unicodedata import category, normalize

_BLANK = frozenset(map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)))
"""Characters that are shown as nothing although Unicode counts them as letters or marks."""

_SELECTORS = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0000, 0xE0FFF))
"""Ranges that choose between forms of another character, and show nothing themselves."""

_ROUNDS = 8


def fold(text: str) -> str:
    """A text without its case, its compatibility forms, what is invisible and spare white space.

    Stable: what has been folded folds to itself.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.casefold().split())
    # Taking a character out can bring others together, so one round is not always the last.
    for _ in range(_ROUNDS):
        folded = _once(text)
        if folded == text:
            break
        text = folded
    return text


def _once(text: str) -> str:
    wide = normalize("NFKC", normalize("NFKC", text).casefold())
    seen = "".join(each for each in wide if each.isspace() or not _invisible(each))
    return " ".join(seen.split())


def _invisible(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    point = ord(character)
    return (
        category(character) in ("Cc", "Cf")
        or character in _BLANK
        or any(first <= point <= last for first, last in _SELECTORS)
    )


def depth(value: Any) -> int:
    """How many lists and objects stand inside each other in a value; 0 for a scalar."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if held is None else 1 + max(map(depth, held), default=0)


def likeness(value: Any, levels: int) -> Any:
    """A key that two values share where they resemble each other.

    Texts resemble each other folded, numbers as JSON Schema compares them, 5 and 5.0. What lies
    deeper than `levels` resembles nothing, so that the depth of a value costs nothing.
    """
    if isinstance(value, str):
        return fold(value)
    if isinstance(value, bool) or value is None:
        # To Python, True is 1.
        return (type(value), value)
    if isinstance(value, int | float):
        return value
    if levels <= 0:
        return (object,)
    if isinstance(value, list):
        return (list, *(likeness(each, levels - 1) for each in value))
    return (
        dict,
        frozenset((fold(name), likeness(each, levels - 1)) for name, each in value.items()),
    )
