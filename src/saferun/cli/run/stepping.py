"""Stepping through a run by keys: from a state and a key to the next state. Pure.

What a terminal shows and reads is `step`'s business; this is what the keys mean.
"""

import re
from typing import Literal, Protocol

import msgspec

from saferun.replay.outline import Wanted

HELP = (
    ("j k ↓ ↑", "next and previous frame"),
    ("n N", "next and previous that was denied or asked"),
    ("e E", "next and previous error"),
    ("] [", "next and previous call of the same tool"),
    ("m M", "next and previous near miss"),
    ("/ text", "find words; an empty one finds the same again"),
    ("g number", "go to a frame; g alone to the last"),
    ("l h → ←", "into a run that began at this frame, and back out of it"),
    ("J K", "scroll what a frame shows"),
    ("space", "play, and stop playing"),
    ("f", "follow a run that goes on; moving stops that"),
    ("d", "hold another run beside this one"),
    ("q", "leave"),
)

_JUMPS: dict[str, tuple[Wanted, bool]] = {
    "n": ("halted", True),
    "N": ("halted", False),
    "e": ("error", True),
    "E": ("error", False),
    "]": ("tool", True),
    "[": ("tool", False),
    "m": ("near", True),
    "M": ("near", False),
}
_NOTHING: dict[Wanted, str] = {
    "halted": "nothing else was denied or asked",
    "error": "no other error",
    "tool": "no other call of this tool",
    "near": "no other near miss",
}

MAX_LINE = 200
"""Characters that one may type into a line."""


class Frames(Protocol):
    """What is asked of a run while somebody steps through it."""

    def __len__(self) -> int: ...

    def next(self, number: int, wanted: Wanted, *, forward: bool = True) -> int | None: ...

    def within(self, number: int, wanted: Wanted) -> str:
        """Where it is so in a run that began at a frame and not at the frame itself, that."""

    def find(self, text: str, number: int) -> int | None:
        """Raises ValueError, with why, for words that cannot be looked for."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody is in a run, and what they are about to do.

    `line` is what they type behind `asking` (`/`, `g` or `d`), which is empty where they do not.
    `known` is how many frames there were when they stopped following. `other` names the run that
    is held beside this one. `turn` is a wish to go into a run that began here, or back out.
    """

    at: int = 1
    scroll: int = 0
    follows: bool = False
    plays: bool = False
    helps: bool = False
    leaves: bool = False
    asking: str = ""
    line: str = ""
    text: str = ""
    other: str = ""
    known: int = 0
    turn: Literal["", "in", "out"] = ""
    says: str = ""


def pressed(state: State, key: str, frames: Frames) -> State:
    """The state after one key: a character, or the name of a key such as `down` or `enter`."""
    state = _to(state, says="")
    if state.asking:
        return _typed(state, key, frames)
    if state.helps:
        # Whatever it is, it puts the help away.
        return _to(state, helps=False, leaves=key == "q")
    match key:
        case "j" | "down" | "enter":
            return _moved(state, state.at + 1, frames)
        case "k" | "up":
            return _moved(state, state.at - 1, frames)
        case "home":
            return _moved(state, 1, frames)
        case "end" | "G":
            return _moved(state, len(frames), frames)
        case "J" | "pagedown":
            return _to(state, scroll=state.scroll + 5)
        case "K" | "pageup":
            return _to(state, scroll=max(state.scroll - 5, 0))
        case " ":
            return _to(state, plays=not state.plays, follows=False, known=len(frames))
        case "f":
            return _followed(state, frames)
        case "l" | "right":
            return _to(state, turn="in", plays=False)
        case "h" | "left":
            return _to(state, turn="out", plays=False)
        case "d" if state.other:
            return _to(state, other="")
        case "/" | "g" | "d":
            return _to(state, asking=key, line="", plays=False)
        case "?":
            return _to(state, helps=True)
        case "q" | "escape" | "ctrl-d":
            return _to(state, leaves=True)
    if key in _JUMPS:
        wanted, forward = _JUMPS[key]
        found = frames.next(state.at, wanted, forward=forward)
        if found is None:
            return _to(state, says=_NOTHING[wanted])
        return _to(_moved(state, found, frames), says=frames.within(found, wanted))
    return state


def grown(state: State, frames: Frames) -> State:
    """The state once the run has new frames."""
    if state.follows:
        return _to(state, at=max(len(frames), 1), scroll=0, known=len(frames))
    return state


def ticked(state: State, frames: Frames) -> State:
    """The state a moment later, where somebody plays the run."""
    if not state.plays:
        return state
    if state.at >= len(frames):
        return _to(state, plays=False)
    return _to(state, at=state.at + 1, scroll=0)


def _typed(state: State, key: str, frames: Frames) -> State:
    if key in ("escape", "ctrl-d"):
        return _to(state, asking="", line="")
    if key == "backspace":
        # From an empty line it leads back to where one was.
        return _to(state, line=state.line[:-1], asking=state.asking if state.line else "")
    if key == "enter":
        return _asked(_to(state, asking="", line=""), state.asking, state.line, frames)
    if len(key) == 1 and len(state.line) < MAX_LINE:
        return _to(state, line=state.line + key)
    return state


def _asked(state: State, asking: str, line: str, frames: Frames) -> State:
    if asking == "d":
        return _to(state, other=line.strip())
    if asking == "g":
        if not line.strip():
            return _moved(state, len(frames), frames)
        if re.fullmatch(r"[0-9]{1,9}", line.strip()) is None:
            return _to(state, says="a frame is named by its number")
        return _moved(state, int(line), frames)
    text = line or state.text
    if not text:
        return state
    try:
        found = frames.find(text, state.at)
    except ValueError as problem:
        return _to(state, says=str(problem))
    state = _to(state, text=text)
    return (
        _to(state, says="no further frame has it")
        if found is None
        else _moved(state, found, frames)
    )


def _moved(state: State, at: int, frames: Frames) -> State:
    at = min(max(at, 1), max(len(frames), 1))
    known = len(frames) if state.follows else state.known
    return _to(state, at=at, scroll=0, follows=False, plays=False, known=known)


def _followed(state: State, frames: Frames) -> State:
    if state.follows:
        return _to(state, follows=False, known=len(frames))
    return _to(
        state, follows=True, plays=False, at=max(len(frames), 1), scroll=0, known=len(frames)
    )


def _to(state: State, **about: object) -> State:
    return msgspec.structs.replace(state, **about)


_SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
}
_CONTROLS = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x04": "ctrl-d"}
_SEQUENCE = re.compile("\x1b(?:\\[[0-9;]*[A-Za-z~]|O[A-Z])")


def keys(read: str) -> list[str]:
    """The keys that a terminal has sent. What is no key of ours is none."""
    found: list[str] = []
    at = 0
    while at < len(read):
        sequence = _SEQUENCE.match(read, at)
        if sequence is not None:
            at = sequence.end()
            if sequence[0] in _SEQUENCES:
                found.append(_SEQUENCES[sequence[0]])
            continue
        char = read[at]
        at += 1
        if char == "\x1b":
            found.append("escape")
        elif char in _CONTROLS:
            found.append(_CONTROLS[char])
        elif char.isprintable():
            found.append(char)
    return found
