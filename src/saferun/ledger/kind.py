"""The kinds of entry, and the fields of each.

What an entry states, all but its number and its time, which are known only when it is
written. Each is encoded once, by `encode`; a field that is at its default is left out.

`Any` stands for a JSON value, on writing also for a `msgspec.Raw` that holds one already
encoded: arguments and results are encoded once, and those bytes serve for the digest and
for the entry. `Raw` goes in as it is, so it may only come from an encoder.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from saferun.call import Mode, PolicyRef, Reason, Status, Verdict

FORMAT = 3
"""The format that the first entry of a ledger names. Fields may be added within a format;
a new kind, or a new meaning of an old field, is a new format. Format 2 added the kinds
`call` and `policy`, format 3 the kind `control`."""

READABLE = (1, 2, 3)
"""The formats that this version reads. A ledger keeps the number that it began with, and goes
on in the newest: an old reader meets a kind that it does not know, and says so."""

Kind: TypeAlias = Literal[
    "ledger",
    "run",
    "model",
    "user",
    "decision",
    "approval",
    "outcome",
    "recovery",
    "call",
    "policy",
    "control",
]

RunEvent: TypeAlias = Literal["start", "end"]

ApprovalEvent: TypeAlias = Literal[
    "requested", "approved", "rejected", "expired", "cancelled", "stale"
]

ControlEvent: TypeAlias = Literal["stopped", "resumed", "opened", "closed"]

PolicyAct: TypeAlias = Literal["publish", "promote", "rollback"]


class Other(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What another version of the policy would have said of the same call; it counts for nothing.

    `rules` are the ids of all that spoke for its verdict, the strongest first.
    """

    policy: PolicyRef
    verdict: Verdict
    rules: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """`blobs` names the large values that this entry holds by hash: hash in hex to length.

    A placeholder inside a value counts only if it is named here. What a model or a tool
    says can look like a placeholder; it cannot get into this field.
    """

    blobs: Mapping[str, int] = {}


class LedgerEntry(_Entry, frozen=True, kw_only=True, tag="ledger"):
    """Which ledger this is: entry 0, and no other.

    `origin` is the name under which its checkpoints are signed, `created_by` the program
    and version that began it.
    """

    name: str
    origin: str
    format: int
    created_by: str


class RunEntry(_Entry, frozen=True, kw_only=True, tag="run"):
    """A run begins, with whom it is for; or ends, with the error that ended it, if one did.

    `imported` is the SHA-256, in hex, of the file that a run was brought in from.
    """

    event: RunEvent
    run: str
    root: str | None = None
    parent: str | None = None
    agent: str | None = None
    user: Mapping[str, Any] = {}
    tenant: str | None = None
    prompt: Any = None
    plan: Any = None
    context: Mapping[str, Any] = {}
    error: str | None = None
    imported: str | None = None


class ModelEntry(_Entry, frozen=True, kw_only=True, tag="model"):
    """A model turn: what the model said and what that took. `latency` is in microseconds."""

    run: str | None = None
    output: Any = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency: int | None = None


class UserEntry(_Entry, frozen=True, kw_only=True, tag="user"):
    """A message of the user's."""

    run: str | None = None
    text: Any = None


class DecisionEntry(_Entry, frozen=True, kw_only=True, tag="decision"):
    """What was decided on one call, before anything happened.

    Where the tool may start (`verdict` is `allow`, or `mode` is not `enforce`), this is
    the intent, and an outcome or a recovery is to follow. `args` are the final arguments,
    and `given` those that the call came with, where policy has `modified` them;
    `opaque` names those that were passed on unread, with their types. `digest` is keyed:
    it compares arguments and does not give them away. `approval` is the request that this
    decision makes (`ask`) or uses up. `boot` names the process, `key` the call among
    repetitions of itself. `shadow` is what rules said that are only tried out, and `other`
    what the version said that the deciding one is compared with. `sign` are keyed digests of
    the call as the control of loops compares it, and
    `repeats` counts how often the same call was refused since the last such entry
    without one of its own.
    """

    run: str | None = None
    call: str | None = None
    tool: str
    args: Any = None
    digest: str | None = None
    verdict: Verdict
    mode: Mode = "enforce"
    modified: bool = False
    given: Any = None
    policy: PolicyRef | None = None
    reasons: tuple[Reason, ...] = ()
    shadow: tuple[Reason, ...] = ()
    other: Other | None = None
    nudge: str | None = None
    approval: str | None = None
    opaque: Mapping[str, str] = {}
    boot: str | None = None
    key: str | None = None
    sign: str | None = None
    repeats: int = 0


