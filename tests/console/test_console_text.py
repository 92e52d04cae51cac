"""Texts of policies as a page shows them: coloured, inert, and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.asking import POLICY
from saferun.console import text
from saferun.policy import loads, restore
from saferun.unseen import unseen


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("tools:", [("key", "tools:")]),
        (
            "  - id: big  # why",
            [("", "  - "), ("key", "id:"), ("", " big "), ("comment", " # why")],
        ),
        ("# all of it", [("comment", "# all of it")]),
        ('a: "x # y"', [("key", "a:"), ("", ' "x # y"')]),
        ("url: http://x", [("key", "url:"), ("", " http://x")]),
        ("- {a: b}", [("", "- {a: b}")]),
    ],
)
def test_keys_and_comments_are_told_apart(line: str, pieces: list[tuple[str, str]]) -> None:
    [found] = text.lines(line)
    assert [piece for piece in found if piece[1]] == pieces


@given(st.text(max_size=200))
def test_no_character_of_a_line_is_lost_or_unseen(said: str) -> None:
    from saferun.approval import inert

    for line, pieces in zip(said.split("\n"), text.lines(said), strict=True):
        whole = "".join(piece for _, piece in pieces)
        assert whole == inert(line, text.WIDEST)
        assert not any(unseen(char) for char in whole)


def test_a_version_reads_the_same_from_its_file_and_from_the_store() -> None:
    policy = loads(POLICY)
    kept = restore(policy.canonical)
    assert text.written(policy) == text.written(kept)
    assert loads(text.written(kept)).version == policy.version


def test_what_differs_stands_with_lines_around_it() -> None:
    old = "\n".join(f"line {number}" for number in range(40))
    found, left = text.changes(old, old.replace("line 20", "line x"))
    assert left == 0
    assert found[0] is None
    changed = [(each.sign, each.old, each.new, each.text) for each in found if each is not None]
    assert changed[text.AROUND] == ("-", 21, None, "line 20")
    assert changed[text.AROUND + 1] == ("+", None, 21, "line x")
    assert len(changed) == 2 * text.AROUND + 2
    assert text.changes(old, old) == ([], 0)


def test_texts_that_are_too_long_are_compared_in_part_and_it_says_so() -> None:
    old = "\n".join("a" for _ in range(text.DIFFER + 5))
    assert text.changes(old, old)[1] == 10
