"""Text from a model or a tool, made safe to print in a terminal.

Escape sequences can rewrite what stands above them on the screen, and direction marks can
turn `deny` into `yned`: a person must see what would run, so both are shown as what they
are and never sent to the terminal.
"""

from saferun.unseen import named, unseen

_SHOWN = {"\n": "⏎", "\t": "⇥"}


def inert(text: str, limit: int | None = None) -> str:
    """One line of `text` with every control and format character made visible.

    A text longer than `limit` is cut, and says by how much.
    """
    left = 0
    if limit is not None and len(text) > limit:
        left = len(text) - limit
        text = text[:limit]
    if text.isascii() and text.isprintable():
        # Most texts are, and long ones are looked through at once.
        shown = text
    else:
        shown = "".join(
            (_SHOWN.get(char) or named(char)) if unseen(char) else char for char in text
        )
    return f"{shown}… ({left:,} more characters)" if left else shown
