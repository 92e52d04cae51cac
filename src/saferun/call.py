"""What travels along the path of one call: the call, its decision, its outcome.

Plain records that every floor may read. They hold no behaviour beyond their own
shape, so that a decision made in production, in a backtest and in a replay is the
same value.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Verdict: TypeAlias = Literal["allow", "ask", "deny", "defer"]
"""What policy and controls say: allow, step-up, deny and defer of the AARM specification."""

Mode: TypeAlias = Literal["enforce", "shadow", "observe"]
"""`shadow` decides and records but never stops; `observe` has no policy and only records."""

Effect: TypeAlias = Literal["read", "write", "destructive"]

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""The JSON values, exactly these Python types and no subclass of them."""

canonical = msgspec.json.Encoder(order="deterministic")
"""The one encoding of arguments: keys sorted, integers of any size kept whole.

Digests are taken over these bytes and the ledger stores these bytes, so nothing is
ever encoded again to be verified.
"""

IMPORTED = "import/"
"""What the ids of runs begin with that were brought in from a file, and of no others."""


class RunRef(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call it is: what is known of a run, and never changes while it lasts.

    `root` is the run at the top of the family. Limits count there, so that an agent
    cannot start over by spawning a child. `prompt` and `plan` are for people who look at
    the run later, and the first for `run.said`; `context` holds what else the policy declares.
    `lineage` has the runs above with their agents, from the top down, and `users` those for whom
    they go.
    """

    run_id: str
    root: str
    parent: str | None = None
    agent: str | None = None
    user: Mapping[str, Any] = msgspec.field(default_factory=dict)
    tenant: str | None = None
    prompt: str | None = None
    plan: Any = None
    context: Mapping[str, Any] = msgspec.field(default_factory=dict)
    lineage: tuple[tuple[str, str | None], ...] = ()
    users: tuple[str, ...] = ()

    @property
    def user_id(self) -> str | None:
        found = self.user.get("id")
        return found if isinstance(found, str) else None

    @property
    def imported(self) -> bool:
        """Whether it was brought in from a file."""
        return self.run_id.startswith(IMPORTED)


Taking: TypeAlias = Literal["place", "any", "rest", "name", "more"]
"""How a parameter is given: by its place alone, by either, `*rest`, by its name alone, `**more`."""


class Parameter(NamedTuple):
    """One parameter of a function. `needed` says that no call does without it."""

    name: str
    way: Taking
    needed: bool


class FunctionRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which function of a program a tool is, by what stays the same when that starts anew.

    `module` and `name` say where it was defined and as what, and `of` the class of the object
    that it is called on. `takes` are its parameters in their order, None where nobody says.
    `fixed` is the SHA-256 of what a `functools.partial` has set, and `keeps` are the functions
    that a tool object was given.
    """

    module: str
    name: str
    of: str | None = None
    takes: tuple[Parameter, ...] | None = None
    fixed: str = ""
    keeps: tuple[str, ...] = ()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call, its arguments taken down as plain values that nobody else holds.

    `defaulted` names the arguments that the caller left to the tool's own defaults.
    `opaque` names those that cannot be taken down (connections, handles); they are
    not in `args` and nothing is decided on them. `problems` says, per argument, why a
    value could not be taken down at all; under a policy, any such call is denied.
    `function` is what would run, None where whoever calls has not said: a yes is bound to it.
    """

    tool: str
    args: dict[str, Any]
    call_id: str | None = None
    run: RunRef | None = None
    defaulted: frozenset[str] = frozenset()
    opaque: Mapping[str, str] = msgspec.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    function: FunctionRef | None = None


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What a run and its children have done before this call, as the store has it.

    `calls` counts those that were let start and `tools` names their tools in order of name.
    `cost_usd` is what the model turns on record cost, in dollars. `began` is when the run at
    the top began, in microseconds since 1970, UTC. `said` are the texts of what people have asked
    for, None where some of it is not known; see `saferun.said`.
    """

    began: int
    calls: int = 0
    cost_usd: float = 0.0
    tools: tuple[str, ...] = ()
    said: tuple[str, ...] | None = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside a call when it is decided; nothing here comes from a model.

    `now` is in microseconds since 1970, UTC. `environment` is what the configuration says.
    `past` is None where the policy does not ask for it, or the call belongs to no run.
    """

    now: int = 0
    environment: str | None = None
    past: Past | None = None


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of a rule with the value it saw, for people who ask why."""

    text: str
    value: Any
    holds: bool


Source: TypeAlias = Literal[
    "args", "rule", "default", "stop", "loop", "breaker", "limit", "approval", "gate"
]


class Measure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a control stood when it spoke, for people: no model is told.

    `scope` says whom it counts for. `used` and `max` are calls, or what is summed, as text.
    `frees_at` is when a call may fit again, in microseconds since 1970, UTC. With `hidden`, the
    policy keeps the bound from the model, and so that time.
    """

    control: str
    scope: str = ""
    max: str | None = None
    used: str | None = None
    wants: str | None = None
    frees_at: int | None = None
    hidden: bool = False

    def said(self) -> str:
        """`budget, user maria: 1.98 of 2, wants 0.05, free at 2026-05-04 10:00:00Z`."""
        text = f"{self.control}{f', {self.scope}' if self.scope else ''}"
        if self.used is not None:
            text += f": {self.used}{f' of {self.max}' if self.max is not None else ''}"
        if self.wants is not None:
            text += f", wants {self.wants}"
        if self.frees_at is not None:
            text += f", free at {at(self.frees_at)}"
        return text


def _spell(seconds: float) -> str:
    """A wait as a model can keep to it: never shorter than it is."""
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{math.ceil(seconds / length)} {unit}"
    return f"{max(1, math.ceil(seconds))} s"


def at(microseconds: int) -> str:
    """A time for people, in UTC."""
    # Whole seconds: whoever waits for it waits for the next.
    moment = datetime.fromtimestamp(-(-microseconds // 1_000_000), UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def span(microseconds: float) -> str:
    """A length of time: `31 µs`, `0.2 ms`, `84 ms`, `1.4 s`, `2 m 14 s`, `3 h 05 m`."""
    seconds = microseconds / 1e6
    if seconds < 1e-4:
        return f"{microseconds:.0f} µs"
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} m"


def size(count: float) -> str:
    """A number of bytes: `812 bytes`, `4.2 kB`, `1.3 MB`."""
    if count < 1000:
        whole = round(count)
        return "1 byte" if whole == 1 else f"{whole:,} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that spoke for the verdict.

    `id` is the rule's or limit's id as a person wrote it (`refund.args` for a tool's
    argument schema). `message` is for people and for the model: it is built from the
    policy's own words and the constants that it discloses, never from values, results
    or exceptions. `error` names the error class that a denial for this reason raises.
    `failed` says that it denies because it could not be evaluated. `measure` is how the
    control that spoke stood, which is for people alone.
    """

    id: str
    effect: Verdict
    source: Source
    message: str
    error: str = "Denied"
    line: int | None = None
    failed: bool = False
    measure: Measure | None = None


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """Whom else a question goes to: people and groups, `after` so many microseconds of waiting."""

    after: int
    to: tuple[str, ...]


class Demand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose yes one rule wants before the call may run.

    `of` are names of people and groups, empty for anyone who is known, and `approvals` how many
    different ones of them have to say yes. `within` is how long they have, in microseconds, None
    as configured. `edits` are the arguments that they may change. The user of the run is not
    among them unless `own` says so.
    """

    rule: str
    of: tuple[str, ...] = ()
    approvals: int = 1
    within: int | None = None
    escalate: tuple[Escalation, ...] = ()
    edits: tuple[str, ...] = ()
    own: bool = False

    @property
    def further(self) -> tuple[str, ...]:
        """All whom it goes to later."""
        return tuple(name for step in self.escalate for name in step.to)


class PolicyRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of which policy decided. `version` is the hash of its canonical form."""

    name: str
    version: str


Status: TypeAlias = Literal["ok", "error", "cancelled", "timeout", "unknown", "not_started"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a call that was let through.

    `latency` is in microseconds. `result` is a plain value, already taken down.
    `error` is the exception's type and text, for the ledger alone: it never reaches
    a model through SafeRun. `blameless` says that it is no fault of the tool's, as where a call
    that it makes itself was denied.
    """

    status: Status
    result: Any = None
    error: str | None = None
    latency: int = 0
    blameless: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict with its reasons, as the ledger has it.

    `seq` is the ledger position of the entry, None only where nothing could be
    written (the gate was unavailable, so the call was denied).
    `args` are the final arguments; where policy has `modified` them, `given` are those that
    the call came with.
    `starts` is the permission itself: True for exactly one `check` of a call. A
    repeated check of the same call gets the same decision with `starts=False` and,
    once there is one, its `outcome`.
    `start_by` is the end of the lease on the host's monotonic clock, in seconds.
    `key` is the call among its own repetitions, None where it came without an id.
    `nudge` is what a control has to say to the model beside the result of a call that runs.
    `frees_at` is when the call may be made again where a control has stopped it and knows, in
    microseconds since 1970, UTC, and `retry_after` the seconds until then. `timeout` is how
    many seconds the tool may take, None for no end; one that takes longer may have done its
    work or not, unless it is `idempotent`.
    """

    verdict: Verdict
    tool: str
    args: dict[str, Any]
    reasons: tuple[Reason, ...] = ()
    mode: Mode = "enforce"
    modified: bool = False
    given: dict[str, Any] | None = None
    policy: PolicyRef | None = None
    run_id: str | None = None
    call_id: str | None = None
    seq: int | None = None
    digest: str | None = None
    approval_id: str | None = None
    nudge: str | None = None
    starts: bool = False
    start_by: float = 0.0
    idempotency_key: str | None = None
    key: bytes | None = None
    outcome: Outcome | None = None
    frees_at: int | None = None
    retry_after: float | None = None
    timeout: float | None = None
    idempotent: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the tool may run at all; `starts` says whether it may run *now*."""
        return self.verdict == "allow" or self.mode != "enforce"

    @property
    def for_model(self) -> str:
        """One sentence fit to hand to the model: why the call did not run, and what would.

        Built from policy text alone (see `Reason.message`), so it is safe to show.
        """
        if self.allowed:
            return f"{self.tool} was allowed."
        # What several rules say in the same words is said once.
        rules: dict[str, list[str]] = {}
        for reason in self.reasons:
            if reason.effect == self.verdict:
                rules.setdefault(reason.message.rstrip("."), []).append(reason.id)
        said = "; ".join(
            f"{message} ({'rule' if len(ids) == 1 else 'rules'} {', '.join(ids)})"
            for message, ids in rules.items()
        )
        later = ""
        open_ = all(each.measure is None or not each.measure.hidden for each in self.reasons)
        if self.retry_after is not None and open_:
            later = f"; try again in {_spell(self.retry_after)}"
        return f"{self.tool} was not run: {said or 'the policy does not allow it'}{later}."

    @property
    def for_people(self) -> str:
        """`for_model` with what no model is told: how the controls stood that stopped the call."""
        told = (each.measure.said() for each in self.reasons if each.measure is not None)
        figures = "; ".join(told)
        return f"{self.for_model} [{figures}]" if figures else self.for_model
