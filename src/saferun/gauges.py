"""How the controls stand, told in rows: what is stopped, how tools fare, what is used of limits.

`saferun control status` prints them and the console shows them. Both say the same, in the same
words and the same order: what is nearest to its bound comes first.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from saferun.approval.inert import inert
from saferun.call import span
from saferun.config import Config, sqlite_path
from saferun.control import COST, Stoppable, Switch
from saferun.control.amount import MICRO, said
from saferun.errors import SafeRunError
from saferun.following import follow
from saferun.policy import Policy, restore
from saferun.store import Reader
from saferun.store.controls import groups
from saferun.store.runs import any_run_for, children_of, is_run, names_of, newest_runs
from saferun.store.usage import Bounds, LimitUse, ToolState, Usage, Used, usage
from saferun.store.versions import kept_policies, kept_version, versions_of

NEAR = 0.8
"""The share of a limit from which on it is worth a look."""

NEWEST = 20_000
"""Users, runs and the like that a limit counts by, those that moved last, which are looked at
where somebody waits for a page or a screen: two tenths of a second."""

VALUE = 60
"""Characters of a value that a limit counts by."""

Moment: TypeAlias = Callable[[int], str]
"""How a time is written, from microseconds since 1970, UTC."""

Tone: TypeAlias = Literal["stopped", "near", "tried", "plain", "more"]
"""How a row is to be taken: it stops calls; it is close to that; it is tried again; it is there to
be known; or it only says how many more there are."""

FIGURES = frozenset(("used", "failed", "slow", "held"))
"""The heads of columns of numbers."""

_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


def looking(
    reader: Reader, chosen: Config, newest: int | None = None
) -> Callable[[int, str], Usage]:
    """What to call for how it stands now, as `usage` takes it. Bounds are looked up once.

    Whoever looks for a name waits for all of it to be looked through, also with `newest`.
    """
    bounds = Bounds(reader, lambda name: _in_force(name, chosen))
    return lambda most, about: usage(reader, bounds, most, about, None if about else newest)


def unlooked(usage: Usage) -> str:
    """How much was not looked at, as a sentence; nothing where all of it was."""
    if not usage.unseen:
        return ""
    return (
        f"Of limits and budgets, the {NEWEST:,} users, runs and the like that moved last were"
        f" looked at; {usage.unseen:,} that moved before were not."
    )


def _in_force(name: str, chosen: Config) -> Policy | None:
    """The version that decides under a policy's name in a process that starts now.

    None where that cannot be told from here: then the store's newest has to do.
    """
    # It comes from the store, and may be no more than a name.
    for named in (None, name) if _NAME.fullmatch(name) else (None,):
        with contextlib.suppress(SafeRunError):
            following = follow(named, chosen, lambda: sqlite_path(chosen.store))
            if following is not None and following.standing.live.name == name:
                return following.standing.live
    return None


class Row(NamedTuple):
    """One line of a table, with what stands in the columns.

    `switch` is what it was stopped by, and `share` how much of a limit is used, 1 for all of it.
    """

    tone: Tone
    cells: tuple[str, ...]
    switch: Switch | None = None
    share: float | None = None


class Table(NamedTuple):
    """Rows of one kind under their heads, of which the first is what they are."""

    heads: tuple[str, ...]
    rows: list[Row]

    @property
    def columns(self) -> list[int]:
        """Those that anybody has anything to say in; the others are only in the way."""
        return [
            at
            for at in range(len(self.heads))
            if any(each for row in self.rows for each in row.cells[at : at + 1])
        ]


def tables(usage: Usage, most: int, moment: Moment) -> Iterator[Table]:
    """All of it, with `most` of the runs that went in circles."""
    circled = usage.by_itself
    stopped = [
        Row("stopped", (halted(each, usage.agents), by_whom(each, moment)), each)
        for each in (*usage.by_people, *circled[:most])
    ]
    more = len(circled) - most
    if more > 0:
        runs = "run" if more == 1 else "runs"
        stopped.append(Row("more", (f"… {more:,} more", f"{runs} stopped for going in circles")))
    yield Table(("stopped", "by"), stopped)
    tools = [_faring(each, usage.at) for each in usage.breakers]
    more = usage.all_breakers - len(tools)
    if more:
        tools.append(Row("more", (f"… {more:,} more",)))
    yield Table(("breakers", "tenant", "state", "failed", "slow"), tools)
    uses = (*usage.limits, *usage.budgets)
    several = len({(each.policy, each.mode) for each in uses if each.policy}) > 1
    for heads, every in (
        (("limits", "for", "used", "in", "frees in"), usage.limits),
        (("budgets", "for", "used", "in", "frees in", "held"), usage.budgets),
    ):
        rows = [row for use in every for row in _using(use, usage.at, several=several)]
        yield Table(heads, rows)


def halted(switch: Switch, agents: Mapping[str, str]) -> str:
    """What is stopped, with the agent of a run."""
    if switch.value is None:
        return "everything"
    agent = agents.get(switch.value) if switch.scope == "run" else None
    whose = "" if agent is None else f" of {inert(agent, VALUE)}"
    return f"{switch.scope} {inert(switch.value, VALUE)}{whose}"


def _faring(fared: ToolState, now: int) -> Row:
    tone: Tone = "near" if fared.state == "closed" else "stopped"
    state: str = fared.state
    if fared.state == "half-open":
        tone = "tried"
        state = f"half-open, {fared.good} good so far"
    elif fared.state == "open" and fared.until is not None:
        state = tried_again(fared.until, now)
        if fared.opened > 1:
            state += f"; {fared.opened:,} times in a row"
    return Row(
        tone,
        (
            inert(fared.tool, VALUE),
            "" if fared.tenant is None else inert(fared.tenant, VALUE),
            state,
            f"{fared.failed:,} of {fared.calls:,}",
            f"{fared.slow:,}" if fared.slow else "",
        ),
    )


def tried_again(until: int | None, now: int) -> str:
    """How an open breaker stands, with when the next call is let through to see."""
    wait = 0 if until is None else until - now
    return f"open, tried again in {_wait(wait)}" if wait > 0 else "open, to be tried again"


def _using(use: LimitUse, now: int, *, several: bool) -> Iterator[Row]:
    name = inert(use.limit, VALUE)
    if several and use.policy:
        name += f" · {inert(use.policy, VALUE)}"
    if use.mode != "enforce":
        name += f" ({_MODES.get(use.mode, inert(use.mode, VALUE))})"
    elif use.shadow:
        name += f" ({_MODES['shadow']})"
    most = "?" if use.most is None else _amount(use, use.most)
    for used in use.groups:
        tone: Tone = "plain"
        if used.full:
            tone = "stopped"
        elif use.share(used) >= NEAR:
            tone = "near"
        whom = (f"{scope} {inert(value, VALUE)}" for scope, value in used.counts_for.items())
        cells = (
            name,
            ", ".join(whom) or "all",
            f"{_amount(use, used.used)} of {most}",
            _within(use, used),
            _frees(used, now),
            _amount(use, used.held) if used.held else "",
        )
        yield Row(tone, cells, share=min(use.share(used), 1.0) if use.most else None)
        # Said once, so that the eye sees where the next one begins.
        name = ""
    more = use.all - len(use.groups)
    if more:
        full = use.full - sum(used.full for used in use.groups)
        many = "all" if full == more else f"{full:,} of them"
        yield Row("more", ("", f"… {more:,} more{f', {many} full' if full else ''}"))


_MODES: Mapping[str, str] = {"shadow": "in shadow", "trial": "on trial"}


def _amount(use: LimitUse, amount: int) -> str:
    if use.sum is None:
        return f"{amount:,}"
    if use.sum != COST:
        return said(amount)
    whole, _, rest = said(amount).partition(".")
    return f"${whole}.{rest:<02}"


def _within(use: LimitUse, used: Used) -> str:
    if use.window is None:
        return "run" if "run" in used.counts_for else "ever"
    if use.burst is not None:
        return f"{use.max:,}/{_short(use.window).removeprefix('1 ')}"
    return _short(use.window)


def _short(microseconds: int) -> str:
    """A stretch of time in a narrow column: `90 s`, `1 h`."""
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        many, rest = divmod(microseconds, length * MICRO)
        if many and not rest:
            return f"{many:,} {name}"
    return f"{microseconds / MICRO:g} s"


def _frees(used: Used, now: int) -> str:
    if not used.full:
        return ""
    return "never" if used.frees_at is None else _wait(used.frees_at - now)


def _wait(microseconds: int) -> str:
    # Whole seconds: a table that is looked at every second need not flicker below that.
    return span(max(1, -(-microseconds // MICRO)) * MICRO).replace(".0 s", " s")


def by_whom(switch: Switch, moment: Moment) -> str:
    """Who has stopped something, since when and why."""
    why = f": {inert(switch.reason, 200)}" if switch.reason else ""
    return f"{inert(switch.by, 60)} since {moment(switch.since)}{why}"


def runs_meant(reader: Reader, given: str, stopped: list[Switch]) -> list[str]:
    """The ids of the runs that are meant by one, or by its beginning; of none, nothing is known."""
    # Of a run's family, a child may be the first that is heard of.
    if is_run(reader, given) or children_of(reader, given):
        return [given]
    known = runs_known(reader, stopped)
    if given in known:
        return [given]
    return sorted(run for run in known if run.startswith(given))


def runs_known(reader: Reader, stopped: list[Switch]) -> list[str]:
    """The ids of all runs that have begun or are stopped, the newest first."""
    held = [each.value for each in stopped if each.scope == "run" and each.value is not None]
    return list(dict.fromkeys((*newest_runs(reader, 1 << 62), *held)))


def unheard(reader: Reader, scope: Stoppable, value: str | None) -> list[str] | None:
    """The names that are known instead where nothing here has heard of one; None where it has."""
    if value is None:
        return None
    match scope:
        case "tool":
            known = _tools(reader)
            beginnings = (each.removesuffix("*") for each in known if each.endswith("*"))
            heard = value in known or value.startswith(tuple(beginnings))
            return None if heard else known
        case "agent" | "tenant" | "user":
            return None if any_run_for(reader, scope, value) else names_of(reader, scope)
        case _:
            return None


def _tools(reader: Reader) -> list[str]:
    """The tools that policies list, `mcp.*` and its like among them, or that are called here."""
    known = {value for group in groups(reader) for scope, value in group.about if scope == "tool"}
    for name in kept_policies(reader):
        version, _ = versions_of(reader, name)[-1]
        try:
            policy = restore(kept_version(reader, version))
            known.update(policy.tools, (f"{beginning}*" for beginning in policy.prefixes))
        except SafeRunError:
            continue
    return sorted(known)
