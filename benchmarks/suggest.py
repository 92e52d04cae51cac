"""`python -m benchmarks.suggest`: rules for one call out of 100,000, with what each would do.

With `--trace FILE`, a trace file whose malicious calls are labelled: rules are asked for each of
these in turn, as if it were the first that anybody has found, and the report says which of them
stop it, and how many calls that were fine each best rule would have touched.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.search import filled
from saferun.call import PolicyRef
from saferun.importing import brought, together
from saferun.ledger import AnyEntry, DecisionEntry, OutcomeEntry, RunEntry, read
from saferun.replay import traces
from saferun.replay.suggest import (
    File,
    History,
    Known,
    Place,
    Suggested,
    history,
    suggestions,
    sweep,
)
from saferun.store import Reader, Store
from saferun.store.index import Index

TARGET_S = 3.0
CALLS = 100_000
A_RUN = 10
EVERY = 60
"""Rules that are tried where none is to be left out."""
TOOLS = ("lookup_order", "search_docs", "send_mail", "refund")

POLICY = b"""\
version: 1
name: production
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 40}
      amount: {type: integer, minimum: 1}
      to: {type: string, maxLength: 100}
      note: {type: string, maxLength: 1000}
    rules:
      - {id: big, ask: [finance], when: args.amount > 500000}
  lookup_order: {effect: read, args: any}
  search_docs: {effect: read, args: any}
  send_mail: {effect: write, args: any}
