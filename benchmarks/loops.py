"""`python -m benchmarks.loops [TRACE ...]`: what the loop control catches, and what it should not.

Plays the sequences of `tests/control/corpus` against the default thresholds until a call is
refused, and prints how many of the loops were caught, how many calls they got through, and how
much of the work was stopped, with the names of all that went wrong. What the rules are known to
get wrong is counted apart. With trace files it says instead which of their runs would have been
refused a call, and why.
"""

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks import work
from benchmarks.measure import percentile, timed
from saferun.call import canonical
from saferun.control.loop import Echo, Finding, Loops, Sign, Trail, echo, sign
from saferun.replay import Said, TracedRun, traces

CORPUS = Path(__file__).parent.parent / "tests" / "control" / "corpus"
HALVES = ("tuned-on", "held-out")
KNOWN = "known-limits"
"""The file of what is known to go wrong: work that is refused, and loops that are not seen."""

_SECOND = 1_000_000
_A_TURN = 2 * _SECOND
"""Between two calls of a run whose times are not known."""


class Event(NamedTuple):
    """One call and what came of it, or a message of the user (`tool` is None).

    A call that is made `together` with those before it is made before these have ended. One that
    is `denied` is so by something else, as a rule or a limit.
    """

    after: int
    tool: str | None = None
    args: Mapping[str, Any] = {}
    result: Any = None
    error: str | None = None
    together: bool = False
    denied: bool = False


class Sequence(NamedTuple):
    name: str
    kind: Literal["loop", "work"]
    half: str
    tools: Mapping[str, Mapping[str, Any]]
    events: tuple[Event, ...]

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


class Played(NamedTuple):
    """How many calls were let through, how many of them with a nudge, and what ended it."""

    calls: int
    nudges: int
    finding: Finding | None


