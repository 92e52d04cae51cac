"""How pages are made from their templates, and what is answered where none can be made."""

import logging
from pathlib import Path

import jinja2
from starlette.responses import PlainTextResponse, Response

from saferun.approval.inert import inert
from saferun.console.before import IndexingError
from saferun.console.sent import TooLargeError, UnreadableError
from saferun.console.workroom import BusyError
from saferun.store.sqlite import FullError

log = logging.getLogger("saferun")


def templates() -> jinja2.Environment:
    """The templates of all pages: everything that is put into one is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def failed(problem: Exception, why: str) -> Response:
    """What is answered where something went wrong; `why` where it is not for whoever asks."""
    if isinstance(problem, (TooLargeError, UnreadableError)):
        status = 413 if isinstance(problem, TooLargeError) else 400
        return PlainTextResponse(inert(str(problem), 600), status)
    if isinstance(problem, (IndexingError, BusyError)):
        return PlainTextResponse(str(problem), 503, {"retry-after": "30"})
    if isinstance(problem, FullError):
        why = "The disk of the store is full: free some space there, and load this page again."
    # What is wrong with it names paths of this machine.
    log.error("saferun: the console could not answer: %s", problem)
    return PlainTextResponse(why, 503)
