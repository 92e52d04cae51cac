"""A run as an audience gets to see it, frame by frame: see `saferun.audience`."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from saferun.audience import Showing
from saferun.call import Clause
from saferun.replay.branches import Child
from saferun.replay.changes import Change, Changes
from saferun.replay.frames import Frame
from saferun.replay.playback import Closeup, Playback, Since, Value

_OF_RUN = frozenset(
    ("run", "agent", "user", "tenant", "host", "boot", "owner", "turn", "after", "kept")
)
"""What every entry says of its run and its writer, and no frame shows."""


def met(showing: Showing, play: Playback) -> None:
    """Take down whom the run names, which has to be done before anything of it is shown."""
    for entry in play.entries():
        showing.meet(entry.fields)


def about(showing: Showing, play: Playback) -> dict[str, Any]:
    """What the run said of itself when it began, as far as the audience gets it."""
    wanted = ("run", "agent", "user", "tenant", "prompt")
    return showing.fields({name: each for name, each in play.about.items() if name in wanted})


def frames(showing: Showing, play: Playback) -> Iterator[Closeup]:
    """All frames of a run as far as the audience gets them, the first first."""
    for number in range(1, len(play.outline) + 1):
        yield closeup(showing, play.frame(number))


def frame(showing: Showing, whole: Frame) -> Frame:
    """A frame with what its entries say as far as the audience gets it."""

    def about(fields: Mapping[str, Any], of: Literal["model"] | None = None) -> dict[str, Any]:
        told = {name: each for name, each in fields.items() if name not in _OF_RUN}
        return showing.fields(told, of=of)

    return msgspec.structs.replace(
        whole,
        said=about(whole.said, of="model" if whole.kind == "model" else None),
        decision=None if whole.decision is None else about(whole.decision),
        approvals=[{**about(each), "at": each["at"]} for each in whole.approvals],
        outcome=None if whole.outcome is None else about(whole.outcome),
    )


def closeup(showing: Showing, whole: Closeup) -> Closeup:
    """All of a frame that the audience gets.

    Large values stay where they are, and are known by their sizes and hashes, which are salted.
    The leaves of entries do not go out: they are hashes of all that the entries hold.
    """
    audience = showing.audience
    conditions = audience.parts["policy"] == "keep"
    return msgspec.structs.replace(
        whole,
        frame=frame(showing, whole.frame),
        vouched=tuple(msgspec.structs.replace(each, leaf=None) for each in whole.vouched),
        grounds=_grounds(showing, whole.grounds) if conditions else {},
        since=None if whole.since is None else _since(showing, whole.since),
        values=tuple(each for each in whole.values if _told(showing, each)),
        children=tuple(_child(showing, each) for each in whole.children),
    )


def _child(showing: Showing, child: Child) -> Child:
    run = child.run
    # Of an error, what it says is left out: a copy tells of a child no more than its figures.
    who = {
        name: getattr(run, name) for name in ("run", "root", "parent", "agent", "user", "tenant")
    }
    told = showing.fields({name: each for name, each in who.items() if each is not None})
    shown = msgspec.structs.replace(run, error=None, **{name: told.get(name) for name in who})
    shown.run = shown.run or ""
    return msgspec.structs.replace(child, run=shown)


def _told(showing: Showing, value: Value) -> bool:
    said = ("output", "answer") if value.field == "answer" else (value.field,)
    return all(map(showing.whole, said))


def _grounds(
    showing: Showing, grounds: Mapping[str, tuple[Clause, ...]]
) -> dict[str, tuple[Clause, ...]]:
    return {
        rule: tuple(
            Clause(
                text=showing.words(each.text),
                value=showing.seen(each.text, each.value),
                holds=each.holds,
            )
            for each in clauses
        )
        for rule, clauses in grounds.items()
    }


def _since(showing: Showing, since: Since) -> Since:
    found = tuple(each for change in since.changes.changes for each in _change(showing, change))
    changes = Changes(changes=found, whole=since.changes.whole)
    return msgspec.structs.replace(since, changes=changes)


def _change(showing: Showing, change: Change) -> Iterator[Change]:
    # Of what is not kept, the path ends at the argument: what lies in it is nobody's to see.
    path = tuple(map(str, change.path))
    kept = showing.audience.act(("args", *path)) == "keep"
    if path and not showing.argument(path[0]):
        return
    shown: dict[str, Any] = {
        name: showing.value(("args", *path), each)
        for name, each in (("before", change.before), ("after", change.after))
        if each is not msgspec.UNSET
    }
    yield Change(path=change.path if kept else change.path[:1], **shown)
