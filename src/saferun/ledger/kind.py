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

from saferun.call import Demand, Measure, Mode, PolicyRef, Reason, Status, Verdict

FORMAT = 5
"""The format that the first entry of a ledger names. Fields may be added within a format;
a new kind, or a new meaning of an old field, is a new format. Format 2 added the kinds
`call` and `policy`, format 3 the kind `control`, format 4 the kinds `erasure`, `archive`,
`key` and `restart`, and values that are sealed, format 5 the kind `label`."""

READABLE = (1, 2, 3, 4, 5)
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
    "erasure",
    "archive",
    "key",
    "restart",
    "label",
]

RunEvent: TypeAlias = Literal["start", "end"]

ApprovalEvent: TypeAlias = Literal[
    "requested",
    "voted",
    "edited",
    "escalated",
    "refused",
    "approved",
    "rejected",
    "expired",
    "cancelled",
    "stale",
    "granted",
    "revoked",
    "invited",
    "enrolled",
    "withdrawn",
]

ControlEvent: TypeAlias = Literal["stopped", "resumed", "opened", "closed"]

PolicyAct: TypeAlias = Literal["publish", "promote", "rollback"]

Mark: TypeAlias = Literal["right", "false", "none"]
"""What stopping a call is, or would have been: `right`, or a `false` alarm; `none` takes back
what was said before."""


