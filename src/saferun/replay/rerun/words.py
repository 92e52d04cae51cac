"""A divergence in words: what the record has, what the code did, and where the two differ."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from saferun.approval.inert import inert
from saferun.call import canonical
from saferun.replay.changes import Change, changes

MOST = 12
"""Differences of one step that are told."""

Did = Mapping[str, Any] | None


def said(did: Did) -> str:
    """One step in one line: `refund(order_id="A-17", amount=4000)`."""
    match did:
        case None:
            return "nothing"
        case {"kind": "call", "tool": tool, "args": args}:
            inner = args.items() if isinstance(args, Mapping) else [("…", args)]
            told = ", ".join(f"{inert(str(name), 40)}={_value(item)}" for name, item in inner)
            return f"{inert(str(tool), 80)}({_cut(told, 400)})"
        case {"kind": "run", "agent": agent}:
            return f"a run of {inert(str(agent or 'an agent'), 80)} that begins"
        case {"kind": "model"}:
            return f"a turn of {inert(str(did.get('model') or 'a model'), 80)}"
        case {"kind": "user", "text": text}:
            return f"a message of the user's: {_value(text)}"
        case {"kind": "begins", "what": what}:
            return inert(str(what), 300)
        case {"kind": "ends", "error": error}:
            return f"the run ends with {inert(str(error), 80)}" if error else "the run ends"
    return inert(str(did.get("kind")), 80)


def difference(recorded: Did, now: Did) -> Iterator[str]:
    """What differs in a step of the same kind and name, part by part."""
    if recorded is None or now is None or recorded.get("kind") != now.get("kind"):
        return
    if recorded.get("tool") != now.get("tool"):
        return
    for name in ("args", "asked", "messages", "output", "text"):
        if name in recorded and name in now:
            found = changes(recorded[name], now[name])
            for change in found.changes[:MOST]:
                yield _told(name, change)
            if not found.whole or len(found.changes) > MOST:
                yield f"{name}  …"


def sentence(run: str, frame: int, recorded: Did, now: Did) -> str:
    """The whole of it, over several lines."""
    lines = [
        f"The code parts from the record at frame {frame} of run {inert(run, 80)}.",
        f"  recorded  {said(recorded)}",
        f"  now       {said(now)}",
    ]
    lines += (f"  {line}" for line in difference(recorded, now))
    return "\n".join(lines)


class Left(NamedTuple):
    """What another program did than the code goes by, before or after it was resumed at a frame."""

    run: str
    frame: int
    frames: int
    before: bool

    @property
    def sentence(self) -> str:
        """Where the two part, and how much is left."""
        many = f"{self.frames} frame{'' if self.frames == 1 else 's'}"
        where = f"Frame {self.frame} of run {inert(self.run, 80)} was"
        if self.before:
            return f"{where} left by another program: {many} of that one stay out of this."
        after = f", and {many} after it," if self.frames else ""
        is_left = "are left" if self.frames else "is left"
        return f"{where} resumed by another program later: what came of it{after} {is_left}."


def without_words(what: str) -> str:
    """Of what no record has: that it cannot be answered."""
    return f"The record has no answer to this: {inert(what, 300)}."


def _told(name: str, change: Change) -> str:
    path = "".join(
        f"[{step}]" if isinstance(step, int) else f".{inert(step, 60)}" for step in change.path
    )
    before, after = (_value(each) for each in (change.before, change.after))
    return f"{name}{path}  {before} → {after}"


def _value(value: Any) -> str:
    try:
        data = canonical.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        # What is not there.
        return "nothing"
    return inert(_cut(data, 120), 121)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
