"""The runs of an incident file as those of a trace file are: for whoever brings them in elsewhere.

What was decided on their calls stays behind. A run that was brought in is there to be looked at
and decided anew, and nothing may take another ledger's decision for one of its own.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from saferun.ledger import Entry, EntryError, read
from saferun.replay import Frame, Said, Step, TracedCall, TracedRun, large, story
from saferun.replay.unsealing import Unsealing
from saferun.store import Reader
from saferun.store.index import Index

_STEPS = ("model", "user", "call")
_LARGE = ("args", "given", "result", "output", "text", "prompt", "plan", "context")


def traced(path: Path, runs: list[str]) -> Iterator[TracedRun]:
    """The runs of a file that was opened as the store `path`, parents before their children.

    Raises StoreError.
    """
    with Reader(path) as reader, Index(reader) as index:
        index.build()
        for number, run_id in enumerate(runs, 1):
            yield _traced(index, run_id, number, set(runs))


def _traced(index: Index, run_id: str, number: int, there: set[str]) -> TracedRun:
    began: Mapping[str, Any] = {}
    entries = []
    for entry in _entries(index, run_id):
        if entry.kind == "run" and entry.fields.get("event") == "start" and not began:
            began = entry.fields
        entries.append(entry)
    frames = [each for each in story(run_id, entries).frames if each.kind in _STEPS]
    firsts = [each.seq for each in frames]
    children = [each for each in index.children(run_id, len(there)) if each.run in there]
    user, context = began.get("user"), began.get("context")
    return TracedRun(
        line=number,
        run_id=run_id,
        agent=began.get("agent"),
        user=user if isinstance(user, dict) else {},
        tenant=began.get("tenant"),
        prompt=began.get("prompt"),
        context=context if isinstance(context, dict) else {},
        steps=tuple(_steps(frames)),
        parent=began.get("parent"),
        begun=tuple((each.run, bisect_left(firsts, each.first)) for each in children),
    )


def _entries(index: Index, run_id: str) -> Iterator[Entry]:
    unsealing = Unsealing(index, opens=False)
    for body in index.reader.bodies(index.frames(run_id)):
        try:
            entry = read(body)
        except EntryError:
            continue
        for key in _LARGE:
            if key in entry.fields:
                entry.fields[key] = large.found(entry.fields, key, index.reader.blob)
        unsealing.fill(entry.fields)
        yield entry


def _steps(frames: list[Frame]) -> Iterator[Step]:
    calls = 0
    for frame in frames:
        said = frame.said
        if frame.kind == "model":
            yield Said(
                by="model",
                content=said.get("output"),
                model=said.get("model"),
                cost_usd=said.get("cost_usd"),
                input_tokens=said.get("input_tokens"),
                output_tokens=said.get("output_tokens"),
            )
        elif frame.kind == "user":
            yield Said(by="user", content=said.get("text"))
        elif frame.kind == "call":
            yield _call(frame, calls)
            calls += 1


def _call(frame: Frame, number: int) -> TracedCall:
    about = frame.said if frame.decision is None else frame.decision
    # What the model asked for, and not what policy has made of it.
    args = about.get("given", about.get("args"))
    plain = isinstance(args, dict)
    outcome = frame.outcome or {}
    result = outcome.get("result", msgspec.UNSET)
    if result is msgspec.UNSET and outcome.get("error") is not None:
        result = {"error": outcome["error"]}
    return TracedCall(
        index=number,
        call_id=about.get("call"),
        tool=about.get("tool", ""),
        args=args if plain else {},
        problems=() if plain else ("its arguments are not in the file",),
        written=None if plain else args,
        result=result,
        cost_usd=outcome.get("cost_usd"),
    )
