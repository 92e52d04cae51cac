r"""Entries as CSV, for people and their spreadsheets.

A spreadsheet takes a cell that begins with =, +, -, @ or the like for a formula, and runs it. What
models and tools say is in these cells, so an apostrophe goes before it, which spreadsheets show as
text. https://owasp.org/www-community/attacks/CSV_Injection

Nor does a cell hold characters that are not seen for what they are: they are named, `\x1b`, or
in JSON escaped as JSON has it. Line breaks stay, in quotes.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from saferun.export.source import Piece
from saferun.ledger import leaf_hash
from saferun.unseen import named, unseen

COLUMNS = (
    *("entry", "time", "kind", "run", "agent", "user", "tenant", "tool", "verdict", "status"),
    *("rules", "policy", "version", "person", "arguments", "said", "host", "leaf"),
)

_BEGINS = "=+\\-@|\n\uff1d\uff0b\uff0d\uff20\uff5c\ufe66\ufe62\ufe63\ufe6b\u2212"
"""What a formula begins with, also in the wide and small forms that some take for the same.

A pipe speaks to other programs. Tabs and carriage returns, which some skip, are named before.
"""

_FORMULA = re.compile(rf'(^|\n|;|%0[AD])(?=[ "]*[{_BEGINS}])', re.IGNORECASE)
"""Where a formula may begin: in a cell, and in what becomes one for a reader that parts it.

By lines; by semicolons, as where a comma is the decimal sign; or after it has taken `%0A` for a
line break.
"""

_BREAK = re.compile(r"%0[AD]", re.IGNORECASE)

MAX_CELL = 32_000
"""Characters of one cell: spreadsheets cut them at 32,767, some in silence."""


def head() -> bytes:
    return _row(COLUMNS)


def line(piece: Piece) -> bytes:
    """One entry as one row. It may hold line breaks, in quotes."""
    entry, fields = piece.entry, piece.entry.fields
    policy = fields.get("policy") or {}
    said = next((fields[key] for key in _SAID if fields.get(key) is not None), None)
    user = fields.get("user")
    return _row(
        (
            str(entry.seq),
            when(entry.time),
            entry.kind,
            fields.get("run"),
            fields.get("agent"),
            user.get("id") if isinstance(user, Mapping) else user,
            fields.get("tenant"),
            fields.get("tool"),
            fields.get("verdict"),
            fields.get("status") or fields.get("event"),
            ", ".join(reason["id"] for reason in fields.get("reasons", ())),
            policy.get("name") or (fields.get("name") if entry.kind == "policy" else None),
            policy.get("version") or fields.get("live"),
            fields.get("by"),
            fields.get("args"),
            said,
            fields.get("host"),
            leaf_hash(piece.body).hex(),
        )
    )


_SAID = ("reason", "error", "result", "output", "text", "prompt", "value", "origin")
"""What an entry says in one cell: the first of these that it has."""


def when(at: int) -> str:
    """A time in ISO 8601, UTC, to the microsecond."""
    try:
        moment = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    except (OverflowError, ValueError, OSError):
        return str(at)
    return moment.isoformat().replace("+00:00", "Z")


def _row(cells: Sequence[Any]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_cell(cell) for cell in cells])
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        text = _seen(value[:MAX_CELL], named)
    else:
        text = _seen(msgspec.json.encode(value).decode()[:MAX_CELL], _escaped)
    text = _FORMULA.sub(r"\1'", text[:MAX_CELL])
    return f"'{text}" if _BREAK.search(text) and not text.startswith("'") else text


def _seen(text: str, shown: Callable[[str], str]) -> str:
    return "".join(shown(char) if unseen(char) and char != "\n" else char for char in text)


def _escaped(char: str) -> str:
    """A character as JSON has it in ASCII; DEL is the one that `json` leaves."""
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
