"""The calls of an incident file put before policies as they are now.

Each is decided once more, by `replay.Backtest`, in the order in which they were made. Nothing acts.
What is expected of a call stands in the file:

- It is stopped where a person has called that right: denied, put off, or a person is asked.
- It is let through where a person has called stopping it a false alarm.
- Of the others, what ran is let through, what people were asked about is asked about again (or is
  stopped, if it never ran), and what was stopped still is.

What cannot be decided is told as such, and is no pass: arguments that were redacted, sealed or are
not in the file, inputs that nobody knows of the run, and calls that were stopped by what a file has
no past of, such as a switch, or a limit over other runs.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from saferun import redact
from saferun.config import Config
from saferun.incident.opened import Opened
from saferun.ledger import Entry, Mark, read
from saferun.policy import Policy, load
from saferun.replay import Backtest, Frame, Redecided, story
from saferun.replay.backtest import UNREAD
from saferun.store import Reader

if TYPE_CHECKING:
    from pathlib import Path

Expected: TypeAlias = Literal["stop", "ask", "pass"]
Finding: TypeAlias = Literal["held", "failed", "undecided"]

Policies: TypeAlias = Callable[[str | None], Policy | None]
"""The policy that decides now on what one of that name has decided on, None where there is none.

It is asked with None for calls that no policy decided on."""

_STOPS = ("deny", "defer", "ask")
_LABELS: Mapping[Mark, Expected] = {"right": "stop", "false": "pass"}
_VEIL = redact.placeholder("for this file")
_OWN = ("args", "rule", "default", "loop")
"""What speaks by the policy and the run alone, both of which are at hand."""


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an incident, decided once more.

    `frame` is its number in the run. `recorded` is the verdict that it had, `ask` whatever the
    person then said, and None where nobody decided on it. `policy` is the name of the one that
    decides now, with the `verdict` (None where there is no policy), the `rules` that speak, the
    strongest first, and the `control` that decides, if one does. `why` says what is wrong where
    what is `expected` has not `held`.
    """

    run: str
    frame: int
    tool: str
    label: Mark | None
    recorded: str | None
    policy: str | None
    verdict: str | None
    rules: tuple[str, ...]
    control: str | None
    expected: Expected
    finding: Finding
    why: str

    @property
    def place(self) -> str:
        """The frame as the command line names it."""
        return f"{self.run}#{self.frame}"

    @property
    def stopped(self) -> bool:
        """Whether it does not run now unless a person says so."""
        return self.verdict in _STOPS


def retried(
    found: Opened,
    policies: Policies,
    *,
    environment: str | None = None,
    stops: Collection[str] = (),
) -> Iterator[Retried]:
    """Decide the calls of a file once more, run by run and in their order.

    `stops` are frames that it is right to stop, beside those that are labelled so, as `RUN#FRAME`.
    `environment` is what `environment` is to conditions and scopes. Raises StoreError.
    """
    said = found.incident.manifest
    redacted = frozenset(said.redacted)
    with Reader(found.path) as reader:
        entries = [
            veiled(entry) if entry.seq in redacted else entry
            for entry in (read(body) for _, body, _ in reader.rows())
        ]
        calls = list(_calls(entries, said.runs, redacted, stops))
        deciding = {name: policies(name) for name in {call.policy for call in calls}}
        told: dict[tuple[str, int], Redecided] = {}
        for policy in {id(each): each for each in deciding.values() if each is not None}.values():
            names = {name for name, each in deciding.items() if each is policy}
            mine = [call for call in calls if call.policy in names]
            test = Backtest(policy, environment=environment)
            kept = (each for each in entries if _by(each, names))
            told |= _placed(mine, test.history(kept, reader.blob))
    for call in calls:
        yield _judged(call, deciding[call.policy], told.get((call.run, call.frame.number)))


