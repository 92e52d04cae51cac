"""Marks and the words beside them: how a frame and what became of it is told at a glance. Pure.

The terminal, the console's pages and its replay all show these, each in its own colours: `tone`
names one of a few, and an icon and a word always stand beside it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Tone: TypeAlias = Literal["allow", "ask", "deny", "mod", "model"]


class Mark(NamedTuple):
    """A decision at a glance. Colour never stands alone: icon and word say the same."""

    tone: Tone
    icon: str
    word: str


ALLOWED = Mark("allow", "✓", "allowed")
ASKED = Mark("ask", "?", "asked")
DENIED = Mark("deny", "✕", "denied")
DEFERRED = Mark("ask", "?", "deferred")
MODIFIED = Mark("mod", "~", "modified")
MODEL = Mark("model", "◇", "model")
USER = Mark("model", "○", "user")
STOPPED = Mark("deny", "■", "stopped")
RESUMED = Mark("allow", "▶", "resumed")
IMPORTED = Mark("model", "↓", "imported")
CHANGED = Mark("deny", "!", "changed")
WITHIN = Mark("model", "↳", "within")

OF_FRAMES = (
    *(ALLOWED, ASKED, DENIED, DEFERRED, MODIFIED, MODEL, USER, STOPPED, RESUMED, IMPORTED),
    CHANGED,
)
"""Those that `of` gives, in an order that stays."""

VERDICTS: Mapping[str, Mark] = {
    "allow": ALLOWED,
    "ask": ASKED,
    "deny": DENIED,
    "defer": DEFERRED,
}

STANDINGS: Mapping[str, Mark] = {
    "signed": Mark("allow", "✓", "signed"),
    "unsigned": Mark("model", "·", "unsigned"),
    "archived": Mark("ask", "↓", "archived"),
    "redacted": Mark("mod", "~", "redacted"),
    "doubtful": Mark("deny", "!", "doubtful"),
    "changed": CHANGED,
}
"""How an entry stands to the ledger."""

VOUCHED: Mapping[str, str] = {
    "signed": "vouched for by a signed checkpoint",
    "unsigned": "in the ledger's tree, not signed yet",
    "archived": "in an archive that is not at hand",
    "redacted": "redacted for this file: nothing proves what is left of it",
    "doubtful": "does not lead to the ledger's root",
    "changed": "changed since it was written",
}
"""The same in words."""

NEAR: Mapping[str, str] = {
    "approved": "a person was asked, and said yes",
    "shadow": "something that is only tried out would have denied it",
    "limit": "it came close to a limit, or ran in spite of one",
    "retried": "it was denied just before, with other arguments",
    "edited": "a person has changed it, and then said yes",
    "rejected": "a person was asked, and said no",
    "nudged": "it was repeated until the model was told",
    "failed": "it went wrong, or nobody knows how it ended",
}
"""Why a call was a near miss."""

LABELS: Mapping[str, str] = {
    "right": "to stop it is right",
    "false": "to stop it would be a false alarm",
}
"""What a person has said of a call."""

_KINDS: Mapping[str, Mark] = {"model": MODEL, "user": USER, "changed": CHANGED}
_STATUSES: Mapping[str, tuple[Tone, str]] = {
    "ok": ("allow", "✓"),
    "not_started": ("model", "·"),
    "unknown": ("deny", "?"),
}


def of(
    kind: str,
    verdict: str | None = None,
    *,
    asked: bool = False,
    modified: bool = False,
    event: str | None = None,
) -> Mark:
    """The mark of a frame.

    A call that people were asked about is marked as asked though it ran in the end, since that
    is what sets it apart; `event` is what a switch did, for one of the kind `control`.
    """
    if kind == "control":
        return RESUMED if event == "resumed" else STOPPED
    if kind != "call":
        return _KINDS[kind]
    if verdict is None:
        # What a rerun was stopped at was never made; all else of the kind was brought in.
        return STOPPED if event == "not_started" else IMPORTED
    if verdict == "allow" and asked:
        return ASKED
    if verdict == "allow" and modified:
        return MODIFIED
    return VERDICTS[verdict]


def of_standing(standing: str) -> Mark:
    """How an entry stands to the ledger, with what that means in words."""
    return STANDINGS[standing]._replace(word=VOUCHED[standing])


def of_status(status: str) -> Mark:
    """The mark of how a call ended."""
    tone, icon = _STATUSES.get(status, ("deny", "✕"))
    return Mark(tone, icon, status.replace("_", " "))
