"""`saferun.rerun`: an agent's own code against the record of one of its runs.

    with saferun.rerun("ticket-31"):
        main()

Everything that the code asks the world through SafeRun is answered from the record: guarded tools
give what they gave, watched models say what they said, people answer as they have. No tool is
called, and where the code does something else than the record has, it is stopped there.

`saferun run rerun` has a whole program made again. It writes an order, a file of its own that only
its user may read, and names it in `SAFERUN_RERUN`; the program finds it when it imports `saferun`,
and stays in the rerun until it ends.
"""

import atexit
import contextlib
import os
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import msgspec

from saferun import config, recall
from saferun.errors import ConfigError, Diverged, RerunStopped, StoreError

if TYPE_CHECKING:
    from saferun.answering import Answering
    from saferun.barrier import Refused
    from saferun.replay.rerun import Made, Record, Restore
    from saferun.store.index import Index

Pin = Literal["time", "random", "ids"]
"""What a rerun holds fast beside what it answers: see `saferun.pinning`."""

PINS: tuple[Pin, ...] = get_args(Pin)

VARIABLE = "SAFERUN_RERUN"
"""Names the file of an order, in the environment of a program that is to be made again."""

_MAX_ORDER = 64 * 1024

_TOLD = "saferun: RERUN of run {run}: no tool is called, and every answer is from the record."


