"""What answers in a rerun: each step of the code is found in the record, and given what it gave.

One of them holds for a whole rerun. It latches at the first thing that the record does not have:
whatever the code tries after that is stopped the same way, should it have swallowed the first.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from saferun import conversation
from saferun.call import Call, Decision, Outcome, PolicyRef, Reason, RunRef, Status
from saferun.conversation import Given
from saferun.errors import ApprovalPending, Diverged, RerunStopped, Unanswered
from saferun.listening import tell
from saferun.recall import Spoken
from saferun.replay.rerun import (
    About,
    Lane,
    Left,
    Matching,
    Now,
    Restore,
    Script,
    Step,
    Talk,
    alike,
    alike_spoken,
    failure,
    fits_call,
    items,
    key,
    no_to,
    restored,
    shown,
    streams,
    without_words,
)
from saferun.run import ModelTurn, Run, current

MOST_IDLE = 100
"""Turns of an event loop for which a call waits for another one that does not come."""


class Answering:
    """Answers from a record, for all threads and tasks of a process."""

    def __init__(
        self,
        matching: Matching,
        restore: Restore | None,
        stopped: Callable[[RerunStopped], None] = lambda _: None,
    ) -> None:
        self._matching = matching
        self._restore = restore
        self._told = stopped
        self._lock = threading.RLock()
        self._talks: dict[str, Talk] = {}
        self._left: dict[str, Step] = {}
        self._checked: dict[tuple[str, str, str, bytes], _Recollected] = {}
        self._errors: dict[str, str | None] = {}
        self._undo: list[Callable[[], None]] = []
        self.stopped: RerunStopped | None = None
        self.frames = 0
        """How many steps were answered."""
        self.made: dict[str, list[int]] = {matching.root: []}
        """Which ones: the numbers of their frames, by the runs of the record."""
        self.decisions: dict[str, str] = {}
        """What was decided on each call, by its place in the record."""
        self.over = False
        self._held: list[Step] = []
        self._moved = 0

    @property
    def recorder(self) -> "Answering":
        return self

    @property
    def root(self) -> str:
        """The id of the run at the top."""
        return self._matching.root

    @property
    def left(self) -> list[Left]:
        """What is by other programs, which the code has not come to."""
        with self._lock:
            return list(self._matching.left())

    @property
    def aside(self) -> list[str]:
        """The processes of these programs."""
        with self._lock:
            return self._matching.aside

    def now(self) -> int:
        """The time of the newest frame that the code has come to: see `Matching.latest`."""
        return self._matching.latest

    # Runs.

    def named(self, about: RunRef, *, given: bool) -> str | None:
        def same(script: Script) -> bool:
            return _differs(about, script) is None

        with self._lock:
            found = ""
            if not (self.over or given):
                found = self._matching.named(about.parent, about.agent, same)
            self._matching.born(found or about.run_id, _lane())
            return found or None

    def ended(self, run: Run, error: str | None) -> None:
        with self._lock:
            self._errors[run.run_id] = error
            # Whatever the code goes on to do follows from it.
            differs = None if self.over else self._matching.ended(run.run_id, error)
            if differs is not None:
                self._stop(differs)

    def ended_by(self, error: BaseException) -> bool:
        """Whether a run of the code's has ended with an error of that type."""
        return type(error).__name__ in self._errors.values()

    def end(self) -> RerunStopped | None:
        """Nothing is answered any more. Has what the code has left undone, or stopped at."""
        with self._lock:
            if not self.over:
                self.over = True
                for undo in self._undo:
                    undo()
                if self.stopped is None:
                    left = self._matching.end(self._errors)
                    if left is not None:
                        self._stop(left)
            return self.stopped

    def afterwards(self, undo: Callable[[], None]) -> None:
        self._undo.append(undo)

    def _stop(self, why: RerunStopped) -> RerunStopped:
        if self.stopped is None:
            self.stopped = why
            self._told(why)
        return self.stopped

    def refuse(self, what: str) -> BaseException:
        with self._lock:
            now = {"kind": "begins", "what": what}
            where = self.root, self._matching.next()
            return self._stop(Diverged(without_words(what), *where, None, now))

    def _step(self, about: RunRef | None, now: Now) -> Step:
        with self._lock:
            if self.stopped is not None:
                raise self.stopped
            if self.over:
                raise RerunStopped(
                    "What is called from here began in a rerun, which is over: nothing answers any "
                    "more, and no tool is called."
                )
            if about is None:
                raise self.refuse(f"{now.name or 'a model'} is asked outside of any run")
            lane = _lane()
            try:
                script = self._script(about, now, lane)
                self.made.setdefault(script.run, [])
                step = self._matching.take(script, now, lane)
            except RerunStopped as stop:
                raise self._stop(stop) from None
            self._answered(step)
            return step

    def _answered(self, step: Step) -> None:
        self.frames += 1
        self._moved += 1
        for each in step.all():
            self.made.setdefault(each.run, []).append(each.frame)

    def _script(self, about: RunRef, now: Now, lane: Lane) -> Script:
        said = About(
            *(about.run_id, about.agent, about.lineage), lambda script: _differs(about, script)
        )
        return self._matching.track(said, now, lane)

    # Calls.

    def recall(self, call: Call, *, leaves: bool, resumes: str | None) -> "_Recollected":
        if resumes is not None and resumes in self._left:
            step = self._left.pop(resumes)
            with self._lock:
                self._matching.resume(step)
            return self._recollected(step, call, leaves=False)
        looked = key(call.args)
        document = {"kind": "call", "tool": call.tool, "args": msgspec.json.decode(looked)}
        now = Now("call", call.tool, looked, fits_call(document["args"], looked), document)
        step = self._step(call.run, now)
        if not leaves:
            with self._lock:
                # It waits by now where it once left, and goes on with what came of it.
                self._matching.resume(step)
        return self._recollected(step, call, leaves=leaves)

    def _recollected(self, step: Step, call: Call, *, leaves: bool) -> "_Recollected":
        found = _Recollected(self, step, _decision(step, call, leaves=leaves))
        self.decisions[step.place] = step.decided
        decision = found.decision
        if decision.verdict == "ask" and decision.mode == "enforce":
            if not leaves:
                raise self._stop(_unanswered(step, "nobody had answered by the end of the record"))
            assert decision.approval_id is not None
            self._left[decision.approval_id] = step
        elif decision.allowed and decision.outcome is None:
            raise self._stop(_unanswered(step, "nobody knows what came of it"))
        tell(decision)
        return found

    async def turn(self, step: Step) -> None:
        """Wait for what came before the end of a call while it went on: see `Matching.before`.

        What does not come is not waited for: where the code does nothing for so long, it goes on
        with this.
        """
        idle, seen = 0, self._moved
        self._held.append(step)
        try:
            while idle < MOST_IDLE and self._before(step):
                await asyncio.sleep(0)
                idle, seen = idle + 1 if self._moved == seen else 0, self._moved
        finally:
            with self._lock:
                self._held.remove(step)
                self._moved += 1

    def _before(self, step: Step) -> bool:
        with self._lock:
            return self.stopped is None and self._matching.before(step, self._held)

    def patience(self, step: Step) -> float:
        """The seconds in which whoever has cancelled a call does so again.

        A time limit began after its run, and takes nothing but its own cancelling for what it is.
        What has ended the whole run was none.
        """
        with self._lock:
            return self._matching.until(step)

    def decided(self, call: Call, *, leaves: bool, resumes: str | None) -> Decision:
        same = None
        if call.call_id is not None and call.run is not None:
            same = (call.run.run_id, call.call_id, call.tool, key(call.args))
        found = self._checked.get(same) if same is not None else None
        if found is None:
            found = self.recall(call, leaves=leaves, resumes=resumes)
            if same is not None:
                self._checked[same] = found
        return found.as_repeated()

    def taken_up(self, request: str) -> Call | Decision:
        with self._lock:
            step = self._left.get(request) or self._resumed(request)
        if step is None:
            raise self.refuse(
                f"the request {request[:40]!r} is resumed, which nobody has left here"
            )
        fields = step.decision or {}
        if fields.get("verdict") == "ask":
            no = no_to(step.approvals)
            if no is None:
                raise ApprovalPending(request)
            with self._lock:
                self._matching.resume(step)
            return Decision(
                verdict="deny",
                tool=step.name or "",
                args={},
                reasons=(no,),
                run_id=step.run,
                approval_id=request,
            )
        about = current()
        args = step.args if isinstance(step.args, dict) else {}
        return Call(tool=step.name or "", args=args, run=None if about is None else about.ref)

    def _resumed(self, request: str) -> Step | None:
        """The call that this code begins with, as the program did that has resumed it."""
        step = self._matching.resumed(request)
        if step is not None:
            self._left[request] = step
            self._answered(step)
        return step

    def settle(self, decision: Decision, outcome: Outcome) -> None:
        """The record has the end of every call."""

    async def asettle(self, decision: Decision, outcome: Outcome) -> None:
        """As `settle`."""

    # What is said.

    def spoken(self, run: Run | None, given: Given | None) -> Spoken:
        step = self._spoken(run, given, None)
        said = step.said
        if "output" in step.lost or ("answer" in step.lost and said.get("output") is None):
            why = step.lost.get("output") or step.lost["answer"]
            raise self._stop(_unanswered(step, f"of what the model said {why}"))
        return Spoken(
            output=said.get("output"),
            answer=None if "answer" in step.lost else said.get("answer"),
            model=said.get("model"),
            input_tokens=said.get("input_tokens"),
            output_tokens=said.get("output_tokens"),
            error=said.get("error"),
            at=step.at,
        )

    def model_turn(self, run: Run, turn: ModelTurn) -> None:
        self._spoken(run, turn.given, turn)

    def _spoken(self, run: Run | None, given: Given | None, turn: ModelTurn | None) -> Step:
        document: dict[str, Any] = {"kind": "model"}
        if given is not None:
            document["messages"] = shown(given.new)
            if given.asked is not None:
                document["asked"] = given.asked
        if turn is not None:
            document |= {"model": turn.model, "output": shown(turn.output)}

        def fits(step: Step) -> bool:
            talk = self._talk(step.run)
            if not talk.same(step, given):
                return False
            if turn is None:
                return True
            said = "output" in step.lost or alike_spoken(
                step.said.get("output"), document["output"]
            )
            return said and (turn.model is None or turn.model == step.said.get("model"))

        with self._lock:
            step = self._step(
                None if run is None else run.ref, Now("model", None, b"", fits, document)
            )
            if given is not None and run is not None:
                named = conversation.named()
                run.conversation.remember(named, given)
                self._talk(step.run).made(named, step)
            return step

    def _talk(self, run_id: str) -> Talk:
        talk = self._talks.get(run_id)
        if talk is None:
            talk = self._talks[run_id] = Talk(self._matching.scripts[run_id])
        return talk

    def user_message(self, run: Run, text: str) -> None:
        told = shown(text)

        def fits(step: Step) -> bool:
            return "text" in step.lost or alike(step.said.get("text"), told)

        self._step(run.ref, Now("user", None, b"", fits, {"kind": "user", "text": told}))


