"""The words in which something is searched for: what tells a question put otherwise from the next.

Twelve searches for one thing that find nothing are a loop, however they are worded. Twelve
invoices that have no duplicate are work. They differ in that the searches share words.
"""

import re

MOST = 4
"""How many words of a call are looked at."""

_STEM = 5
"""Letters by which words are told apart: `refund`, `refunds` and `refunded` are one."""

_PREFIX = 1024

# A text of several words, or a single one that a search is given. What is written, judged or
# translated is no question: a batch of reviews shares words as well.
_TEXT = re.compile(
    rb'"(?:q|query|search(?:_?(?:query|term|text))?|question|keywords?|pattern|terms?|prompt)"'
    rb':"((?:[^"\\]|\\.)*+)"'
    rb'|"(?!(?:text|body|content|comment|message|code|review|note|document|html|data|reason'
    rb'|description|subject|title)")\w+"'
    rb':"([^"\\ ]++ (?:[^"\\]|\\.)*+)"'
)

# Whole words alone: what holds a digit, a dot or an @ is an id, and tells one thing from the next.
_WORD = re.compile(rb"(?<![^\s(\['])[A-Za-z\x80-\xff]{3,40}(?![^\s)\]',.;:?!])")

_COMMON = frozenset(
    b"and are corp for from group how inc limit llc ltd gmbh not the was what when where which "
    b"with compa".split()
)


def asked(data: bytes) -> list[bytes]:
    """Stems of the first words in the canonical JSON of arguments."""
    found: list[bytes] = []
    for named, prose in _TEXT.findall(data, 0, _PREFIX):
        for word in _WORD.findall(named or prose):
            stem = word[:_STEM].lower()
            if stem not in _COMMON and stem not in found:
                found.append(stem)
                if len(found) == MOST:
                    return found
    return found