def by_name(settings: Config) -> Policies:
    """The policies of a configuration, by their names; the configured one where none decided."""
    # A name in a file is somebody else's word: it is looked for here, and no path is made of it.
    there = {each.stem: each for each in settings.policies.glob("*.yaml")}
    loaded: dict[Path, Policy] = {}

    def of(name: str | None) -> Policy | None:
        file = there.get(name) if name is not None else None
        if name is None and settings.policy is not None:
            file = settings.policy_file(settings.policy)
        if file is None:
            return None
        if file not in loaded:
            loaded[file] = load(file)
        return loaded[file]

    return of


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the record. `veiled` says that whom its run was for was redacted."""

    run: str
    frame: Frame
    policy: str | None
    veiled: bool

    @property
    def tool(self) -> str:
        return str((self.frame.decision or self.frame.said).get("tool", ""))

    @property
    def label(self) -> Mark | None:
        mark: Mark | None = (self.frame.label or {}).get("mark")
        return mark

    @property
    def ran(self) -> bool:
        fields = self.frame.decision
        if fields is None:
            return True
        return bool(fields["verdict"] == "allow" or fields.get("mode", "enforce") != "enforce")

    @property
    def asked(self) -> bool:
        fields = self.frame.decision or {}
        return fields.get("approval") is not None and fields.get("mode", "enforce") == "enforce"

    @property
    def expected(self) -> Expected:
        if self.label is not None and self.label in _LABELS:
            return _LABELS[self.label]
        return "ask" if self.asked else "pass" if self.ran else "stop"

    @property
    def by_others(self) -> bool:
        """Whether it was stopped by something that the file has no past of."""
        reasons = (self.frame.decision or {}).get("reasons", ())
        stops = [each for each in reasons if each.get("effect") in _STOPS]
        return bool(stops) and not any(_of_the_run(each) for each in stops)


def _of_the_run(reason: Mapping[str, Any]) -> bool:
    scope = str((reason.get("measure") or {}).get("scope", ""))
    return reason.get("source") in _OWN or (
        reason.get("source") == "limit" and scope.startswith("run ")
    )


def veiled(entry: Entry) -> Entry:
    """A redacted entry without what it says: nothing vouches for that."""
    fields = {**entry.fields}
    if entry.kind in ("decision", "call"):
        fields.pop("given", None)
        fields["args"] = _VEIL
    elif entry.kind == "run":
        fields.pop("user", None)
        fields.pop("context", None)
        fields["prompt"] = _VEIL
    elif entry.kind == "user":
        fields["text"] = _VEIL
    elif entry.kind == "label":
        fields["mark"] = "none"
    return msgspec.structs.replace(entry, fields=fields)


def _calls(
    entries: Iterable[Entry],
    runs: Sequence[str],
    redacted: frozenset[int],
    stops: Collection[str],
) -> Iterator[_Call]:
    of: dict[str, list[Entry]] = {run: [] for run in runs}
    veiled: set[str] = set()
    for entry in entries:
        run = entry.fields.get("run")
        if run in of:
            of[run].append(entry)
            if entry.kind == "run" and entry.seq in redacted:
                veiled.add(run)
    for run, own in of.items():
        for frame in story(run, own).frames:
            if frame.kind == "call":
                policy = ((frame.decision or {}).get("policy") or {}).get("name")
                if f"{run}#{frame.number}" in stops:
                    frame.label = {"mark": "right"}
                yield _Call(run=run, frame=frame, policy=policy, veiled=run in veiled)


def _by(entry: Entry, names: set[str | None]) -> bool:
    """Whether an entry is no decision, or one of a policy of these names."""
    if entry.kind not in ("decision", "call"):
        return True
    return (entry.fields.get("policy") or {}).get("name") in names


def _placed(calls: Sequence[_Call], told: Iterable[Redecided]) -> dict[tuple[str, int], Redecided]:
    """What was decided now, by run and frame: both have the calls of a run in its order."""
    frames: dict[str | None, list[int]] = {}
    for call in calls:
        frames.setdefault(call.run, []).append(call.frame.number)
    return {
        (each.run_id, frames[each.run_id][each.index]): each
        for each in told
        if each.run_id is not None and each.index < len(frames.get(each.run_id, ()))
    }


def _judged(call: _Call, policy: Policy | None, now: Redecided | None) -> Retried:
    verdict, why = None if now is None else _verdict(policy, now), _undecided(call, policy, now)
    finding: Finding = "undecided"
    if why is None:
        why = _wrong(call, policy, now)
        finding = "held" if why is None else "failed"
    elif call.label in _LABELS:
        # Somebody has said what has to become of it, and nobody can say that it does.
        why, finding = f"{why}, and a person has said what has to become of it", "failed"
    fields = call.frame.decision
    recorded = None if fields is None else "ask" if call.asked else fields["verdict"]
    return Retried(
        run=call.run,
        frame=call.frame.number,
        tool=call.tool,
        label=call.label,
        recorded=recorded,
        policy=None if policy is None else policy.name,
        verdict=verdict,
        rules=() if now is None else now.rules,
        control=None if now is None else now.control,
        expected=call.expected,
        finding=finding,
        why=why or "",
    )


def _verdict(policy: Policy | None, now: Redecided) -> str:
    """What it comes to: a policy in shadow stops nothing."""
    shadow = policy is not None and policy.mode == "shadow"
    return "allow" if shadow and now.verdict in _STOPS else now.verdict


def _undecided(call: _Call, policy: Policy | None, now: Redecided | None) -> str | None:
    """Why nobody can tell, None where one can."""
    if policy is None:
        name = call.policy
        if name is None:
            return "no policy decided on it then, and none was named"
        return f"the policy {name[:80]!r} decided on it then, and there is none of that name"
    if now is None:
        return "the file has it in no order that could be followed"
    if now.missing == (UNREAD,):
        return "its arguments are redacted or sealed, or are not in the file"
    if now.verdict == "unknown":
        return f"{', '.join(now.missing)} is not known of the run"
    if call.veiled and now.control is not None:
        return f"{now.control} may depend on whom the run was for, which is redacted"
    if call.label is None and not call.ran and now.verdict == "allow" and call.by_others:
        return "it was stopped by what the file has no past of, such as a switch or other runs"
    return None


def _wrong(call: _Call, policy: Policy | None, now: Redecided | None) -> str | None:
    """What is not as expected, None where it is."""
    assert now is not None
    verdict = _verdict(policy, now)
    by = f" by {', '.join(now.rules)}" if now.rules else ""
    match call.expected:
        case "stop" if verdict not in _STOPS:
            shadow = ": the policy is in shadow" if now.verdict in _STOPS else ""
            was = "it is right to stop it, says a label" if call.label else "it was stopped"
            return f"{was}, and it is let through{shadow}"
        case "pass" if verdict != "allow":
            was = "to stop it is a false alarm, says a label" if call.label else "it ran"
            return f"{was}, and it is {_DONE[verdict]}{by}"
        case "ask" if verdict == "allow":
            return "people were asked, and nobody is"
        case "ask" if verdict != "ask" and call.ran:
            return f"people said yes, and it is {_DONE[verdict]}{by}"
    return None


_DONE = {"deny": "denied", "defer": "put off", "ask": "asked about"}
