"""Which step of the record the code is at: the heart of a rerun. Pure.

The code makes its steps again, and each has to be one that the record has next: of the same run,
of the same kind and name, with the same arguments. Where steps may change places (`steps` says
which), it is looked for among those; the first that is nowhere is where the code has diverged.
Where other programs have gone on with a call that was left, the code owes their steps once it has
resumed that call, and not before.

A lane is what does one thing after the other, such as a thread or a task. What the record has one
by one, and the lane that the run itself is in does the other way round, is another order, even
between two turns. Of the threads and tasks that such a lane has set to work nobody can say so:
which of them comes first is chance.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from saferun.errors import Diverged, Unanswered
from saferun.replay.rerun.likeness import alike
from saferun.replay.rerun.programs import FIRST
from saferun.replay.rerun.steps import Kind, Script, Step
from saferun.replay.rerun.words import Left, sentence

Lane: TypeAlias = Hashable

Fits: TypeAlias = Callable[[Step], bool]


class Now(NamedTuple):
    """A step that the code makes. `fits` says whether one of that kind and name is this."""

    kind: Kind
    name: str | None
    key: bytes
    fits: Fits
    document: Mapping[str, Any]


class About(NamedTuple):
    """A run of the code's: its id now, its agent, the runs above it, and what it said of itself."""

    run: str
    agent: str | None
    lineage: Sequence[tuple[str, str | None]]
    said: Callable[[Script], str | None] = lambda _: None


class _Track:
    """How far the code has come in one run."""

    def __init__(self, script: Script, begun: Collection[str]) -> None:
        self.script = script
        self._begun = begun
        self.low = 0
        self.own: set[Lane] = set()
        self.furthest: dict[Lane, int] = {}
        self.stopped: dict[tuple[str | None, bytes], Step] = {}
        self._places: defaultdict[tuple[Kind, str | None, bytes], list[int]] = defaultdict(list)
        self._next: dict[tuple[Kind, str | None, bytes], int] = {}
        for place, step in enumerate(script.steps):
            if step.kind == "call":
                self._places[step.kind, step.name, step.key].append(place)

    @property
    def beyond(self) -> int:
        """The number that a frame would have which the record does not have any more."""
        own = [step.frame for step in self.script.steps if step.kind != "run"]
        return max(own, default=0) + 1

    @property
    def next(self) -> int:
        """The number of the frame that the record has next."""
        return next((self.script.steps[at].frame for at in self.left()), self.beyond)

    @property
    def over(self) -> bool:
        """Whether a program that the code goes by has come to the end of this run."""
        return any(each in self.script.ends for each in self._begun)

    @property
    def error(self) -> str | None:
        """The error with which the last of these programs has ended it, None where with none."""
        ended = [each for each in self._begun if each in self.script.ends]
        return self.script.ends[ended[-1]] if ended else None

    def due(self, place: int) -> bool:
        """Whether the code has that step before it."""
        step = self.script.steps[place]
        return not step.taken and step.program in self._begun

    def advance(self) -> None:
        while self.low < len(self.script.steps) and not self.due(self.low):
            self.low += 1

    def rewind(self) -> None:
        """Look anew at what is due: another program has begun."""
        self.low = 0
        self._next.clear()
        self.advance()

    def left(self) -> Iterator[int]:
        """The places of what the code has not done yet."""
        return (at for at in range(self.low, len(self.script.steps)) if self.due(at))

    def exact(self, now: Now) -> int | None:
        """The first place of that very call which is left, None where none is."""
        places = self._places.get((now.kind, now.name, now.key))
        if not places:
            return None
        at = self._next.get((now.kind, now.name, now.key), 0)
        while at < len(places) and not self.due(places[at]):
            at += 1
        self._next[now.kind, now.name, now.key] = at
        return places[at] if at < len(places) else None

    def open_at(self, place: int) -> bool:
        """Whether nothing is left that has to come before that place."""
        steps = self.script.steps
        step, first = steps[place], steps[self.low]
        if place == self.low or (first.turn == step.turn and first.may_swap(step)):
            # All between two turns lie side by side.
            return True
        return all(steps[at].may_swap(step) for at in self.left() if at < place)

    def window(self) -> Iterator[int]:
        """The places that the code may be at next."""
        steps = self.script.steps
        before: list[Step] = []
        for at in self.left():
            step = steps[at]
            if all(each.may_swap(step) for each in before):
                yield at
            elif (
                len(self._begun) == 1
                and before
                and step.began >= max(each.ended for each in before)
                and (step.turn > max(each.turn for each in before))
            ):
                # And so does all that comes later.
                return
            before.append(step)