class _Recollected:
    """One call, as the record has it."""

    def __init__(self, of: Answering, step: Step, decision: Decision) -> None:
        self._of = of
        self._step = step
        self.decision = decision

    def result(self, raw: Callable[..., Any]) -> Any:
        try:
            if self._status != "ok" and not streams(self._step):
                raise failure(self._step, raw)
            return restored(
                self._step,
                raw,
                self._of._restore,  # noqa: SLF001 - of one room
                lambda: self.items(raw),
            )
        except RerunStopped as stop:
            raise self._of._stop(stop) from None  # noqa: SLF001

    def items(self, raw: Callable[..., Any]) -> Iterator[Any]:
        try:
            yield from items(self._step, raw)
        except RerunStopped as stop:
            raise self._of._stop(stop) from None  # noqa: SLF001

    async def awaited(self, raw: Callable[..., Any]) -> Any:
        await self._of.turn(self._step)
        try:
            return self.result(raw)
        except asyncio.CancelledError:
            await asyncio.sleep(self._of.patience(self._step))
            raise

    async def awaited_items(self, raw: Callable[..., Any]) -> AsyncIterator[Any]:
        found = self.items(raw)
        while True:
            try:
                item = next(found)
            except StopIteration:
                return
            except asyncio.CancelledError:
                await asyncio.sleep(self._of.patience(self._step))
                raise
            yield item

    @property
    def _status(self) -> Status:
        assert self.decision.outcome is not None
        return self.decision.outcome.status

    def as_repeated(self) -> Decision:
        """The decision as whoever runs the tool by themselves gets it: it has its end."""
        outcome = self.decision.outcome
        if outcome is not None and outcome.status == "ok":
            value = self.result(_nothing)
            outcome = msgspec.structs.replace(outcome, result=value)
        return msgspec.structs.replace(self.decision, starts=False, outcome=outcome)