class Rerun:
    """Make a run again, as a context manager of either kind. One at a time in a process.

    Args:
        run: the run's id, or the path of an incident file. The whole run is made again, with its
            children, from the run at the top on.
        store: the URL of the store that has its record; that of the configuration by default. It
            is read before anything else happens, and never written to.
        pin: of `time`, `random` and `ids`, what is to be the same each time. `time` goes by the
            record; the others by the run's id, since no record has them.
        restore: makes of a tool's name and its result, as JSON has it, the value that the tool
            gave, for tools whose results are of types that JSON lacks; see `Restore`.
        keep: a folder in which what the code did is kept as a run, in place of the one before:
            `saferun run diff` compares it with the record.
        writes: folders in which the code may write. A scratch folder of its own, `scratch`, is one
            of them; all else is refused, and so are connections and other processes.

    Raises, at its beginning:
        StoreError: there is no such run, or its record cannot be read.
        ConfigError: the configuration cannot be used, or another rerun goes on.

    Raises, from within and at its end:
        Diverged: the code does something else than the record has.
        Unanswered: the code does what the record has, and the answer is not to be had any more.

    """

    def __init__(
        self,
        run: str | Path,
        *,
        store: str | None = None,
        pin: Sequence[Pin] = (),
        restore: "Restore | None" = None,
        keep: str | Path | None = None,
        writes: Sequence[str | Path] = (),
    ) -> None:
        odd = [each for each in pin if each not in PINS]
        if odd:
            raise ConfigError(f"pin is of {', '.join(PINS)}, and not {odd[0]!r}")
        self._run = run
        self._store = store
        self._pin = tuple(pin)
        self._restore = restore
        self._keep = None if keep is None else Path(keep).absolute()
        self._writes = tuple(Path(each) for each in writes)
        self._within = contextlib.ExitStack()
        self._answering: Answering | None = None
        self._report: Path | None = None
        self._said: RerunStopped | None = None
        self.scratch: Path | None = None
        self.refused: list[Refused] = []
        """What the code was about to do to the world, and was not let."""

    @property
    def run_id(self) -> str:
        """The run at the top, which is made again."""
        return self._answers.root

    @property
    def frames(self) -> int:
        """How many frames were answered so far."""
        return self._answers.frames

    @property
    def stopped(self) -> RerunStopped | None:
        """Why it went no further, None where it has."""
        return self._answers.stopped

    @property
    def left(self) -> list[str]:
        """What of the record another program did, where a call was left and resumed: in sentences.

        The code owes it once it resumes that call itself.
        """
        return [each.sentence for each in self._answers.left]

    @property
    def decisions(self) -> dict[str, str]:
        """What the record says was decided on each call that the code has made again.

        By its frame: `{"ticket-31#2": "refund: allow"}`, and `refund: allow, asked` where people
        were.
        """
        return dict(sorted(self._answers.decisions.items()))

    def make(self, code: Callable[[], Any]) -> Any:
        """Have code make the run again, all of it, and end the rerun. Returns what it returns.

        `code` is a function or a coroutine function. An error by which the run has ended in the
        record ends it here as well, and goes no further. Raises as the end of a block does.
        """
        try:
            found = code()
            if isinstance(found, Coroutine):
                import asyncio

                found = asyncio.run(found)
        except RerunStopped as stop:
            self._said = stop
            raise
        except Exception as error:
            if not self._answers.ended_by(error):
                raise
            found = None
        self._said = self._answers.end()
        if self._said is not None:
            raise self._said
        return found

    def now(self, tz: tzinfo | None = UTC) -> datetime:
        """The time of the newest frame that the code has come to."""
        return datetime.fromtimestamp(self._answers.now() / 1e6, tz)

    @property
    def _answers(self) -> "Answering":
        if self._answering is None:
            raise RuntimeError("the rerun has not begun; enter it with `with saferun.rerun(...)`")
        return self._answering

    def __enter__(self) -> Self:
        if recall.standing() is not None:
            raise ConfigError("another rerun goes on in this process, and there is one at a time")
        if self._answering is not None:
            raise ConfigError("a rerun is entered once; begin another with saferun.rerun(...)")
        # All of it only here: few programs are ever made again, and the others shall not wait.
        from saferun.answering import Answering
        from saferun.replay.rerun import Matching, scripts

        if self._keep is not None:
            from saferun.replay.rerun import room

            # That nothing can be kept is said before anything is made.
            room(self._keep)
        record = self._read()
        answering = Answering(Matching(scripts(record), record.root), self._restore, self._stopped)
        self._answering = answering
        import tempfile

        with contextlib.ExitStack() as within:
            if self.scratch is None:
                folder = within.enter_context(tempfile.TemporaryDirectory(prefix="saferun-rerun-"))
                self.scratch = Path(folder)
            self._hold(within, record)
            within.enter_context(recall.stand(answering))
            self._within = within.pop_all()
        return self

    def _hold(self, within: contextlib.ExitStack, record: "Record") -> None:
        import platform
        import tempfile

        from saferun.barrier import shut
        from saferun.pinning import pinned_ids, pinned_random, pinned_time

        assert self.scratch is not None
        # What Python and the code put aside has a place that may be written in.
        within.enter_context(_set(tempfile, "tempdir", str(self.scratch)))
        within.enter_context(_set(sys, "dont_write_bytecode", True))
        if "random" in self._pin:
            within.enter_context(pinned_random(record.root))
        if "ids" in self._pin:
            within.enter_context(pinned_ids(record.root))
        if "time" in self._pin:
            within.enter_context(pinned_time(self._answers.now))
        # Clients of models say on what they run. Python asks another program for it, but only once.
        platform.processor()
        self.refused = within.enter_context(shut(self.scratch, *self._writes))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        before = self._answers.stopped
        stopped = self._answers.end()
        self._within.close()
        if self._keep is not None:
            self._put_by(self._keep, stopped)
        if stopped is None or stopped in (error, self._said):
            return
        if before is None and error is not None and not self._answers.ended_by(error):
            # It is not a run that has failed here: a test's own assertion, or an interrupt.
            return
        # It may have been swallowed, or what the code has not done any more is only known now.
        raise stopped

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _read(self) -> "Record":
        """The record, read whole: afterwards, nothing opens the store until all is over."""
        from saferun.replay.rerun import recorded
        from saferun.store.runs import is_run

        with self._index() as (index, run_id):
            reader = index.reader
            if not is_run(reader, run_id) and not index.has("run", run_id):
                raise StoreError(f"There is no run {run_id!r} in {reader.path}.")
            return recorded(index, run_id)

    @contextlib.contextmanager
    def _index(self) -> "Iterator[tuple[Index, str]]":
        from saferun.store import Reader
        from saferun.store.index import Index
        from saferun.store.store import flush_here

        with at_hand(self._run, self._store) as (path, run_id):
            # What this process has recorded of it may still be on its way.
            flush_here(path)
            with Reader(path) as reader, Index(reader) as index:
                index.build()
                yield index, run_id

    def _put_by(self, folder: Path, stopped: RerunStopped | None) -> None:
        from saferun.replay.rerun import keep

        with self._index() as (index, _):
            keep(index, made(self._answers.made, stopped, self._answers.aside), folder)

    def _stopped(self, why: RerunStopped) -> None:
        if self._report is not None:
            _put(self._report, self._told(why, ended=False))

    def _told(self, why: RerunStopped | None, *, ended: bool) -> bytes:
        report = Report(
            run=self._answers.root,
            frames=self._answers.frames,
            ended=ended,
            stopped=None if why is None else _stop_of(why),
            made=self._answers.made,
            left=self.left,
            aside=self._answers.aside,
            refused=[f"{each.event} {each.target}" for each in self.refused],
        )
        return msgspec.json.encode(report)


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rerun goes no further. `diverged` where the code does something else."""

    diverged: bool
    why: str
    run: str | None
    frame: int | None
    recorded: Any = None
    now: Any = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How far a program has come that was made again. `ended` says that it came to its end."""

    run: str
    frames: int
    ended: bool
    stopped: Stop | None = None
    refused: list[str] = []
    made: dict[str, list[int]] = {}
    left: list[str] = []
    aside: list[str] = []


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is to make again, and where to say how far it has come."""

    run: str
    store: str
    scratch: str
    report: str
    pin: list[Pin] = []
    writes: list[str] = []


def made(
    frames: "Mapping[str, Sequence[int]]",
    stopped: "RerunStopped | Stop | None",
    aside: Sequence[str] = (),
) -> "Made":
    """What the code has done, for whoever keeps it."""
    from saferun.replay.rerun import Made

    if not isinstance(stopped, Diverged | Stop):
        return Made(frames=frames, aside=aside)
    return Made(frames=frames, run=stopped.run, now=stopped.now, aside=aside)


def _stop_of(why: RerunStopped) -> Stop:
    told = why if isinstance(why, Diverged) else None
    return Stop(
        diverged=told is not None,
        why=why.why,
        run=why.run,
        frame=why.frame,
        recorded=None if told is None else told.recorded,
        now=None if told is None else told.now,
    )


@contextlib.contextmanager
def _set(of: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(of, name)
    setattr(of, name, value)
    try:
        yield
    finally:
        setattr(of, name, before)


@contextlib.contextmanager
def at_hand(run: str | Path, store: str | None) -> Iterator[tuple[Path, str]]:
    """Where the record of a run lies, and the run's id: the one place that knows of files.

    A run that is named as a path, or ends as such a file does, is that of an incident file, and
    `store` says nothing of it. Raises StoreError where it cannot be read.
    """
    if isinstance(run, Path) or run.endswith(".saferun"):
        from saferun.incident import opened

        with contextlib.ExitStack() as until:
            try:
                found = until.enter_context(opened(Path(run)))
            except OSError as problem:
                raise StoreError(f"{run} cannot be read: {problem.strerror}.") from None
            yield found.path, found.incident.manifest.run
        return
    settings = config.load()
    yield config.sqlite_path(settings.store if store is None else store), run


def enlist() -> None:
    """Have this program make the run again that its environment orders, until it ends.

    Called by the import of `saferun`. An order that cannot be followed ends the program: it was
    to be a rerun, and must not go on as anything else. Raises ConfigError or StoreError.
    """
    order = _order(Path(os.environ[VARIABLE]))
    print(_TOLD.format(run=order.run), file=sys.stderr, flush=True)  # noqa: T201 - to be heard
    again = Rerun(order.run, store=order.store, pin=order.pin, writes=order.writes)
    again.scratch = Path(order.scratch)
    again._report = Path(order.report)  # noqa: SLF001 - of one room
    again.__enter__()
    atexit.register(_ended, again)


def _ended(again: Rerun) -> None:
    assert again._report is not None  # noqa: SLF001 - of one room
    stopped = again._answers.end()  # noqa: SLF001
    # Nothing is let go: what comes after this must not find the world open.
    _put(again._report, again._told(stopped, ended=True))  # noqa: SLF001


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _order(path: Path) -> Order:
    """The order in a file that nobody but this user can have written. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            data = file.read(_MAX_ORDER)
    except OSError as problem:
        raise ConfigError(
            f"{VARIABLE} names {path}, which cannot be read: {problem.strerror}."
        ) from None
    others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if about.st_uid != os.getuid() or others or not stat.S_ISREG(about.st_mode):
        raise ConfigError(f"{VARIABLE} names {path}, which others may have written.")
    try:
        return msgspec.json.decode(data, type=Order)
    except msgspec.MsgspecError:
        raise ConfigError(
            f"{VARIABLE} names {path}, which is no order of saferun run rerun."
        ) from None
