"""All calls of one tool, with what was known beside each: the columns that rules are tried on.

Of other tools only their names are taken up, since conditions may ask what a run has done before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from saferun.call import Call, Facts, Past, RunRef
from saferun.ledger import Mark, Openings
from saferun.policy.suggest import Seen
from saferun.replay import large
from saferun.replay.suggest.collecting import not_collecting
from saferun.said import begun, by_people, heard
from saferun.store.index import Index
from saferun.store.labels import labels
from saferun.store.near import FAILED, Near, near_misses, weighed

MAX_CALLS = 1_000_000
"""Calls and runs that are taken up, the newest."""

_CALLS = ("decision", "call")

_T = TypeVar("_T")


class Known(NamedTuple):
    """One recorded call of the tool.

    `seq` is the entry that it began with, and `answer` the last one that decided on it. `call`
    is None where its arguments cannot be read. `ran` says that it was let start, and `near` why
    its decision is a near miss. `label` is what a person says of stopping it.
    """

    seq: int
    run: str | None
    call: Call | None
    facts: Facts
    verdict: str | None
    ran: bool
    near: tuple[Near, ...]
    label: Mark | None

    @property
    def seen(self) -> Seen | None:
        """As far as rules can be made from it."""
        if self.call is None:
            return None
        run, past = self.call.run, self.facts.past
        user = None if run is None else run.user_id
        if past is None:
            return Seen(args=self.call.args, user=user)
        return Seen(
            args=self.call.args, user=user, tools=past.tools, calls=past.calls, said=past.said
        )


class History(NamedTuple):
    """The calls of one tool in their order, and how many entries could not be read.

    `hidden` are the arguments of which any was kept sealed: no rule may quote them.
    """

    tool: str
    calls: list[Known]
    unread: int = 0
    hidden: frozenset[str] = frozenset()

    def at(self, seq: int) -> Known | None:
        """The call that began with an entry."""
        return next((each for each in self.calls if each.seq == seq), None)


class _Run(msgspec.Struct):
    """The first entry of a run, as far as conditions and scopes ask for it."""

    time: int
    event: str
    run: str
    root: str | None = None
    parent: str | None = None
    agent: str | None = None
    user: dict[str, Any] = {}
    tenant: str | None = None
    prompt: Any = None
    context: dict[str, Any] = {}
    blobs: dict[str, int] = {}
    sealed: dict[str, str] = {}
    unkept: dict[str, Any] = {}


class _User(msgspec.Struct):
    """What the user has said in a run."""

    time: int
    run: str | None = None
    text: Any = None


class _Other(msgspec.Struct, kw_only=True):
    """A call of any tool, as far as it belongs to the past of its run.

    Fields stand in the order of entries, in which they are found the soonest.
    """

    time: int
    kind: str
    run: str | None = None
    tool: str
    verdict: str | None = None
    mode: str = "enforce"
    status: str | None = None
    approval: str | None = None

    @property
    def started(self) -> bool:
        if self.kind == "call":
            return self.status == "ok"
        return self.verdict == "allow" or self.mode != "enforce"


class _Own(_Other):
    """A call of the tool."""

    call: str | None = None
    agent: str | None = None
    user: str | None = None
    tenant: str | None = None
    args: Any = None
    given: Any = msgspec.UNSET
    digest: str | None = None
    reasons: list[dict[str, Any]] = []
    shadow: list[dict[str, Any]] = []
    other: dict[str, Any] | None = None
    nudge: str | None = None
    opaque: dict[str, str] = {}
    close: dict[str, Any] = {}
    blobs: dict[str, int] = {}
    sealed: dict[str, str] = {}


class _End(msgspec.Struct):
    """How a call has ended, so far."""

    of: int
    status: str


class _Lost(msgspec.Struct):
    """A call of which nobody knows how it ended."""

    run: str | None = None


class _Answer(msgspec.Struct):
    """What became of a request."""

    id: str


_END = msgspec.json.Decoder(_End)
_LOST = msgspec.json.Decoder(_Lost)
_ANSWER = msgspec.json.Decoder(_Answer)
_RUN = msgspec.json.Decoder(_Run)
_USER = msgspec.json.Decoder(_User)
_OTHER = msgspec.json.Decoder(_Other)
_OWN = msgspec.json.Decoder(_Own)
_REDACTED = b"[redacted: "


@not_collecting()
def history(
    index: Index,
    tool: str,
    *,
    environment: str | None = None,
    openings: Openings | None = None,
    most: int = MAX_CALLS,
) -> History:
    """The recorded calls of a tool. The index has to be built.

    What is sealed is opened as far as `openings` go. What a run says of its user counts for
    conditions, as it does when a call is decided.
    """
    return _Reading(index, tool, environment, openings).read(most)


class _Reading:
    def __init__(
        self, index: Index, tool: str, environment: str | None, openings: Openings | None
    ) -> None:
        self._index = index
        self._tool = tool
        self._environment = environment
        self._openings = openings
        self._labels = labels(index)
        self._runs: dict[str, RunRef] = {}
        self._pasts: dict[str, Past] = {}
        self._asked: dict[str, int] = {}
        self._denied: dict[str, str] = {}
        self._edited: frozenset[str] = frozenset()
        self._failed: frozenset[int] = frozenset()
        self._calls: list[Known] = []
        self._unread = 0
        self._hidden: set[str] = set()

    def read(self, most: int) -> History:
        index = self._index
        if not index.has("tool", self._tool):
            return History(self._tool, [])
        self._edited, self._failed = self._edits(), self._failures()
        seqs = index.numbers({"kind": (*_CALLS, "run", "user")})
        # A tool's name in what another is given makes a call be decoded in full, and no more.
        named = b'"tool":' + msgspec.json.encode(self._tool)
        for seq, body, _ in index.reader.several(seqs[-most:]):
            try:
                self._take(seq, body, own=named in body)
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, KeyError):
                # It is archived, or was changed: `ledger verify` says how.
                self._unread += 1
        return History(self._tool, self._calls, self._unread, frozenset(self._hidden))

    def _edits(self) -> frozenset[str]:
        """The requests whose calls people have changed."""
        seqs = self._index.numbers({"kind": ("approval",), "status": ("edited",)})
        return frozenset(each.id for each in self._several(seqs, _ANSWER))

    def _failures(self) -> frozenset[int]:
        """The decisions whose calls went wrong, or ended nobody knows how."""
        index, ends = self._index, ("outcome", "recovery")
        seqs = set(index.numbers({"kind": ends, "status": FAILED}))
        lost = index.numbers({"kind": ("recovery",)})
        # Somebody may have found out since.
        runs = {each.run for each in self._several(lost, _LOST) if each.run is not None}
        if runs:
            seqs |= set(index.numbers({"kind": ("outcome",), "run": tuple(runs)}))
        ended = {each.of: each.status for each in self._several(sorted(seqs), _END)}
        return frozenset(of for of, status in ended.items() if status in FAILED)

    def _several(self, seqs: Sequence[int], decoder: "msgspec.json.Decoder[_T]") -> Iterator[_T]:
        for _, body, _ in self._index.reader.several(seqs):
            try:
                yield decoder.decode(body)
            except (msgspec.MsgspecError, ValueError):
                # It is archived, or was changed: `ledger verify` says how.
                continue

    def _take(self, seq: int, body: bytes, *, own: bool) -> None:
        if b'"kind":"run"' in body[:80]:
            self._began(_RUN.decode(body))
        elif b'"kind":"user"' in body[:80]:
            self._heard(_USER.decode(body))
        elif own and (said := _OWN.decode(body)).tool == self._tool:
            self._own(seq, body, said)
        else:
            other = _OTHER.decode(body)
            run = self._run_of(other)
            self._ran(other, run, self._past(other, run))

    def _began(self, said: _Run) -> None:
        if said.event != "start":
            return
        self._runs[said.run] = RunRef(
            run_id=said.run,
            root=said.root or said.run,
            parent=said.parent,
            agent=said.agent,
            user=_whole(said, said.user),
            tenant=said.tenant,
            context=_whole(said, said.context),
        )
        if said.root in (None, said.run):
            past = self._pasts.get(said.run) or Past(began=said.time)
            self._pasts[said.run] = replace(past, said=begun(past.said, said.prompt, said.unkept))

    def _heard(self, said: _User) -> None:
        run = self._runs.get(said.run or "")
        if run is not None and by_people(run):
            past = self._pasts.get(run.root) or Past(began=said.time)
            self._pasts[run.root] = replace(past, said=heard(past.said, said.text))

    def _run_of(self, said: _Other) -> RunRef | None:
        if said.run is None:
            return None
        known = self._runs.get(said.run)
        if known is None:
            known = self._runs[said.run] = RunRef(run_id=said.run, root=said.run)
        return known

    def _past(self, said: _Other, run: RunRef | None) -> Past | None:
        if run is None:
            return None
        past = self._pasts.get(run.root)
        if past is None:
            past = self._pasts[run.root] = Past(began=said.time)
        return past

    def _ran(self, said: _Other, run: RunRef | None, past: Past | None) -> None:
        """Have a call that was let start be in the past of those after it."""
        if past is None or run is None or not said.started:
            return
        tools = past.tools
        if said.tool not in tools:
            tools = tuple(sorted((*tools, said.tool)))
        self._pasts[run.root] = Past(
            began=past.began, calls=past.calls + 1, tools=tools, said=past.said
        )

    def _own(self, seq: int, body: bytes, said: _Own) -> None:
        near = self._near(seq, said) if said.kind == "decision" else ()
        if said.verdict == "deny" and said.run is not None:
            self._denied[said.run] = said.digest or ""
        run = self._run_of(said)
        past = self._past(said, run)
        first = self._asked.get(said.approval) if said.approval is not None else None
        if first is not None:
            # The answer to a question: the call is there already.
            before = self._calls[first]
            self._calls[first] = before._replace(ran=said.started, near=near)
            self._ran(said, run, past)
            return
        if said.approval is not None:
            self._asked[said.approval] = len(self._calls)
        known = self._labels.get(seq)
        facts = Facts(now=said.time, environment=self._environment, past=past)
        verdict = "ask" if said.approval is not None else said.verdict
        label = None if known is None else known.mark
        call = self._call(said, body, run)
        self._calls.append(Known(seq, said.run, call, facts, verdict, said.started, near, label))
        self._ran(said, run, past)

    def _near(self, seq: int, said: _Own) -> tuple[Near, ...]:
        denied = self._denied.get(said.run) if said.run is not None else None
        plain = said.verdict == "allow" and said.mode == "enforce" and said.approval is None
        spoken = said.reasons or said.shadow or said.other or said.nudge or said.close
        failed = seq in self._failed
        if plain and not spoken and denied is None and not failed:
            # As nearly all are: nobody has said anything.
            return ()
        return near_misses(
            weighed(said),
            denied,
            edited=said.approval in self._edited,
            status="error" if failed else None,
        )

    def _call(self, said: _Own, body: bytes, run: RunRef | None) -> Call | None:
        """The call as it came, None where its arguments are not what they were."""
        args = said.args if said.given is msgspec.UNSET else said.given
        if said.blobs or said.sealed:
            paths = (path.split(".") for path in said.sealed.values())
            self._hidden |= {steps[1] for steps in paths if steps[0] in ("args", "given")}
            fields = {"args": args, "blobs": said.blobs, "sealed": said.sealed}
            args = large.found(fields, "args", self._index.reader.blob, self._openings)
            held = {**fields, "args": args}
            if large.named(held, "args") is not None or large.left(held, args):
                return None
        if not isinstance(args, dict) or "$omitted" in args:
            return None
        if _REDACTED in body and _REDACTED in msgspec.json.encode(args):
            return None
        made = Call(tool=self._tool, args=args, call_id=said.call, run=run)
        return replace(made, opaque=said.opaque) if said.opaque else made


def _whole(said: _Run, value: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept of a value: conditions must not see a word in the place of what is sealed."""
    fields = {"sealed": said.sealed}
    return {
        name: held
        for name, held in value.items()
        if not (said.sealed and large.left(fields, {name: held}))
        and not (isinstance(held, str) and "[redacted: " in held)
    }


def fine(calls: Sequence[Known], incident: Known) -> Iterator[Known]:
    """The calls that are taken to have been as they should, in their order.

    Not those that a person has called right to stop, nor what was not let start unless somebody
    calls that a false alarm; and nothing of the incident's run from it on.
    """
    for each in calls:
        if each.label == "right" or not (each.ran or each.label == "false"):
            continue
        if each.run == incident.run and each.seq >= incident.seq:
            continue
        yield each