class ApprovalEntry(_Entry, frozen=True, kw_only=True, tag="approval"):
    """What became of a request to a person.

    `deadline` is in microseconds since 1970, UTC. `by` is the person, `reason` their
    words, `reasons` what the request asked them to override.
    """

    id: str
    event: ApprovalEvent
    run: str | None = None
    call: str | None = None
    tool: str | None = None
    digest: str | None = None
    by: str | None = None
    reason: str | None = None
    channel: str | None = None
    deadline: int | None = None
    groups: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


class OutcomeEntry(_Entry, frozen=True, kw_only=True, tag="outcome"):
    """What came of a call: it settles the decision at entry `of`.

    `result` is missing where the tool gave none; a tool that gave null has `null`.
    `latency` is in microseconds. `cost` is what it truly cost, in micro-dollars, where anybody
    knows, and `over` names the limits that were held for less than that. `echo` are keyed
    digests of the outcome as the control of loops compares it.
    """

    of: int
    run: str | None = None
    tool: str | None = None
    status: Status
    result: Any = None
    error: str | None = None
    latency: int = 0
    boot: str | None = None
    cost: int | None = None
    over: tuple[str, ...] = ()
    echo: str | None = None


class RecoveryEntry(_Entry, frozen=True, kw_only=True, tag="recovery"):
    """The process that made decision `of` is gone, and whether its call happened is unknown.

    `owner` is that process, `boot` the one that found out. A later outcome may still
    settle the decision, once a person or a check of the effect knows.
    """

    of: int
    run: str | None = None
    tool: str | None = None
    status: Literal["unknown"]
    owner: str | None = None
    boot: str | None = None


class CallEntry(_Entry, frozen=True, kw_only=True, tag="call"):
    """A call that was made elsewhere and brought in. SafeRun decided nothing on it.

    It is no intent and no outcome, and counts towards nothing. `status` is `ok` where the file
    has a `result`, and `unknown` where it has none. `args` that were no JSON object are what
    the model wrote instead. `cost_usd` is in dollars.
    """

    run: str | None = None
    call: str | None = None
    tool: str
    args: Any = None
    result: Any = None
    status: Status
    cost_usd: float | None = None


class PolicyEntry(_Entry, frozen=True, kw_only=True, tag="policy"):
    """A person has said which versions of a policy decide from now on.

    `note` is the whole assignment as it was published, signed where its author signed it. The
    other fields say the same for readers who look for one of them.
    """

    name: str
    serial: int
    act: PolicyAct
    live: str
    candidate: str | None = None
    by: str
    note: str


class ControlEntry(_Entry, frozen=True, kw_only=True, tag="control"):
    """Something was stopped or resumed, or a breaker has opened or closed.

    `scope` and `value` say what: an agent, a tool, a tenant, a user, a run, or `all`. A breaker
    is a tool's, for one `tenant`, and open `until` then, in microseconds since 1970, UTC. `by`
    is the person, or `saferun` where a control did it by itself.
    """

    event: ControlEvent
    scope: str
    value: str | None = None
    tenant: str | None = None
    run: str | None = None
    by: str
    reason: str | None = None
    until: int | None = None


AnyEntry: TypeAlias = (
    LedgerEntry
    | RunEntry
    | ModelEntry
    | UserEntry
    | DecisionEntry
    | ApprovalEntry
    | OutcomeEntry
    | RecoveryEntry
    | PolicyEntry
    | CallEntry
    | ControlEntry
)
