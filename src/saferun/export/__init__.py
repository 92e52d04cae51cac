"""The ledger, or some of it, taken elsewhere: to an auditor, a web server, a SIEM, a spreadsheet.

`source` gives the entries, each held against its leaf; a form turns them into bytes; `lines` and
`tiles` put those where they shall be, so that an export that was interrupted goes on and one that
is repeated adds only what is new. Nothing here is ever held in memory as a whole.
"""

from saferun.export.source import ExportError, Piece, bodies, matching, pieces

__all__ = ["ExportError", "Piece", "bodies", "matching", "pieces"]