"""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--calls", type=int, default=CALLS)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--trace", type=Path, help="a trace file with labelled calls")
    asked.add_argument("--incidents", type=int, default=0, help="at most so many of each tool")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    # On the disk of the repository and not wherever temporary files go, which may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        file = Path(folder) / "saferun.db"
        if given.trace is not None:
            found = incidents(file, given.trace, given.incidents)
            print(json.dumps(found, indent=2) if given.json else _report(found))
            return
        figures = {
            "all of one tool": timed(file.with_name("one.db"), given.calls, 1.0, given.rounds),
            "a quarter of one tool": timed(
                file.with_name("some.db"), given.calls, 0.25, given.rounds
            ),
        }
    if given.json:
        print(json.dumps({"calls": given.calls, "seconds": figures}, indent=2))
        return
    for name, (seconds, busy) in figures.items():
        mark = "✓" if seconds < TARGET_S else "✕"
        print(
            f"{mark} {given.calls:,} calls, {name}: {seconds:.2f} s (≤ {TARGET_S:.0f} s), "
            f"{busy:.2f} s of the processor"
        )


def timed(file: Path, calls: int, share: float, rounds: int) -> tuple[float, float]:
    """The median of the seconds that suggestions take, by the clock and of the processor.

    Others use the machine as well. History is read from the store each time.
    """
    filled(file, _entries(calls, share))
    took = []
    with Reader(file) as reader, Index(reader) as index:
        index.build()
        for _ in range(rounds):
            began, spent = time.perf_counter(), time.process_time()
            known = history(index, "refund")
            incident = known.calls[-1]
            found = suggestions(File(POLICY, None), known, incident).found
            took.append((time.perf_counter() - began, time.process_time() - spent))
            assert found
            assert found[0].effect.touched == 0
            assert "origin" in {each.candidate.kind for each in found}
    clock, busy = zip(*took, strict=True)
    return statistics.median(clock), statistics.median(busy)


POLICY_REF = PolicyRef(name="production", version="a" * 64)


def _entries(calls: int, share: float) -> Iterator[AnyEntry]:
    chance = random.Random(7)
    seq = 1
    for run in range(calls // A_RUN):
        of = {"run": f"run-{run}", "agent": "support", "user": f"user-{run % 500}"}
        to = f"u{chance.randrange(4000)}@shop{chance.randrange(4)}.example"
        yield RunEntry(
            event="start",
            run=f"run-{run}",
            root=f"run-{run}",
            agent="support",
            user={"id": f"user-{run % 500}", "tier": "basic"},
            prompt=f"Please see to my order, and have the money sent to {to}.",
        )
        seq += 1
        for number in range(A_RUN):
            last = run == calls // A_RUN - 1 and number == A_RUN - 1
            tool = "refund" if last or chance.random() < share else chance.choice(TOOLS[:3])
            yield DecisionEntry(
                **of,
                call=f"call_{number}",
                tool=tool,
                args=_args(chance, to, last=last) if tool == "refund" else {"q": "where is it"},
                digest=f"{chance.getrandbits(128):032x}",
                verdict="allow",
                policy=POLICY_REF,
                sign=f"{chance.getrandbits(128):032x}",
            )
            yield OutcomeEntry(
                **of, of=seq, tool=tool, policy=POLICY_REF, status="ok", result="done", latency=9
            )
            seq += 2


def _args(chance: random.Random, to: str, *, last: bool) -> dict[str, Any]:
    """Arguments of a refund; those of the last one are not as all others."""
    if last:
        note = "as told by the page"
        return {"order_id": "X-1", "amount": 950_000, "to": "a@evil.example", "note": note}
    return {
        "order_id": f"A-{chance.randrange(10**6)}",
        "amount": chance.randrange(100, 90_000),
        "to": to,
        "note": "Arrived broken, and the customer asks for the money.",
    }


def incidents(file: Path, trace: Path, most: int) -> dict[str, Any]:
    """What is suggested for each labelled call of a trace, as if no other were known."""
    known, bad = _brought_in(file, trace)
    policies = File(_open_policy(known), None)
    tools: dict[str, Any] = {}
    for tool, found in known.items():
        wanted = [each for each in found.calls if each.seq in bad and each.call is not None]
        lacking = sum(each.seq in bad and each.call is None for each in found.calls)
        chosen = wanted[: most or None]
        rows = [_one(policies, found, each, bad) for each in chosen]
        fine = len(found.calls) - len(wanted) - lacking
        if rows:
            tools[tool] = {"incidents": len(rows), "fine": fine, **_summed(rows)}
        elif lacking:
            # The arguments hold a secret, which is not kept; no rule is made of what is not known.
            tools[tool] = {"incidents": 0, "lacking": lacking, "fine": fine}
    return {"trace": trace.name, "tools": tools}


def _one(file: File, found: History, incident: Known, bad: set[int]) -> dict[str, Any]:
    """One incident. What is bad beside it is known to whoever counts, and not to who suggests."""
    began = time.perf_counter()
    blind = [each._replace(label=None) for each in found.calls if each.seq not in bad]
    blind.append(incident._replace(label="right"))
    blind.sort(key=lambda each: each.seq)
    rules = suggestions(file, History(found.tool, blind, 0), incident).found
    took = time.perf_counter() - began
    every = suggestions(file, History(found.tool, blind, 0), incident, most=EVERY).found
    shown = {each.candidate.id for each in rules}
    labelled = [
        each._replace(label="right" if each.seq in bad else "false") for each in found.calls
    ]
    best = rules[0]
    return {
        "rules": len(rules),
        "stops": all(each.effect.right for each in rules),
        "id": best.candidate.id,
        "kind": best.candidate.kind,
        "touched": best.effect.touched,
        "drift": best.drift,
        "caught": _caught(file, best, labelled),
        "took": took,
        "origin": [
            {
                "id": each.candidate.id,
                "shown": each.candidate.id in shown,
                "stops": each.effect.right == 1,
                "touched": each.effect.touched,
                "undecided": each.effect.undecided,
            }
            for each in every
            if each.candidate.kind == "origin"
        ],
    }


def _caught(file: File, best: Suggested, labelled: list[Known]) -> int:
    """How many of all bad calls the rule stops that was made for one of them."""
    call = next(each.call for each in labelled if each.call is not None)
    place = Place.of(file, file.policy(), call)
    joined = place.joined([best.candidate.rule(shadow=True)])
    told = sweep(joined, labelled)
    return sum(
        each.known.label == "right" and each.spoken is not None and bool(each.spoken.applies)
        for each in told
    )


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    best: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        best[row["id"]].append(row)
    return {
        "stopped": sum(row["stops"] for row in rows),
        "rules_each": statistics.median(row["rules"] for row in rows),
        "seconds_each": round(statistics.median(row["took"] for row in rows), 3),
        "touched": dict(sorted(Counter(row["touched"] for row in rows).items())),
        "best": {
            name: {
                "incidents": len(some),
                "kind": some[0]["kind"],
                "touched": max(row["touched"] for row in some),
                "catches_of_all_bad": min(row["caught"] for row in some),
            }
            for name, some in sorted(best.items(), key=lambda each: -len(each[1]))
        },
        "origin": _origin(rows),
    }


def _origin(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of rules that go by what people have said: for how many incidents, and at what cost."""
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for rule in row["origin"]:
            made[rule["id"]].append(rule)
    return {
        name: {
            "incidents": len(some),
            "stops": sum(rule["stops"] for rule in some),
            "among_the_best": sum(rule["shown"] for rule in some),
            "touched": max(rule["touched"] for rule in some),
            "undecided": max(rule["undecided"] for rule in some),
        }
        for name, some in sorted(made.items())
    }


