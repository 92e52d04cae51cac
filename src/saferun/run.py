"""One task of one agent, and how a call knows which one it belongs to.

    with saferun.run(agent="support", user="maria", prompt=text) as run:
        answer = model(text)
        run.model(answer, model="gpt-4o", input_tokens=812, output_tokens=96)
        safe_refund(order_id="A-17", amount=4_000)

The current run is held in a context variable: tasks inherit it, threads have it where
their context was copied, and leaving the block restores the one before. What a task began
within the run stays in it, however long it takes. So it is with the tool that a call has started,
which may make calls of its own. A run writes through the recorder that
its gate gives it; it knows neither gate nor store.
"""

import os
import secrets
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from saferun import recall
from saferun.call import IMPORTED, RunRef
from saferun.conversation import Conversation, Given

MAX_ID = 200
"""Characters of an id of a run, agent, user or tenant: they are keys, and stand in every entry."""


class ModelTurn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one request to a model gave. `cost_usd` is in dollars, as the application knows it.

    `given` are the messages that were sent, `plan` what the agent means to do by now, `context`
    what was looked up for it, and `error` why there is no answer, or only a part of one. `answer`
    is the provider's own, from which a rerun gives it again.
    """

    output: Any
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency: int | None = None
    given: Given | None = None
    plan: Any = None
    context: Any = None
    error: str | BaseException | None = None
    answer: Any = None


class Costs:
    """What the model turns of a run and its children have cost so far, in micro-dollars.

    Budgets are a policy's, and it may be known only after the first turns which policies guard
    a run. So each takes what it has not counted yet, whenever it comes, and nobody takes it
    twice. Thread-safe. What a forked child inherits stays its parent's to count.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # A signal handler may come between.
        self._lock = threading.RLock()
        self._total = 0
        self._taken: dict[str, int] = {}

    @property
    def none(self) -> bool:
        """Whether nothing has cost anything, as in most runs."""
        return not self._total

    def add(self, amount: int, counted_by: str | None) -> None:
        """A turn has cost so much, which the budgets of that name have counted already."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._total += amount
            if counted_by is not None:
                self._taken[counted_by] = self._taken.get(counted_by, 0) + amount

    def take(self, by: str) -> int:
        """What the budgets called `by` have not counted yet, and are to count now."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            owed = self._total - self._taken.get(by, 0)
            self._taken[by] = self._total
            return owed

    def give_back(self, by: str, amount: int) -> None:
        """What was taken could not be counted."""
        with self._lock:
            self._taken[by] = self._taken.get(by, 0) - amount


class Recorder(Protocol):
    """Where a run's own frames go. Neither may raise: recording never breaks the agent."""

    def model_turn(self, run: "Run", turn: ModelTurn) -> None: ...

    def user_message(self, run: "Run", text: str) -> None: ...

    def ended(self, run: "Run", error: str | None) -> None: ...