class Other(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What another version of the policy would have said of the same call; it counts for nothing.

    `rules` are the ids of all that spoke for its verdict, the strongest first.
    """

    policy: PolicyRef
    verdict: Verdict
    rules: tuple[str, ...] = ()


class Unkept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value that was there and was not kept, as the settings had it.

    `bytes` is how long its JSON was, and `digest` a keyed digest of that: whoever holds the
    store's key can tell whether a value is the one.
    """

    bytes: int | None = None
    digest: str | None = None


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Which host wrote this entry, and which life of which process (`boot`): see `seal`.

    `blobs` names the large values that this entry holds by hash: hash in hex to length. `sealed`
    names the values that it holds as commitments: the commitment in hex to the path of the
    value, such as `args.email`. `unkept` has the fields whose values were there and are not kept.

    A placeholder inside a value counts only if it is named there. What a model or a tool
    says can look like a placeholder; it cannot get into these fields.
    """

    host: str | None = None
    boot: str | None = None
    blobs: Mapping[str, int] = {}
    sealed: Mapping[str, str] = {}
    unkept: Mapping[str, Unkept] = {}


class _OfRun(_Entry, frozen=True, kw_only=True):
    """The run that this belongs to, and whom that is for; so one entry can stand on its own.

    `user` is the id of the user alone. All are None for a call outside any run.
    """

    run: str | None = None
    agent: str | None = None
    user: str | None = None
    tenant: str | None = None


class _Made(_OfRun, frozen=True, kw_only=True):
    """What an agent's code has done. `within` is the decision whose tool did it, by its number."""

    within: int | None = None


class LedgerEntry(_Entry, frozen=True, kw_only=True, tag="ledger"):
    """Which ledger this is: entry 0, and no other.

    `origin` is the name under which its checkpoints are signed, `created_by` the program
    and version that began it. `vkey` is the key that they are signed with at first; a ledger
    that was begun in an earlier format does not say it.
    """

    name: str
    origin: str
    format: int
    created_by: str
    vkey: str | None = None


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


class ModelEntry(_Made, frozen=True, kw_only=True, tag="model"):
    """A model turn: what the model was given and said, and what that took.

    `latency` is in microseconds. `turn` is an id among those of the run. The model was given the
    first `kept` messages of the turn `after`, if that is named, and then `messages`. `context` is
    what was looked up for it, `plan` what the agent meant to do, and `error` says why there is no
    answer, or no whole one. `answer` is the provider's own, of which `output` says the meaning.
    `asked` are the parameters of the request beside its messages: numbers and names as they are,
    and short `digests` of all else, by their names.
    """

    turn: str | None = None
    after: str | None = None
    kept: int = 0
    messages: Any = None
    asked: Any = None
    plan: Any = None
    context: Any = None
    output: Any = None
    answer: Any = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency: int | None = None
    error: str | None = None


class UserEntry(_Made, frozen=True, kw_only=True, tag="user"):
    """A message of the user's."""

    text: Any = None


class DecisionEntry(_Made, frozen=True, kw_only=True, tag="decision"):
    """What was decided on one call, before anything happened.

    Where the tool may start (`verdict` is `allow`, or `mode` is not `enforce`), this is
    the intent, and an outcome or a recovery is to follow. `args` are the final arguments,
    and `given` those that the call came with, where policy has `modified` them;
    `opaque` names those that were passed on unread, with their types. `digest` is keyed:
    it compares arguments and does not give them away. `approval` is the request that this
    decision makes (`ask`) or uses up, and `grant` what lets it run without one. `key` is the call
    among repetitions of itself. `shadow` is what rules and limits said that are only tried out, and
    `other` what the version said that the deciding one is compared with. `sign` are keyed digests
    of the call as the control of loops compares it, and `repeats` counts how often the same call
    was refused since the last such entry without one of its own. `close` has the limits that the
    call was let through by and came close to, by their ids, as they stand with it.
    """

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
    grant: str | None = None
    opaque: Mapping[str, str] = {}
    key: str | None = None
    sign: str | None = None
    repeats: int = 0
    close: Mapping[str, Measure] = {}


class ApprovalEntry(_OfRun, frozen=True, kw_only=True, tag="approval"):
    """What became of a request to a person.

    `deadline` is in microseconds since 1970, UTC. `by` is the person, `reason` their
    words, `reasons` what the request asked them to override, and `demands` whose answers it
    takes. `function` is a keyed digest of what would run: see `saferun.function`. `revision`
    counts the edits. `joins` is the request whose answer this one waits for too. `glass` says that
    one person broke the glass and answered for all. `why` is why an answer was `refused`, and did
    not count. `grant` is what lets further calls run. Where somebody is `invited` or `enrolled`,
    `person` is who, `by` who has invited them, and there is no request.
    """

    id: str
    event: ApprovalEvent
    call: str | None = None
    tool: str | None = None
    digest: str | None = None
    function: str | None = None
    by: str | None = None
    reason: str | None = None
    channel: str | None = None
    deadline: int | None = None
    groups: tuple[str, ...] = ()
    demands: tuple[Demand, ...] = ()
    reasons: tuple[Reason, ...] = ()
    revision: int = 0
    approved: bool = False
    joins: str | None = None
    glass: bool = False
    why: str | None = None
    grant: str | None = None
    person: str | None = None


class OutcomeEntry(_OfRun, frozen=True, kw_only=True, tag="outcome"):
    """What came of a call: it settles the decision at entry `of`.

    `result` is missing where the tool gave none; a tool that gave null has `null`. `error` is
    text, or the placeholder of one that is sealed: it may repeat what is sensitive.
    `policy` is the version that let it start. `latency` is in microseconds. `cost` is what it
    truly cost, in micro-dollars, where anybody knows, and `over` names the limits that were held
    for less than that. `echo` are keyed digests of the outcome as the control of loops compares
    it. Where nobody knew how the call had ended, `by` is who has found out, a person or `verify`
    (the tool's own check), and `reason` their words.
    """

    of: int
    tool: str | None = None
    policy: PolicyRef | None = None
    status: Status
    result: Any = None
    error: str | Mapping[str, Any] | None = None
    latency: int = 0
    cost: int | None = None
    over: tuple[str, ...] = ()
    echo: str | None = None
    by: str | None = None
    reason: str | None = None


class RecoveryEntry(_OfRun, frozen=True, kw_only=True, tag="recovery"):
    """The process that made decision `of` is gone, and whether its call happened is unknown.

    `owner` is the `boot` of that process, and the entry's own is the one that found out. A later
    outcome may still settle the decision, once a person or a check of the effect knows.
    """

    of: int
    tool: str | None = None
    status: Literal["unknown"]
    owner: str | None = None


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


class ErasureEntry(_Entry, frozen=True, kw_only=True, tag="erasure"):
    """What was kept of a subject can be read no more: its key and its openings are destroyed.

    `subject` is a keyed digest of who it was, `*` for everybody, and `openings` how many values
    could be opened until then. The commitments stay where they are, and give nothing away.
    """

    subject: str
    openings: int
    by: str
    reason: str | None = None


class ArchiveEntry(_Entry, frozen=True, kw_only=True, tag="archive"):
    """The entries from `first` up to, and without, `size` lie in an archive from now on.

    `root` is the root, in base64, of the tree of the first `size` entries, and `note` the note by
    which the ledger's key says so: see `archival`. Their leaves stay in the store.
    """

    first: int
    size: int
    root: str
    note: str
    by: str


class KeyEntry(_Entry, frozen=True, kw_only=True, tag="key"):
    """From here on, checkpoints are signed with another key, whose verifier key is `vkey`.

    `note` is a signed note of the key before it, which says so: see `rotation`.
    """

    vkey: str
    note: str
    by: str
    reason: str | None = None


class RestartEntry(_Entry, frozen=True, kw_only=True, tag="restart"):
    """The newest entries of this ledger are lost, and it goes on under another name.

    Up to here it was the ledger `was`, whose checkpoint in `note` vouches for `lost` entries more
    than are there. From here on it is the ledger `origin`, and `vkey` is the key of its
    checkpoints, so that nothing is ever signed that contradicts what was signed before.
    """

    origin: str
    vkey: str
    was: str
    lost: int
    note: str
    by: str
    reason: str | None = None


class LabelEntry(_OfRun, frozen=True, kw_only=True, tag="label"):
    """A person has said of the call that entry `of` states whether it is right to stop it.

    Of several on one call, the last one holds.
    """

    of: int
    tool: str | None = None
    mark: Mark
    by: str
    reason: str | None = None


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
    | ErasureEntry
    | ArchiveEntry
    | KeyEntry
    | RestartEntry
    | LabelEntry
)
