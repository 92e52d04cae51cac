"""Characters that are not seen for what they are."""

import sys
import unicodedata

import pytest

from saferun.approval import inert
from saferun.unseen import IGNORABLE, unseen

NOTHING = ("VARIATION SELECTOR", "FILLER", "INHERENT A", "GRAPHEME JOINER", "NULL NOTEHEAD")
"""Words in the names of characters that are drawn as nothing, whatever their category."""

SEEN = ("GAP FILLER", "LINE FILLER")
"""Marks that fill a gap by being seen in it."""


def names() -> dict[str, str]:
    every = map(chr, range(sys.maxunicode + 1))
    return {char: name for char in every if (name := unicodedata.name(char, ""))}


def test_what_is_called_after_nothing_is_unseen() -> None:
    for char, name in names().items():
        if any(word in name for word in NOTHING) and not any(word in name for word in SEEN):
            assert unseen(char), name


def test_every_format_character_of_this_python_is_unseen() -> None:
    # Default_Ignorable_Code_Point is derived from Cf, selectors and a list (UAX 44, 5.1): what
    # this Python knows of the first two shows that no range has been left out.
    for char, name in names().items():
        if unicodedata.category(char) == "Cf":
            assert unseen(char), name


def test_what_is_ignorable_and_assigned_is_a_format_character_or_drawn_as_nothing() -> None:
    known = names()
    for char in IGNORABLE & known.keys():
        nothing = any(word in known[char] for word in NOTHING)
        assert nothing or unicodedata.category(char) == "Cf", known[char]


def test_ignorable_are_as_many_as_in_unicode() -> None:
    # "# Total code points" of the property, as it stands in DerivedCoreProperties.txt.
    assert len(IGNORABLE) == 4174


@pytest.mark.parametrize(
    "char",
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\ufff0"
    "\U0001d159\U0001d173\U000e0001\U000e0100\U000e01ef\U000e0fff\U00016fe4",
)
def test_they_are_shown_by_their_number(char: str) -> None:
    assert inert(f"pay{char}") == f"pay{ascii(char)[1:-1]}"


@pytest.mark.parametrize("text", ["plain text", "ünïcode ✓ 漢字", "e\u0301", "क्ष", "שלום", "한글"])
def test_what_is_seen_stays_as_it_is(text: str) -> None:
    assert inert(text) == text
