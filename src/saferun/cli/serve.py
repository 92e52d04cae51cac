"""`saferun serve`: keeps at what nobody should have to think of, until it is told to stop."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import time_ns
from types import FrameType
from typing import TYPE_CHECKING

from saferun.approval.inert import inert
from saferun.cli.ledger.anchor import line, told
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.screen import ALLOWED, beside, counted, document, moment, put, screen
from saferun.config import Config, sqlite_path
from saferun.errors import SafeRunError

if TYPE_CHECKING:
    from saferun.anchor import Place, Round


def serve(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Take checkpoints outside on their schedule, until told to end.

    That is by Ctrl-C or SIGTERM, and before it ends it goes to all places once more. Exits 0.
    """
    from saferun.anchor import Schedule, follow, go_round, places

    chosen = settings(store)
    path = sqlite_path(chosen.store)
    known = places(chosen)
    if not known:
        raise CannotError(
            "There is nothing to serve: name a place for checkpoints under [anchors] in "
            f"{chosen.file or 'saferun.toml'}."
        )
    if not path.exists():
        raise CannotError(f"There is no store at {path} yet; saferun init makes it.")
    leaving = threading.Event()
    say = _Saying(chosen, as_json=as_json)
    with _until_told(leaving):
        say.begun(known)
        follow(
            known,
            Schedule([place.name for place in known], chosen.anchors.seconds),
            lambda some, most: go_round(
                path, some, signing=chosen.signing, most=most, leaving=leaving
            ),
            say.heard,
            leaving,
        )
        say.ended()
    return 0


class _Saying:
    """What is told as it happens: a line for people, or a document for programs."""

    def __init__(self, chosen: Config, *, as_json: bool) -> None:
        self._anchors = chosen.anchors
        self._as_json = as_json

    def begun(self, known: "Sequence[Place]") -> None:
        if self._as_json:
            self._document("begun", places=[place.name for place in known])
        else:
            many = counted(len(known), "place")
            self._line("serving", f"{many}, every {self._anchors.every}; Ctrl-C ends it")

    def heard(self, found: "Round | SafeRunError") -> None:
        if self._as_json and isinstance(found, SafeRunError):
            self._document("failed", failed=str(found))
        elif self._as_json:
            assert not isinstance(found, SafeRunError)
            self._document("anchored", **told(found, self._anchors.quorum))
        elif isinstance(found, SafeRunError):
            self._line("!", inert(str(found), 600), "yellow")
        else:
            for place, kept in found.places:
                mark, said = line(place, kept)
                self._line(mark.plain.strip(), said.plain, str(mark.style))

    def ended(self) -> None:
        if self._as_json:
            self._document("ended")
        else:
            self._line(ALLOWED.icon, "ended", ALLOWED.style)

    def _document(self, event: str, **about: object) -> None:
        document({"event": event, "time": _now(), **about})

    def _line(self, mark: str, said: str, style: str = "") -> None:
        from rich.text import Text

        console = screen()
        lead = Text.assemble((f"{moment(_now())}  ", "dim"), (f"{mark} ", style))
        put(console, beside(console, lead, said))


def _now() -> int:
    return time_ns() // 1000


@contextmanager
def _until_told(leaving: threading.Event) -> Iterator[None]:
    """Set `leaving` at the first SIGINT or SIGTERM; a second one ends the process at once."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def leave(number: int, _: FrameType | None) -> None:
        leaving.set()
        signal.signal(number, before[signal.Signals(number)])

    for each in before:
        signal.signal(each, leave)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