def _brought_in(file: Path, trace: Path) -> tuple[dict[str, History], set[int]]:
    """The runs of a trace in a store, their calls by tool, and which of these are malicious."""
    store = Store(f"sqlite:///{file}", durability="process")
    malicious: set[tuple[str, str | None]] = set()
    tools: set[str] = set()
    for number, run in enumerate(traces(trace)):
        run_id = f"import/{number}"
        store.commit(together(brought(run, run_id, "0" * 64, store), {}, "0" * 64))
        malicious |= {(run_id, each) for each in run.malicious or ()}
        tools |= {step.tool for step in run.steps if hasattr(step, "tool")}
    with Reader(file) as reader, Index(reader) as index:
        index.build()
        known = {tool: history(index, tool) for tool in sorted(tools)}
        bad = {
            each.seq
            for found in known.values()
            for each in found.calls
            if (each.run, _call_id(reader, each.seq)) in malicious
        }
    store.close()
    return known, bad


def _call_id(reader: Reader, seq: int) -> str | None:
    """The id of a call, also of one whose arguments are not kept."""
    return read(reader.body(seq)).fields.get("call")


def _open_policy(known: dict[str, History]) -> bytes:
    """A policy that allows whatever the trace calls."""
    lines = ["version: 1", "name: traced", "tools:"]
    lines += [f"  {tool}: {{effect: write, args: any}}" for tool in known]
    return "\n".join(lines).encode()


def _report(found: dict[str, Any]) -> str:
    lines = [f"{found['trace']}"]
    for tool, told in found["tools"].items():
        if not told["incidents"]:
            lines.append(f"{tool}: no rule for {told['lacking']}, whose arguments are not kept")
            continue
        lines.append(
            f"{tool}: {told['stopped']} of {told['incidents']} incidents stopped by every rule "
            f"proposed ({told['rules_each']:.0f} each, {told['seconds_each'] * 1e3:.0f} ms); "
            f"fine calls touched by the best rule, of {told['fine']}: {told['touched']}"
        )
        for name, best in told["best"].items():
            lines.append(
                f"    {name} ({best['kind']}): best for {best['incidents']}, touches "
                f"{best['touched']} fine, catches {best['catches_of_all_bad']} bad calls in all"
            )
        for name, rule in told["origin"].items():
            lines.append(
                f"    {name} (origin): made for {rule['incidents']}, among the best for "
                f"{rule['among_the_best']}, stops {rule['stops']}, touches {rule['touched']} fine"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
