"""Marks: one icon, one word and one tone for each thing that a frame can be."""

import pytest

from saferun import marks
from saferun.cli import screen
from saferun.store.near import NEAR


@pytest.mark.parametrize(
    ("said", "mark"),
    [
        ({"kind": "model"}, marks.MODEL),
        ({"kind": "user"}, marks.USER),
        ({"kind": "changed"}, marks.CHANGED),
        ({"kind": "control", "event": "stopped"}, marks.STOPPED),
        ({"kind": "control", "event": "resumed"}, marks.RESUMED),
        ({"kind": "call"}, marks.IMPORTED),
        ({"kind": "call", "verdict": "allow"}, marks.ALLOWED),
        ({"kind": "call", "verdict": "allow", "modified": True}, marks.MODIFIED),
        ({"kind": "call", "verdict": "allow", "asked": True, "modified": True}, marks.ASKED),
        ({"kind": "call", "verdict": "deny", "asked": True}, marks.DENIED),
        ({"kind": "call", "verdict": "defer"}, marks.DEFERRED),
        ({"kind": "call", "verdict": "ask"}, marks.ASKED),
    ],
)
def test_a_frame_has_the_mark_of_what_became_of_it(said: dict, mark: marks.Mark) -> None:
    assert marks.of(**said) == mark
    assert mark in marks.OF_FRAMES


def test_no_two_marks_of_frames_look_alike_without_their_colour() -> None:
    shown = {(each.icon, each.word) for each in marks.OF_FRAMES}
    assert len(shown) == len(marks.OF_FRAMES)


def test_a_terminal_shows_the_icons_and_words_of_the_console() -> None:
    for verdict, mark in marks.VERDICTS.items():
        assert screen.VERDICTS[verdict][:2] == (mark.icon, mark.word)


def test_every_near_miss_and_every_standing_has_its_words() -> None:
    assert set(marks.NEAR) == set(NEAR)
    assert set(marks.STANDINGS) == set(marks.VOUCHED)
