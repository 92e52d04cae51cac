"""The keys of `saferun run step`: from a state and a key to the next state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.cli.run.stepping import HELP, MAX_LINE, State, grown, keys, pressed, ticked
from saferun.replay import Outline, Row


class Run:
    """Five frames: a model turn, a call, a denied one, a near miss, and one that failed."""

    def __init__(self, frames: int = 5) -> None:
        self.outline = Outline("r-1")
        about = [
            {"kind": "model"},
            {"kind": "call", "tool": "refund", "verdict": "allow"},
            {"kind": "call", "tool": "mail", "verdict": "deny"},
            {"kind": "call", "tool": "refund", "verdict": "allow", "near": ("limit",)},
            {"kind": "call", "tool": "mail", "verdict": "allow", "status": "error"},
        ]
        for number in range(frames):
            row = Row(number=number + 1, at=0, seqs=[number], **about[number % 5])
            self.outline.rows.append(row)

    def __len__(self) -> int:
        return len(self.outline)

    def next(self, number, wanted, *, forward=True):
        return self.outline.next(number, wanted, forward=forward)

    def within(self, number, wanted):
        return "in 2 runs that began here; l goes in" if number == 4 else ""

    def find(self, text, number):
        if text == "?":
            raise ValueError("no word in it")
        return 4 if text == "parcel" and number < 4 else None


def after(*pressing: str, start: State | None = None, run: Run | None = None) -> State:
    state, frames = start or State(), Run() if run is None else run
    for key in pressing:
        state = pressed(state, key, frames)
    return state


@pytest.mark.parametrize(
    ("pressing", "at"),
    [
        ("jj", 3),
        ("jjk", 2),
        ("k", 1),
        ("jjjjjjjj", 5),
        ("n", 3),
        ("nN", 3),
        ("e", 5),
        ("eE", 5),
        ("j]", 4),
        ("j][", 2),
        ("m", 4),
        ("G", 5),
    ],
)
def test_a_key_leads_to_a_frame(pressing, at) -> None:
    assert after(*pressing).at == at


@pytest.mark.parametrize(
    ("pressing", "says"),
    [
        ("nn", "nothing else was denied or asked"),
        ("E", "no other error"),
        ("]", "no other call of this tool"),
        ("mm", "no other near miss"),
    ],
)
def test_where_there_is_none_it_stays_and_says_so(pressing, says) -> None:
    before = after(*pressing[:-1])
    state = after(*pressing)
    assert (state.at, state.says) == (before.at, says)


def test_what_was_said_is_gone_with_the_next_key() -> None:
    assert after("n", "n", "j").says == ""


def test_a_number_leads_to_its_frame_and_none_to_the_last() -> None:
    assert after("g", "4", "enter").at == 4
    assert after("g", "enter").at == 5
    assert after("g", "9", "9", "enter").at == 5
    assert after("g", "x", "enter").says == "a frame is named by its number"


def test_words_are_found_and_found_again() -> None:
    state = after("/", *"parcel", "enter")
    assert (state.at, state.text, state.asking) == (4, "parcel", "")
    assert after("/", "enter", start=state).says == "no further frame has it"
    assert after("/", *"other", "enter").says == "no further frame has it"
    assert after("/", "?", "enter").says == "no word in it"


def test_keys_are_letters_while_a_line_is_typed() -> None:
    assert after("/", *"jq").line == "jq"
    assert after("/", *"jq", "backspace", "backspace", "backspace").asking == ""
    assert after("/", *"jq", "escape") == after()
    assert len(after("/", *("x" * 500)).line) == MAX_LINE


def test_following_goes_to_the_end_and_moving_stops_it() -> None:
    state = after("f")
    assert (state.at, state.follows) == (5, True)
    assert grown(state, Run(7)).at == 7
    moved = after("k", start=grown(state, Run(7)), run=Run(7))
    assert (moved.at, moved.follows, moved.known) == (6, False, 7)
    assert grown(moved, Run(9)).at == 6
    # Two are new since.
    assert len(Run(9)) - moved.known == 2


def test_playing_goes_on_by_itself_and_ends_at_the_end() -> None:
    state = after(" ", start=State(at=4))
    state = ticked(state, Run())
    assert (state.at, state.plays) == (5, True)
    assert not ticked(state, Run()).plays
    assert ticked(State(at=2), Run()).at == 2


def test_another_run_is_held_beside_and_put_away() -> None:
    state = after("d", *"r-2", "enter")
    assert state.other == "r-2"
    assert after("d", start=state).other == ""


def test_help_is_put_away_by_any_key_and_q_leaves() -> None:
    assert after("?").helps
    assert after("?", "j") == after()
    assert after("q").leaves
    assert after("?", "q").leaves
    assert {key for key, _ in HELP} >= {"q", "space", "f", "d"}


def test_an_empty_run_is_stepped_through_without_harm() -> None:
    for key in ("j", "k", "n", "G", "]", "f", " ", "m"):
        assert after(key, run=Run(0)).at == 1


any_key = st.sampled_from([*"jknNeE][mMgGfd?/ JKq1x", "enter", "backspace", "escape", "up", "down"])


@given(st.lists(any_key, max_size=40), st.integers(0, 8))
def test_whatever_is_pressed_it_stays_within_the_run(pressing, frames) -> None:
    state = after(*pressing, run=Run(frames))
    assert 1 <= state.at <= max(frames, 1)
    assert state.scroll >= 0


def test_keys_are_told_by_what_a_terminal_sends() -> None:
    sent = "j\x1b[A\x1b[B\x1bOA\x1b[6~\r\x7f\x1b[1~ä\x04"
    named = ["j", "up", "down", "up", "pagedown", "enter", "backspace", "home", "ä", "ctrl-d"]
    assert keys(sent) == named
    assert keys("\x1b") == ["escape"]


@given(st.text())
def test_whatever_is_sent_no_control_character_becomes_a_key(sent) -> None:
    assert all(len(key) > 1 or key.isprintable() for key in keys(sent))


def test_sequences_that_mean_nothing_here_press_nothing() -> None:
    assert keys("\x1b[15~\x1b[1;5Cj\x00") == ["j"]


def test_a_key_asks_for_the_way_in_and_out() -> None:
    assert [after(key).turn for key in ("l", "right", "h", "left", "j")] == [
        "in",
        "in",
        "out",
        "out",
        "",
    ]
    assert keys("\x1b[C\x1b[D") == ["right", "left"]


def test_a_jump_says_that_it_is_within_a_run_that_began_there() -> None:
    assert after("m").says == "in 2 runs that began here; l goes in"
    assert after("n").says == ""