def _nothing() -> None:
    """A tool of which nothing is known."""


def _decision(step: Step, call: Call, *, leaves: bool) -> Decision:
    fields = step.decision or {"verdict": "allow", "mode": "observe"}
    verdict, mode = fields["verdict"], fields.get("mode", "enforce")
    reasons = msgspec.convert(fields.get("reasons", ()), tuple[Reason, ...])
    approval = fields.get("approval")
    outcome: Outcome | None = None
    if step.outcome is not None:
        error = step.outcome.get("error")
        outcome = Outcome(
            status=step.outcome["status"],
            error=error if isinstance(error, str) else None,
            latency=step.outcome.get("latency") or 0,
        )
    if leaves and step.approvals and mode == "enforce":
        # Whoever called has left; what came of it is for whoever takes it up.
        verdict, outcome = "ask", None
    allowed = verdict == "allow" or mode != "enforce"
    args = fields.get("args")
    policy = fields.get("policy")
    return Decision(
        verdict=verdict,
        tool=call.tool,
        args=args if isinstance(args, dict) else call.args,
        reasons=reasons,
        mode=mode,
        modified=bool(fields.get("modified")),
        given=fields.get("given"),
        policy=None if policy is None else msgspec.convert(policy, PolicyRef),
        run_id=step.run,
        call_id=call.call_id,
        seq=step.seq,
        digest=fields.get("digest"),
        approval_id=approval,
        nudge=fields.get("nudge"),
        starts=allowed and outcome is not None and outcome.status != "not_started",
        start_by=float("inf"),
        outcome=outcome,
        retry_after=None if allowed else _wait(reasons, verdict, step.at),
    )