class Matching:
    """The scripts of a family of runs, and how far the code has come in each."""

    def __init__(self, scripts: Mapping[str, Script], root: str) -> None:
        self.root = root
        self.scripts = scripts
        self._begun = [FIRST]
        self._tracks = {run: _Track(script, self._begun) for run, script in scripts.items()}
        self._placed: dict[str, str] = {}
        self._given: set[str] = set()
        self._born: dict[str, Lane] = {}
        self.latest = scripts[root].began
        """The time of the newest step that the code has come to, in microseconds since 1970."""

    # Which run of the record a run of the code's is.

    def born(self, run: str, lane: Lane) -> None:
        """A run of the code's begins in that lane."""
        self._born[run] = lane

    def named(self, parent: str | None, agent: str | None, prompt: Callable[[Script], bool]) -> str:
        """The id that the record has for a run that begins; `""` where nobody can tell."""
        if parent is None:
            found = [] if self.root in self._given else [self.root]
        else:
            above = self._placed.get(parent, parent)
            found = [
                script.run
                for script in self.scripts.values()
                if script.parent == above
                and script.agent == agent
                and prompt(script)
                and script.run not in self._given
            ]
        if len(found) != 1:
            return ""
        self._given.add(found[0])
        return found[0]

    def track(self, about: About, now: Now, lane: Lane) -> Script:
        """The script of a run that makes a step, which begins there if this is its first.

        Raises Diverged where the record has no such run.
        """
        placed = self._placed.get(about.run)
        if placed is None:
            above: str | None = None
            for run, agent in about.lineage:
                if run not in self._placed:
                    self._place(About(run, agent, ()), above, None, lane)
                above = self._placed[run]
            self._place(about, above, now, lane)
            placed = self._placed[about.run]
        return self.scripts[placed]

    def _place(self, about: About, above: str | None, now: Now | None, lane: Lane) -> None:
        taken = set(self._placed.values())
        if about.run in self.scripts and about.run not in taken:
            found = self.scripts[about.run]
        elif above is None:
            found = self.scripts[self.root]
            if self.root in taken:
                raise self._other_run(about)
        else:
            candidates = [
                script
                for script in self.scripts.values()
                if script.parent == above
                and script.run not in taken
                and (script.agent == about.agent or not script.about)
            ]
            if not candidates:
                raise self._no_such_run(about, above, lane)
            found = next((each for each in candidates if _begins_so(each, now)), candidates[0])
        differs = about.said(found)
        if found.about and found.agent != about.agent:
            raise self._differs(about, found, differs or "agent")
        # Only the first program's prompt and plan are on record: those that began the run.
        if differs is not None and (FIRST in self._begun or differs not in ("prompt", "plan")):
            raise self._differs(about, found, differs)
        self._placed[about.run] = found.run
        if about.run in self._born:
            self._tracks[found.run].own.add(self._born[about.run])
        parent = None if found.parent is None else self._tracks.get(found.parent)
        if parent is not None:
            self._begin(parent, found, lane)

    def _begin(self, parent: _Track, found: Script, lane: Lane) -> None:
        for place in parent.left():
            step = parent.script.steps[place]
            if step.child == found.run:
                if not parent.open_at(place):
                    raise self._missing(parent, lane, step.document())
                self._take(parent, place, lane)
                return

    def _other_run(self, about: About) -> Diverged:
        what = f"another run begins, of {about.agent or 'an agent'}"
        now = {"kind": "begins", "what": what}
        return _diverged(self.root, self._tracks[self.root].beyond, None, now)

    def _no_such_run(self, about: About, above: str, lane: Lane) -> Diverged:
        now = {"kind": "run", "run": about.run, "agent": about.agent}
        return self._missing(self._tracks[above], lane, now)

    def _differs(self, about: About, found: Script, what: str) -> Diverged:
        recorded = {"kind": "begins", "what": f"a run with the {what} {found.about.get(what)!r}"}
        now = {"kind": "begins", "what": f"a run of {about.agent or 'an agent'}, another {what}"}
        return _diverged(found.run, 1, recorded, now)

    # Which step it is.

    def take(self, script: Script, now: Now, lane: Lane) -> Step:
        """The step of the record that the code makes again. Raises Diverged where it has none."""
        track = self._tracks[script.run]
        track.advance()
        place = track.exact(now) if now.kind == "call" else None
        if place is None or not track.open_at(place):
            place = next((at for at in track.window() if _is(script.steps[at], now)), None)
        if place is None:
            again = track.stopped.get((now.name, now.key))
            if now.kind == "call" and again is not None:
                # What is stopped is refused as often as it is tried, and written down now and then.
                return again
            if track.low >= len(script.steps) and not track.over:
                raise Unanswered(
                    f"The record of run {script.run} goes no further: it ends before its run does.",
                    script.run,
                    script.steps[-1].frame if script.steps else None,
                )
            raise self._missing(track, lane, now.document, now)
        return self._take(track, place, lane)

    def _take(self, track: _Track, place: int, lane: Lane) -> Step:
        step = track.script.steps[place]
        ahead = track.furthest.get(lane, -1)
        if ahead > place and not track.script.steps[ahead].overlaps(step):
            before = track.script.steps[ahead].document()
            raise _diverged(step.run, step.frame, step.document(), before)
        step.taken = True
        track.advance()
        if step.kind in ("model", "user"):
            track.own.add(lane)
        if lane in track.own:
            track.furthest[lane] = max(ahead, place)
        if step.kind == "call" and _is_stopped(step):
            track.stopped[step.name, step.key] = step
        self.latest = max(self.latest, step.at)
        return step

    def _missing(
        self, track: _Track, lane: Lane, document: Mapping[str, Any], now: Now | None = None
    ) -> Diverged:
        """The divergence where what the code does is not what the record has next."""
        steps = track.script.steps
        ahead = track.furthest.get(lane, -1)
        if track.low < ahead and not steps[track.low].overlaps(steps[ahead]):
            # The lane that is here has passed it by before.
            step = steps[track.low]
            return _diverged(step.run, step.frame, step.document(), steps[ahead].document())
        window = [steps[at] for at in track.window()]
        alike_ones = (
            step
            for step in window
            if now is not None and (step.kind, step.name) == (now.kind, now.name)
        )
        at = next(alike_ones, window[0] if window else None)
        if at is None:
            end = {"kind": "ends", "error": track.error}
            return _diverged(track.script.run, track.beyond, end, document)
        return _diverged(at.run, at.frame, at.document(), document)

    def next(self, run: str | None = None) -> int:
        """The number of the frame that the record has next in a run, in the one at the top say."""
        return self._tracks[self.root if run is None else run].next

    # When its answer is due.

    def before(self, step: Step, held: Collection[Step]) -> bool:
        """Whether something is left of the run that was over before the end of that step.

        Of what went on at the same time, code that takes whatever comes first goes on with that.
        `held` are steps whose answer is held back for this.
        """
        if any(each.run == step.run and each.over < step.over for each in held):
            return True
        track = self._tracks[step.run]
        track.advance()
        for at in track.left():
            other = track.script.steps[at]
            if other.seq > step.over:
                return False
            if other.kind != "run" and step.seq < other.over < step.over:
                return True
        return False

    def until(self, step: Step) -> float:
        """The seconds from where the run at the top began to where that step was cancelled.

        None, with which the run itself was.
        """
        top = self.scripts[self.root]
        if not top.ends or {"CancelledError", "KeyboardInterrupt"} & set(top.ends.values()):
            return 0
        return max(0, step.ended - top.began) / 1e6 + 1

    # Which programs of the record the code goes by.

    def resume(self, step: Step) -> None:
        """The code goes on from a call that it left as the program has that resumed it."""
        if step.resumed is not None and step.resumed not in self._begun:
            self._begun.append(step.resumed)
            self._rewind()

    def resumed(self, request: str) -> Step | None:
        """The call that the code begins with: one that was left by another program.

        None where it does not begin there, or no other program has gone on from it.
        """
        steps = [step for script in self.scripts.values() for step in script.steps]
        if any(step.taken for step in steps):
            return None
        for step in steps:
            if step.resumed is not None and (step.decision or {}).get("approval") == request:
                self._begun[:] = [step.resumed]
                step.taken = True
                self._rewind()
                return step
        return None

    def _rewind(self) -> None:
        for track in self._tracks.values():
            track.rewind()

    def left(self) -> Iterator[Left]:
        """What of the record is by programs that the code does not go by."""
        steps = [step for each in self.scripts.values() for step in each.steps]
        told = set(self._begun)
        for step in steps:
            if step.resumed is None:
                continue
            pair = (step.resumed, step.program)
            for other, here in (pair, pair[::-1]):
                if here in self._begun and other not in told:
                    told.add(other)
                    own = [each for each in steps if each.program == other and not each.taken]
                    frames = sum(each.kind != "run" for each in own)
                    yield Left(step.run, step.frame, frames, before=other == step.program)

    @property
    def aside(self) -> list[str]:
        """The processes of the record that the code does not go by."""
        steps = [step for each in self.scripts.values() for step in each.steps]
        found = {each.boot for each in steps if each.program not in self._begun}
        found |= {each.resumed for each in steps if each.resumed not in self._begun}
        return sorted(each for each in found if each is not None)

    # Whether all was done.

    def end(self, errors: Mapping[str, str | None]) -> Diverged | None:
        """What the record has and the code has not done, by the time that it is over.

        `errors` are those with which runs of the code ended, by their ids now.
        """
        left = [
            script.steps[place]
            for run, track in self._tracks.items()
            for script in (self.scripts[run],)
            for place in track.left()
            if script.steps[place].kind != "run"
        ]
        endings = {self._placed[run]: error for run, error in errors.items() if run in self._placed}
        if left:
            first = min(left, key=lambda step: (step.at, step.seq))
            now = {"kind": "ends", "error": endings.get(first.run)}
            return _diverged(first.run, first.frame, first.document(), now)
        return next(filter(None, (self.ended(run, error) for run, error in errors.items())), None)

    def ended(self, run: str, error: str | None) -> Diverged | None:
        """A run of the code's has ended with an error of that type, as the record has it not.

        None where it has, or where nobody knows how the run ended.
        """
        placed = self._placed.get(run)
        if placed is None:
            return None
        script, track = self.scripts[placed], self._tracks[placed]
        if not track.over or track.error == error:
            return None
        left = next((script.steps[at] for at in track.left()), None)
        recorded = {"kind": "ends", "error": track.error} if left is None else left.document()
        return _diverged(placed, track.next, recorded, {"kind": "ends", "error": error})


def _is(step: Step, now: Now) -> bool:
    if step.kind != now.kind or (step.kind == "call" and step.name != now.name):
        return False
    return now.fits(step)


def _begins_so(script: Script, now: Now | None) -> bool:
    """Whether a run of the record begins with the step that the code makes."""
    if now is None or not script.steps:
        return False
    return any(_is(step, now) for step in script.steps[:1])


def _is_stopped(step: Step) -> bool:
    reasons = (step.decision or {}).get("reasons", ())
    return any(reason.get("source") == "stop" for reason in reasons)


def _diverged(
    run: str,
    frame: int,
    recorded: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
) -> Diverged:
    return Diverged(
        sentence(run, frame, recorded, now),
        run,
        frame,
        None if recorded is None else dict(recorded),
        None if now is None else dict(now),
    )


def fits_call(args: Any, key: bytes) -> Fits:
    """Whether a call of the record was made with those arguments, as far as it shows them."""

    def fits(step: Step) -> bool:
        return step.key == key or (step.veiled and alike(step.args, args))

    return fits
