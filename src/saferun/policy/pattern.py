"""Which patterns mean the same to every engine."""

import re

_ALIKE = re.compile(r"(?:[^\\\[]|\\[^<>]|\[\^?+\]?+(?:[^\\\[\]]|\\.)*+\])*+", re.DOTALL)


def alike(pattern: str) -> bool:
    r"""Whether a pattern is free of what engines read in different ways.

    That is `[[:alpha:]]`, a class within a class, and `\<`. Ours would take the first for a
    class of six characters and never say so.
    """
    return _ALIKE.fullmatch(pattern) is not None