def _wait(reasons: tuple[Reason, ...], verdict: str, at: int) -> float | None:
    """The seconds that a call was to wait, from when its controls would have let it through."""
    frees = [
        reason.measure.frees_at
        for reason in reasons
        if reason.effect == verdict and reason.measure is not None
    ]
    known = [each for each in frees if each is not None]
    return max(0, max(known) - at) / 1e6 if known else None


def _unanswered(step: Step, why: str) -> Unanswered:
    what = step.name or "a model"
    return Unanswered(
        f"Frame {step.frame} of run {step.run} cannot be answered: {what} was asked, and {why}.",
        step.run,
        step.frame,
    )


def _differs(about: RunRef, script: Script) -> str | None:
    """What a run says of itself that the record has otherwise, None where it has it so."""
    said = script.about
    if not said or said.get("imported"):
        return None
    user = said.get("user")
    recorded = {**said, "user": user.get("id") if isinstance(user, dict) else user}
    for name, value in (
        ("user", about.user_id),
        ("tenant", about.tenant),
        ("prompt", about.prompt),
        ("plan", about.plan),
    ):
        was = recorded.get(name)
        if name in script.lost or (isinstance(was, str) and was.endswith(" bytes)")):
            # It was not kept, or only its beginning.
            continue
        if not alike(was, shown(value)):
            return name
    return None


def _lane() -> Lane:
    """The thread or task that this code is part of."""
    # Where nobody has imported it, nobody runs a loop.
    asyncio = sys.modules.get("asyncio")
    task = None
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
    return threading.get_ident(), task