def sequences() -> Iterator[Sequence]:
    for half in (*HALVES, KNOWN):
        for file in sorted(CORPUS.glob(f"*{half}.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                events = tuple(_events(said["steps"]))
                tools = said.get("tools", {})
                yield Sequence(said["name"], said["kind"], half, tools, events)


def played(
    events: Iterable[Event],
    tools: Mapping[str, Mapping[str, Any]],
    settings: Loops | None = None,
) -> Played:
    """Play a run until a call is refused. A tool that is not declared may do anything."""
    settings = settings or Loops()
    trail = Trail()
    now = calls = nudges = 0
    under_way: list[tuple[int, Echo]] = []
    for event in events:
        if not event.together:
            for number, came in under_way:
                trail.ended(number, came, now)
            under_way.clear()
        now += event.after
        if event.tool is None:
            trail.told(now)
            continue
        declared = tools.get(event.tool, {})
        known = sign(event.tool, canonical.encode(event.args), _digest)
        found = trail.check(
            settings,
            known,
            now,
            poll=declared.get("poll", False),
            effect=declared.get("effect", "destructive"),
        )
        if found is not None and found.step != "nudge":
            return Played(calls, nudges, found)
        if event.denied:
            continue
        nudges += found is not None
        calls += 1
        trail.started(known, calls, now)
        if event.error is None:
            came = echo("ok", canonical.encode(event.result), None, _digest)
        else:
            came = echo("error", None, event.error, _digest)
        under_way.append((calls, came))
    return Played(calls, nudges, None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.loops", description=__doc__)
    parser.add_argument("trace", nargs="*", type=Path, help="runs to play instead of the corpus")
    parser.add_argument("--half", choices=(*HALVES, KNOWN), help="only this part of the corpus")
    parser.add_argument("--speed", action="store_true", help="what a step costs, in microseconds")
    parser.add_argument("--json", action="store_true", help="one sequence a line")
    asked = parser.parse_args()
    if asked.trace:
        _tell_traces(asked.trace)
        return
    if asked.speed:
        _tell_speed()
        return
    known = [each for each in sequences() if asked.half in (None, each.half)]
    done = [(each, played(each.events, each.tools)) for each in known]
    if asked.json:
        for each, came in done:
            print(json.dumps(_document(each, came)))
        return
    halves = [pair for pair in done if pair[0].half != KNOWN]
    if halves:
        _tell_corpus(halves)
    if len(halves) < len(done):
        _tell_known([pair for pair in done if pair[0].half == KNOWN])


def _document(sequence: Sequence, came: Played) -> dict[str, Any]:
    return {
        "name": sequence.name,
        "kind": sequence.kind,
        "half": sequence.half,
        "calls": came.calls,
        "nudges": came.nudges,
        "refused_by": None if came.finding is None else came.finding.signal,
    }


def _tell_corpus(done: list[tuple[Sequence, Played]]) -> None:
    for kind, heading in (("loop", "loops caught"), ("work", "work stopped")):
        own = [(each, came) for each, came in done if each.kind == kind]
        print(f"{heading:24}" + "".join(f"{half:>12}" for half in HALVES) + f"{'calls':>9}")
        for group in sorted({each.group for each, _ in own}):
            print(_row(group, [pair for pair in own if pair[0].group == group]))
        print(_row("all", own), end="\n\n")
    for each, came in done:
        if (came.finding is None) == (each.kind == "loop"):
            why = "not caught" if came.finding is None else f"stopped by {came.finding.signal}"
            print(f"✕ {each.kind} {each.name} ({each.half}): {why} after {came.calls} calls")
    nudged = [each.name for each, came in done if each.kind == "work" and came.nudges]
    words = sum(came.nudges for each, came in done if each.kind == "work")
    print(f"{len(nudged)} sequences of work were nudged, {words} times: {', '.join(nudged)}")


def _tell_known(done: list[tuple[Sequence, Played]]) -> None:
    work = [(each, came) for each, came in done if each.kind == "work"]
    loops = [(each, came) for each, came in done if each.kind == "loop"]
    refused = sum(came.finding is not None for _, came in work)
    missed = sum(came.finding is None for _, came in loops)
    cells = f"{refused}/{len(work)} of work refused, {missed}/{len(loops)} loops not seen"
    print(f"\nknown limits: {cells}")
    for each, came in done:
        why = "not seen" if came.finding is None else f"refused by {came.finding.signal}"
        print(f"  {each.kind} {each.name}: {why} after {came.calls} calls")


def _row(group: str, own: list[tuple[Sequence, Played]]) -> str:
    """How many of each half were refused a call, and how many calls the median one got."""
    cells = []
    for half in HALVES:
        refused = [came.finding is not None for each, came in own if each.half == half]
        cells.append(f"{sum(refused)}/{len(refused)}")
    spent = sorted(came.calls for _, came in own)
    return (
        f"  {group:22}" + "".join(f"{cell:>12}" for cell in cells) + f"{spent[len(spent) // 2]:>9}"
    )


def _tell_traces(files: list[Path]) -> None:
    runs = refused = nudged = 0
    for file in files:
        for run in traces(file):
            came = played(_traced(run), {})
            runs += 1
            nudged += came.nudges > 0
            if came.finding is not None:
                refused += 1
                print(f"{run.run_id}: {came.finding.signal} after {came.calls} calls")
                print(f"    {came.finding.message}")
    print(f"{runs} runs, of which {refused} were refused a call and {nudged} were nudged")


def _traced(run: TracedRun) -> Iterator[Event]:
    for step in run.steps:
        if isinstance(step, Said):
            if step.by == "user":
                yield Event(_A_TURN)
        else:
            yield Event(_A_TURN, step.tool, step.args, step.result if step.ran else None)


def _tell_speed() -> None:
    """What each part of a step costs, after a run of 100 calls and one of 10,000."""
    plain = canonical.encode(
        {"account": "DE89-1", "amount": 4_000, "currency": "EUR", "order_id": "A-17", "to": "GB29"}
    )
    worded = canonical.encode(work.CALL)
    came = canonical.encode({"id": "re_129", "state": "done", "at": "2025-03-03T09:00:07Z"})
    _tell(f"sign: {len(plain)} bytes", lambda: sign("refund", plain, _digest))
    _tell(f"sign: {len(worded)} bytes, with a sentence", lambda: sign("refund", worded, _digest))
    _tell(f"echo: {len(came)} bytes", lambda: echo("ok", came, None, _digest))
    _tell("echo: an error", lambda: echo("error", None, "KeyError: no order A-17", _digest))
    for calls in (100, 10_000):
        _tell_steps(calls, sign("refund", plain, _digest), echo("ok", came, None, _digest))


def _tell_steps(calls: int, known: Sign, same: Echo) -> None:
    trail, settings = Trail(), Loops()
    seq = itertools.count()

    def step() -> None:
        number = next(seq)
        trail.started(known, number, number * _SECOND)
        trail.ended(number, same, number * _SECOND)

    def check(one: Sign) -> None:
        trail.check(settings, one, calls * _SECOND, poll=False, effect="read")

    for number in range(1, calls + 1):
        other = sign("get", canonical.encode({"key": number}), _digest)
        trail.started(other, -number, number * _SECOND)
        trail.ended(-number, echo("ok", canonical.encode(number), None, _digest), number * _SECOND)
        step()
    new = sign("refund", b"{}", _digest)
    _tell(f"check after {calls:,}: a repeat", lambda: check(known))
    _tell(f"check after {calls:,}: a new call", lambda: check(new))
    _tell(f"started and ended after {calls:,}", step)


def _tell(name: str, call: Callable[[], object]) -> None:
    spent = timed(call, 20_000).spent
    print(f"{name:44} p50 {percentile(spent, 50):6.2f}   p99 {percentile(spent, 99):6.2f}")


def _events(steps: Iterable[dict[str, Any]]) -> Iterator[Event]:
    for step in steps:
        if "times" in step:
            for _ in range(step["times"]):
                yield from _events(step["steps"])
            continue
        yield Event(
            after=round(step.get("after", 0) * _SECOND),
            tool=step.get("tool"),
            args=step.get("args", {}),
            result=step.get("result"),
            error=step.get("error"),
            together=step.get("together", False),
            denied=step.get("denied", False),
        )


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16, key=b"corpus").digest()


if __name__ == "__main__":
    main()
