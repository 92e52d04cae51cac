"""Entries as CSV, for people and their spreadsheets.

A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage return for a formula,
and runs it. What models and tools say is in these cells, so an apostrophe goes before it, which
spreadsheets show as text. https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from saferun.export.source import Piece
from saferun.ledger import leaf_hash

COLUMNS = (
    *("entry", "time", "kind", "run", "agent", "user", "tenant", "tool", "verdict", "status"),
    *("rules", "policy", "version", "person", "arguments", "said", "host", "leaf"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, also in the wide forms that some spreadsheets take for the same."""

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
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    # A NUL ends a cell for some readers, and what comes behind it is lost.
    text = text[:MAX_CELL].replace("\0", "\ufffd")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
