"""`saferun serve`: the console, and what nobody should have to think of, until told to stop."""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import time_ns
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.ledger.anchor import line, told
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.screen import ALLOWED, beside, counted, document, moment, put, screen
from saferun.config import Config, sqlite_path
from saferun.errors import SafeRunError

if TYPE_CHECKING:
    from saferun.anchor import Place, Round
    from saferun.console import Who
    from saferun.store import Store


PORT = 7391
"""Where the console listens if nobody says otherwise."""


def serve(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; this machine alone by default.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes any that is free.")
    ] = PORT,
    person: Annotated[
        str | None, typer.Option("--as", metavar="PERSON", help="Who the one-time link logs in.")
    ] = None,
    print_link: Annotated[
        bool,
        typer.Option("--print-link", help="Print the one-time link where no terminal shows it."),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show the console, bring requests to people, anchor the ledger.

    It ends by Ctrl-C or SIGTERM, and before it ends it goes to all places once more. Exits 0.
    """
    from saferun.anchor import Schedule, follow, go_round, places

    chosen = settings(store)
    path = sqlite_path(chosen.store)
    known = places(chosen)
    if not path.exists():
        raise CannotError(f"There is no store at {path} yet; saferun init makes it.")
    missing = lacking()
    if missing is not None and not known:
        raise CannotError(
            f"{missing} Or name a place for checkpoints under [anchors] in "
            f"{chosen.file or 'saferun.toml'}, which needs no console."
        )
    leaving = threading.Event()
    say = _Saying(chosen, as_json=as_json, link=print_link)
    with until_told(leaving), contextlib.ExitStack() as open_:
        if missing is None:
            _open(chosen, say, open_, host=host, port=port, person=person)
        else:
            say.without(missing)
        if known:
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
        leaving.wait()
        say.ended()
    return 0


def lacking() -> str | None:
    """What the console needs and is not installed, as a sentence."""
    from importlib.util import find_spec

    needed = ("starlette", "uvicorn", "jinja2", "sse_starlette")
    if all(find_spec(each) is not None for each in needed):
        return None
    return "The console needs its extra: pip install 'saferun-sdk[console]'."


def _open(
    chosen: Config,
    say: "_Saying",
    until: contextlib.ExitStack,
    *,
    host: str,
    port: int,
    person: str | None,
) -> None:
    """Open the console, have the courier bring what is open, and say where the console is."""
    from saferun.channel import configured
    from saferun.channel.courier import courier
    from saferun.console import Console, Server, is_loopback
    from saferun.store.shared import shared_store

    if not is_loopback(f"[{host}]" if ":" in host else host) and not _safe(chosen):
        raise CannotError(
            f"At {host}, people's secrets would cross the network for all to read; put a proxy "
            "with TLS in front, and say its https address as `url` under [approval]."
        )
    kept = shared_store(chosen.store, chosen)
    channels = configured(chosen)
    console = Console(kept, chosen, channels=channels)
    server = Server(console.app, host, port)
    until.callback(server.stop)
    until.callback(console.close)
    who = _who(kept, chosen, person)
    server.start()
    threading.Thread(target=console.history.index, name="saferun-index", daemon=True).start()
    console.verification.begin_short()
    bringing = courier(kept, console.desk)
    until.callback(bringing.close)
    bringing.take_over(channels)
    where = chosen.approval.url or server.url
    if say.links:
        say.opened(f"{where}/enter#{console.sessions.link(who)}", who.person)
    else:
        say.open(where)


def _safe(chosen: Config) -> bool:
    return (chosen.approval.url or "").startswith("https://")


def _who(kept: "Store", chosen: Config, person: str | None) -> "Who":
    """Whom the link logs in: who is logged in here, and else somebody who may only look.

    Raises CannotError where `person` is named and is not logged in.
    """
    from saferun.cli.login import credential
    from saferun.console import NOBODY, Who
    from saferun.store import Vouch, WrongSecretError

    try:
        name, secret = credential(person, kept)
        kept.commit(Vouch(name, secret))
    except (CannotError, WrongSecretError):
        if person is not None:
            raise
        return NOBODY
    known = chosen.people.get(name)
    return Who(name, "viewer" if known is None else known.role, secret)


class _Saying:
    """What is told as it happens: a line for people, or a document for programs."""

    def __init__(self, chosen: Config, *, as_json: bool, link: bool) -> None:
        self._anchors = chosen.anchors
        self._as_json = as_json
        # Whatever is no terminal is a log, and read by others than whoever has started this.
        self.links = as_json or link or sys.stdout.isatty()

    def open(self, where: str) -> None:
        """Where the console is. A link that logs in goes into no log."""
        self._line(
            "console",
            f"{where}/login; a link that logs in is printed in a terminal, or with --print-link",
        )

    def opened(self, link: str, person: str | None) -> None:
        """The link goes to whoever has started this, and nowhere else."""
        if self._as_json:
            document({"url": link, "event": "opened", "time": _now()})
            return
        whom = f"logs in {person}" if person is not None else "lets one look"
        self._line("console", f"this link {whom}, once, within five minutes:")
        sys.stdout.write(f"\n  {link}\n\n")
        sys.stdout.flush()

    def without(self, lacking: str) -> None:
        """The console is not there. Checkpoints need none."""
        if self._as_json:
            self._document("no console", why=lacking)
        else:
            self._line("!", lacking, "yellow")

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
def until_told(leaving: threading.Event) -> Iterator[None]:
    """Set `leaving` at the first SIGINT or SIGTERM; a second one ends the process at once."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    heard, tell = socket.socketpair()
    tell.setblocking(False)

    def leave(number: int, _: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])

    def listen() -> None:
        # Not by the handler: that runs in the main thread, which may just be about to wait for
        # the event, and then nothing wakes it. What the interpreter writes here is there at once.
        while number := heard.recv(1):
            if number[0] in before:
                leaving.set()

    listening = threading.Thread(target=listen, name="saferun-signals", daemon=True)
    listening.start()
    woken = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    for each in before:
        signal.signal(each, leave)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for each, handler in before.items():
            signal.signal(each, handler)
        tell.close()
        listening.join()
        heard.close()
