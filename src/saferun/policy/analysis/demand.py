"""Which of two demands on people is the stricter, and demands that are rarely or never meant.

Names are compared as they stand: whether somebody belongs to a group is not the policy's to say.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from saferun.call import Demand, Escalation
from saferun.control.limit import duration
from saferun.policy.analysis.note import Note
from saferun.policy.demand import steps
from saferun.policy.document import Tool
from saferun.policy.source import Path
from saferun.policy.wording import listed

ANYONE = Demand(rule="")
"""The least that can be demanded: one yes, of anyone who is known."""


class Turn(NamedTuple):
    """One word of a demand that says something else now.

    `laxer` says that it is easier to meet or lets people do more, False that it is harder, and
    None that it is neither, or that nobody can tell.
    """

    word: str
    old: str
    new: str
    laxer: bool | None


def bare(demand: Demand) -> Demand:
    """A demand without its rule and the order of its names: equal ones want the same."""
    return replace(
        demand,
        rule="",
        of=tuple(sorted(demand.of)),
        escalate=tuple(replace(step, to=tuple(sorted(step.to))) for step in demand.escalate),
        edits=tuple(sorted(demand.edits)),
    )


def essential(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    """What demands come to that all have to be met: those that no other one has in it."""
    every = sorted({bare(demand) for demand in demands}, key=repr)
    # No two of these are equal, so of two that imply each other one has to be let go by place.
    return tuple(
        one
        for at, one in enumerate(every)
        if not any(
            implies(other, one) and (not implies(one, other) or place < at)
            for place, other in enumerate(every)
            if place != at
        )
    )


def implies(strict: Demand, lax: Demand) -> bool:
    """Whether it is certain that `lax` adds nothing where `strict` has to be met as well."""
    mine, theirs = _reached(strict), _reached(lax)
    if lax.of and not (strict.of and _sooner(theirs, mine)):
        return False
    # Also where their answers would not count, people whom it goes on to hear of it.
    if not _sooner(mine, {name: after for name, after in theirs.items() if after}):
        return False
    if strict.own and not lax.own:
        return False
    if strict.within != lax.within and not _longer(strict.within, lax.within):
        return False
    return strict.approvals >= lax.approvals and set(strict.edits) <= set(lax.edits)


def turns(old: Demand, new: Demand) -> Iterator[Turn]:
    """Each word of a demand that says something else now."""
    was, now = bare(old), bare(new)
    if was.of != now.of:
        yield Turn("ask", _names(old.of, "anyone"), _names(new.of, "anyone"), _more_of(was, now))
    if was.approvals != now.approvals:
        fewer = now.approvals < was.approvals
        yield Turn("approvals", str(was.approvals), str(now.approvals), fewer)
    if was.within != now.within:
        longer = _longer(was.within, now.within)
        yield Turn("expires", _within(was.within), _within(now.within), longer)
    if was.escalate != now.escalate:
        one, other = (steps(demand.escalate) or "none" for demand in (old, new))
        yield Turn("escalate", one, other, _more_steps(was.escalate, now.escalate))
    if was.edits != now.edits:
        more = _wider(set(was.edits), set(now.edits))
        yield Turn("edits", _names(old.edits, "none"), _names(new.edits, "none"), more)
    if was.own != now.own:
        yield Turn("own", *(("false", "true") if now.own else ("true", "false")), now.own)


def demand_notes(
    tool: Tool, at: Path, people: Mapping[str, Collection[str]] | None
) -> Iterator[Note]:
    """What is worth saying about whom the rules of an entry ask.

    `people` has who stands behind each name of a person or a group, None where nobody knows.
    """
    for position, rule in enumerate(tool.rules):
        if rule.demand is None:
            continue
        path: Path = (*at, "rules", position)
        if rule.demand.edits and tool.effect == "destructive":
            why = "what this tool does cannot be undone, and who approves it may change what it is"
            yield Note("edits-destructive", why, (*path, "edits"))
        few = None if people is None else _too_few(rule.demand, people)
        if few is not None:
            yield Note("too-few-people", few, (*path, "ask"), error=True)


def _too_few(demand: Demand, people: Mapping[str, Collection[str]]) -> str | None:
    """Why there will never be enough approvals, None where there may be."""
    names = _reached(demand)
    if not demand.of or not names.keys() <= people.keys():
        return None
    able = sorted({person for name in names for person in people[name]})
    if len(able) >= demand.approvals:
        return None
    can = f"only {len(able)} can: {listed(able)}" if able else "nobody can"
    many = "1 person" if demand.approvals == 1 else f"{demand.approvals} people"
    return f"{many} must approve, and by the configuration {can}; so the call never runs"


def _reached(demand: Demand) -> dict[str, int]:
    """Everybody whom it names, and after how many microseconds it goes to them."""
    reached = dict.fromkeys(demand.of, 0)
    for step in demand.escalate:
        for name in step.to:
            reached.setdefault(name, step.after)
    return reached


def _sooner(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Whether `one` goes to everybody of `other`, and no later."""
    return all(name in one and one[name] <= after for name, after in other.items())


def _more_of(was: Demand, now: Demand) -> bool | None:
    if not was.of or not now.of:
        return not now.of
    return _wider(set(was.of), set(now.of))


def _wider(was: set[str], now: set[str]) -> bool | None:
    return True if was < now else False if now < was else None


def _longer(was: int | None, now: int | None) -> bool | None:
    """Whether a time got longer; what is as configured may be either."""
    return None if was is None or now is None else now > was


def _more_steps(was: tuple[Escalation, ...], now: tuple[Escalation, ...]) -> bool | None:
    before, after = (_reached(Demand(rule="", escalate=steps)) for steps in (was, now))
    if before == after:
        return None
    return True if _sooner(after, before) else False if _sooner(before, after) else None


def _names(names: tuple[str, ...], nobody: str) -> str:
    return listed(names) or nobody


def _within(length: int | None) -> str:
    return "as configured" if length is None else duration(length)