class Run:
    """A run, entered once as a context manager, sync or async.

    Args:
        agent: the agent's name; that of the parent by default.
        user: whom it acts for: an id, or a mapping with an `id` and what else policy reads;
            that of the parent by default.
        tenant: the customer or environment that limits and switches may count by; that of the
            parent by default, so that no child run steps out of them.
        prompt: what the user asked, for people who look at the run later. In the run at the top it
            counts as `run.said` for rules, so no model's or tool's words belong there.
        plan: what the agent means to do, likewise.
        context: values for the further inputs that the policy declares. What is known of the
            user has its place in `user`.
        run_id: continue a run that began elsewhere; a new random id otherwise.
        parent: the run that spawned this one; the enclosing run otherwise.

    Raises:
        ValueError: an id is not 1 to 200 printable characters, `user` is not what is stated
            here, or stands in `context` once more.

    """

    def __init__(
        self,
        *,
        agent: str | None = None,
        user: str | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        prompt: str | None = None,
        plan: Any = None,
        context: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        parent: "Run | None" = None,
        recorder: Recorder | None = None,
    ) -> None:
        identity = {"id": user} if isinstance(user, str) else dict(user or {})
        if identity and not isinstance(identity.get("id"), str):
            raise ValueError("user must be an id, or a mapping with a string under 'id'")
        if identity and "user" in (context or {}):
            raise ValueError("user is given twice; put all that is known of them into user=")
        ids = {"run_id": run_id, "agent": agent, "user": identity.get("id"), "tenant": tenant}
        for name, given in ids.items():
            if given is not None and not (0 < len(given) <= MAX_ID and given.isprintable()):
                raise ValueError(f"{name} must be 1 to {MAX_ID} printable characters")
        if run_id is not None and run_id.startswith(IMPORTED):
            raise ValueError("run ids that begin with import/ belong to runs that were imported")
        above: Run | None = parent if parent is not None else current()
        # 80 random bits: a run's id is a key and a share of canaries, so it must not be guessable.
        own = run_id or f"r-{secrets.token_hex(10)}"
        self.ref: RunRef = RunRef(
            run_id=own,
            root=above.ref.root if above is not None else own,
            parent=above.ref.run_id if above is not None else None,
            lineage=() if above is None else (*above.ref.lineage, _link(above.ref)),
            users=() if above is None else _users(above.ref),
            agent=agent or (above.ref.agent if above is not None else None),
            user=identity or (above.ref.user if above is not None else {}),
            tenant=tenant or (above.ref.tenant if above is not None else None),
            prompt=prompt,
            plan=plan,
            context=dict(context or {}),
        )
        # What answers for it from a record, and goes on doing so when that is over.
        self.answers: recall.Answers | None = answering()
        if self.answers is None and above is not None:
            self.answers = above.answers
        if self.answers is not None:
            named = self.answers.named(self.ref, given=run_id is not None)
            if named is not None and named != own:
                root = named if above is None else self.ref.root
                self.ref = msgspec.structs.replace(self.ref, run_id=named, root=root)
        self.costs: Costs = Costs() if above is None else above.costs
        self.conversation: Conversation = Conversation()
        self.recorder: Recorder | None = recorder
        # Whether somebody has said who records it, and it is not only what has guarded it first.
        self.recorder_named = recorder is not None
        # Whether that is only for want of anything that guards the run.
        self.by_default = False
        if recorder is None and above is not None:
            self.recorder, self.recorder_named = above.recorder, above.recorder_named
            # What guards the run above may never hear of this one, nor that it has ended.
            self.by_default = not above.recorder_named
        self.before: Run | None = None
        # Taken at the entry and never given back: of two threads, one enters.
        self._entry = threading.Lock()
        self.over = False

    @property
    def run_id(self) -> str:
        return self.ref.run_id

    def model(
        self,
        output: Any = None,
        *,
        model: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        latency: float | None = None,
        messages: Any = None,
        plan: Any = None,
        context: Any = None,
        error: str | BaseException | None = None,
        answer: Any = None,
    ) -> None:
        """Record one model turn. `latency` is in seconds, `cost_usd` in dollars.

        `messages` are those that the model was given: all of them, at every turn, of which only
        what is new is kept. `context` is what was looked up for it, such as documents, and `plan`
        what the agent means to do by now. `error` says why there is no answer, or no whole one;
        of an exception, only its type is kept. `answer` is the provider's own answer as JSON, if
        there is one: `saferun.watch` has it kept, so that a rerun can give it again.

        Without `cost_usd` its cost is that of `model` and its tokens, where the extra `prices`
        is installed and knows the model; else it is unknown, and counts towards no budget.
        Recorded after the fact, so its cost can only stop the *next* call.
        """
        turn = ModelTurn(
            output=output,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cost_usd=cost_usd,
            latency=_microseconds(latency),
            given=None if messages is None else self.given(messages),
            plan=plan,
            context=context,
            error=error,
            answer=answer,
        )
        self._recording().model_turn(self, turn)

    def given(self, messages: Any) -> Given:
        """Take down what a model is given now, for its turn to be recorded later as `messages`."""
        return messages if isinstance(messages, Given) else self.conversation.take(messages)

    def user(self, text: str) -> None:
        """Record a message of the user that came during the run; it counts as `run.said`."""
        self._recording().user_message(self, text)

    def __enter__(self) -> Self:
        if not self._entry.acquire(blocking=False):
            raise RuntimeError("a run is entered once; start another with saferun.run(...)")
        self.before = current()
        _current.set(self)
        for listen in _listeners:
            listen(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._entry.locked() or self.over:
            return
        self.over = True
        # Blocks in generators end in whatever order and context: a run takes back what it has
        # set and nothing else, and never puts back one that is over.
        if current() is self:
            before = self.before
            while before is not None and before.over:
                before = before.before
            _current.set(before)
        recorder = self.recorder if self.answers is None else self.answers.recorder
        if recorder is not None:
            recorder.ended(self, kind.__name__ if kind is not None else None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def record_by(self, recorder: Recorder) -> None:
        """Have what guards the run record it, unless somebody has said who does."""
        if self.recorder is None or self.by_default:
            self.recorder, self.by_default = recorder, False

    def _recording(self) -> Recorder:
        answers = answering()
        if answers is not None:
            return answers.recorder
        if self.recorder is None:
            self.recorder, self.by_default = _by_default(), True
        return self.recorder


def _link(above: RunRef) -> tuple[str, str | None]:
    return (above.run_id, above.agent)


def _users(above: RunRef) -> tuple[str, ...]:
    """For whom a run and those above it go, each once."""
    if above.user_id is None or above.user_id in above.users:
        return above.users
    return (*above.users, above.user_id)


def _microseconds(seconds: float | None) -> int | None:
    try:
        return None if seconds is None else round(seconds * 1e6)
    except (ValueError, OverflowError, TypeError):
        # No time is no reason to fail an agent.
        return None


def _no_gate() -> Recorder:
    raise RuntimeError("nothing records this run; import saferun, or start it with gate.run(...)")


_by_default: Callable[[], Recorder] = _no_gate


def record_by_default(recorder: Callable[[], Recorder]) -> None:
    """Say what records a run that no gate has seen yet. Called once, by the gate."""
    global _by_default  # noqa: PLW0603 - the one seam through which the gate is injected
    _by_default = recorder


_listeners: list[Callable[[Run], None]] = []


def on_run(listen: Callable[[Run], None]) -> None:
    """Have `listen` called with every run that is entered, in the place where it is.

    It may not raise: nothing stands between it and the agent.
    """
    _listeners.append(listen)


def stop_on_run(listen: Callable[[Run], None]) -> None:
    """Tell `listen` nothing more."""
    _listeners.remove(listen)


_current: ContextVar[Run | None] = ContextVar("saferun_run", default=None)


def current() -> Run | None:
    """The run that the calling code is in, if any."""
    return _current.get()


_tool: ContextVar[int | None] = ContextVar("saferun_tool", default=None)


def within() -> int | None:
    """The decision, by its number, whose tool the calling code is part of; None where of none."""
    return _tool.get()


class AtWork:
    """Blocks in which a tool is at work, by the number of the decision that has let it start.

    Between two of them a stream waits for whoever reads it, who is in no run that it has begun.
    """

    __slots__ = ("_decision", "_run", "_tokens")

    def __init__(self, decision: int | None) -> None:
        self._decision = decision
        self._run: Run | None = None

    def __enter__(self) -> None:
        run = _current.get() if self._run is None or self._run.over else self._run
        self._tokens = _tool.set(self._decision), _current.set(run)

    def __exit__(self, *_: object) -> None:
        self._run = _current.get()
        tool, run = self._tokens
        try:
            _tool.reset(tool)
            _current.reset(run)
        except ValueError:
            # A generator may be ended in another context than it was begun in. (`suppress` takes
            # longer than all of the rest of this.)
            pass


def answering() -> recall.Answers | None:
    """What answers from a record here, None where tools and models do themselves.

    A run that began in a rerun stays in it: what it has left behind, a thread say, is never let
    through to a real tool afterwards.
    """
    answers = recall.standing()
    if answers is None:
        within = current()
        answers = None if within is None else within.answers
    return answers
