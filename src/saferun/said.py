"""What people have asked for in a run, as conditions read it: `run.said`.

The prompt of the run at the top, and the messages of its user. A prompt further down is written by
the agent above, which may be repeating what a tool has told it; so it does not count, and neither
does anything else that a model or a tool says.

It is known as far as an entry of the ledger holds it, and known whole or not at all: whoever looked
at a part would take for unsaid what was said.
"""

from collections.abc import Container
from typing import Any, TypeAlias

from saferun.call import RunRef, canonical
from saferun.keeping import MAX_ABOUT, MAX_MESSAGE

Texts: TypeAlias = "tuple[str, ...] | None"
"""Each text once, in the order in which they came; None where some of it is not known."""

MAX_SAID = 64 * 1024
"""Characters of all texts together; of a run in which people say more, it is not known."""

_MOST_A_CHARACTER = 6
"""Bytes of JSON."""


def begun(before: Texts, prompt: Any, unkept: Container[str] = ()) -> Texts:
    """What was said once a run has begun at the top, given what its first entry holds of it."""
    if prompt is None:
        return None if "prompt" in unkept else before
    return _further(before, prompt, MAX_ABOUT)


def heard(before: Texts, text: Any) -> Texts:
    """What was said once the user has said more, given what the entry holds of that."""
    return _further(before, text, MAX_MESSAGE)


def by_people(run: RunRef) -> bool:
    """Whether people have said what is recorded as the messages of a user.

    An application says so itself. In a run within a run of an imported file, the messages are
    those of the agent above.
    """
    return run.parent is None or not run.imported


def joined(first: Texts, then: Texts) -> Texts:
    """What was said first, and what was said then."""
    for each in then or ():
        first = _with(first, each)
    return None if then is None else first


def _further(before: Texts, value: Any, most: int) -> Texts:
    text = _text(value)
    if text is None or not _whole(text, most):
        return None
    return _with(before, text)


def _with(before: Texts, text: str) -> Texts:
    if before is None or text in before:
        return before
    whole = (*before, text)
    return whole if sum(map(len, whole)) <= MAX_SAID else None


def _text(value: Any) -> str | None:
    """A text, or a message whose parts are texts; None for all else, as what stands for a value."""
    if isinstance(value, list) and value:
        parts = [
            each.get("text") if isinstance(each, dict) and each.get("type") == "text" else None
            for each in value
        ]
        return None if any(type(each) is not str for each in parts) else "\n".join(map(str, parts))
    return value if type(value) is str else None


def _whole(text: str, most: int) -> bool:
    """Whether it is what was said, and neither cut nor redacted."""
    if "[redacted: " in text:
        return False
    # What was cut has more than that, since how much there was stands behind it.
    return len(text) * _MOST_A_CHARACTER <= most or len(canonical.encode(text)) <= most
