"""`saferun control status`: what is used of every limit, how tools fare, and what is stopped."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.call import span
from saferun.cli.control.switch import by_whom
from saferun.cli.options import JsonOption, StoreOption, settings
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    document,
    screen,
)
from saferun.config import Config, sqlite_path
from saferun.control import COST
from saferun.control.amount import MICRO, said

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from saferun.control import Switch
    from saferun.policy import Policy
    from saferun.store import Reader
    from saferun.store.usage import LimitUse, ToolState, Usage, Used

EVERY = 1.0
"""Seconds between two looks of a live table."""

NEAR = 0.8
"""The share of a limit from which on it is worth a look."""

VALUE = 60
"""Characters of a value that a limit counts by."""

_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


def status(
    most: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            help="How many rows to show of each limit, and of runs that went in circles.",
        ),
    ] = 5,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep it up to date until Ctrl-C.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what is used of each limit and budget, which breakers are open and what is stopped.

    What is nearest to its bound comes first.
    """
    from saferun.store import Reader

    chosen = settings(store)
    console = screen()
    with Reader(sqlite_path(chosen.store)) as reader:
        look = _looking(reader, chosen, most)
        if as_json:
            document(_document(look()))
        elif watch and console.is_terminal:
            _keep_looking(console, look, most)
        else:
            console.print(drawn(look(), most))
    return 0


def _looking(reader: "Reader", chosen: Config, most: int) -> "Callable[[], Usage]":
    """What to call for how it stands now. Bounds are looked up once."""
    from saferun.store.usage import Bounds, usage

    bounds = Bounds(reader, lambda name: _in_force(name, chosen))
    return lambda: usage(reader, bounds, most)


def _in_force(name: str, chosen: Config) -> "Policy | None":
    """The version that decides under a policy's name in a process that starts now.

    None where that cannot be told from here: then the store's newest has to do.
    """
    from saferun.errors import SafeRunError
    from saferun.following import follow

    # It comes from the store, and may be no more than a name.
    for named in (None, name) if _NAME.fullmatch(name) else (None,):
        with contextlib.suppress(SafeRunError):
            following = follow(named, chosen, lambda: sqlite_path(chosen.store))
            if following is not None and following.standing.live.name == name:
                return following.standing.live
    return None


def _keep_looking(console: "Console", look: "Callable[[], Usage]", most: int) -> None:
    from rich.live import Live

    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(drawn(look(), most), console=console, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(EVERY)
            live.update(drawn(look(), most), refresh=True)


def _document(usage: "Usage") -> dict[str, Any]:
    return {
        "at": usage.at,
        "stopped": msgspec.to_builtins(usage.stopped),
        "breakers": [_fares(each) for each in usage.breakers],
        "limits": msgspec.to_builtins(usage.limits),
        "budgets": [_sums(each) for each in usage.budgets],
    }


def _sums(use: "LimitUse") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(use)
    told["max"] = _plain(use.max)
    for group in told["groups"]:
        group["used"], group["held"] = _plain(group["used"]), _plain(group["held"])
    return told


def _fares(fared: "ToolState") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(fared)
    told["spent"] = _plain(fared.spent)
    return told


def _plain(amount: int | None) -> float | int | None:
    """Millionths as the number that they are."""
    if amount is None or amount % MICRO == 0:
        return amount if amount is None else amount // MICRO
    return amount / MICRO


class Row(NamedTuple):
    """One line of a table: the mark and its style, and what stands in the columns."""

    mark: str
    style: str
    cells: tuple[str, ...]


def drawn(usage: "Usage", most: int) -> "RenderableType":
    """All of it as tables, for a console of any width, with `most` runs that went in circles."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for heads, rows in _tables(usage, most):
        if rows:
            parts += [Text(), _table(heads, rows)]
    if not parts:
        nothing = "Nothing is stopped or failing, and nothing counts towards any limit."
        return Text.assemble((f"{ALLOWED.icon} ", ALLOWED.style), nothing)
    return Group(*parts[1:])


def _tables(usage: "Usage", most: int) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    circled = usage.by_itself
    halted = [
        Row(DENIED.icon, DENIED.style, (_halted(each, usage.agents), by_whom(each)))
        for each in (*usage.by_people, *circled[:most])
    ]
    more = len(circled) - most
    if more > 0:
        runs = "run" if more == 1 else "runs"
        halted.append(Row("", "dim", (f"… {more:,} more", f"{runs} stopped for going in circles")))
    yield ("stopped", "by"), halted
    tools = [_faring(each, usage.at) for each in usage.breakers]
    more = usage.all_breakers - len(tools)
    if more:
        tools.append(Row("", "dim", (f"… {more:,} more",)))
    yield ("breakers", "tenant", "state", "failed", "slow"), tools
    uses = (*usage.limits, *usage.budgets)
    several = len({(each.policy, each.mode) for each in uses if each.policy}) > 1
    for heads, every in (
        (("limits", "for", "used", "in", "frees in"), usage.limits),
        (("budgets", "for", "used", "in", "frees in", "held"), usage.budgets),
    ):
        yield heads, [row for use in every for row in _using(use, usage.at, several=several)]


def _halted(switch: "Switch", agents: Mapping[str, str]) -> str:
    if switch.value is None:
        return "everything"
    agent = agents.get(switch.value) if switch.scope == "run" else None
    whose = "" if agent is None else f" of {inert(agent, VALUE)}"
    return f"{switch.scope} {inert(switch.value, VALUE)}{whose}"


def _faring(fared: "ToolState", now: int) -> Row:
    mark, style = ("!", "yellow") if fared.state == "closed" else (DENIED.icon, DENIED.style)
    state: str = fared.state
    if fared.state == "half-open":
        mark, style = "?", "yellow"
        state = f"half-open, {fared.good} good so far"
    elif fared.state == "open" and fared.until is not None:
        wait = fared.until - now
        state = f"open, tried again in {_wait(wait)}" if wait > 0 else "open, to be tried again"
        if fared.opened > 1:
            state += f"; {fared.opened:,} times in a row"
    return Row(
        mark,
        style,
        (
            inert(fared.tool, VALUE),
            "" if fared.tenant is None else inert(fared.tenant, VALUE),
            state,
            f"{fared.failed:,} of {fared.calls:,}",
            f"{fared.slow:,}" if fared.slow else "",
        ),
    )


def _using(use: "LimitUse", now: int, *, several: bool) -> Iterator[Row]:
    name = inert(use.limit, VALUE)
    if several and use.policy:
        name += f" · {inert(use.policy, VALUE)}"
    if use.mode != "enforce":
        name += f" ({_MODES.get(use.mode, inert(use.mode, VALUE))})"
    most = "?" if use.most is None else _amount(use, use.most)
    for used in use.groups:
        mark, style = " ", ""
        if used.full:
            mark, style = DENIED.icon, DENIED.style
        elif use.share(used) >= NEAR:
            mark, style = "!", "yellow"
        whom = (f"{scope} {inert(value, VALUE)}" for scope, value in used.counts_for.items())
        cells = (
            name,
            ", ".join(whom) or "all",
            f"{_amount(use, used.used)} of {most}",
            _within(use, used),
            _frees(used, now),
            _amount(use, used.held) if used.held else "",
        )
        yield Row(mark, style, cells)
        # Said once, so that the eye sees where the next one begins.
        name = ""
    more = use.all - len(use.groups)
    if more:
        full = use.full - sum(used.full for used in use.groups)
        many = "all" if full == more else f"{full:,} of them"
        yield Row("", "dim", ("", f"… {more:,} more{f', {many} full' if full else ''}"))


_MODES: Mapping[str, str] = {"shadow": "in shadow", "trial": "on trial"}


def _amount(use: "LimitUse", amount: int) -> str:
    if use.sum is None:
        return f"{amount:,}"
    if use.sum != COST:
        return said(amount)
    whole, _, rest = said(amount).partition(".")
    return f"${whole}.{rest:<02}"


def _within(use: "LimitUse", used: "Used") -> str:
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


def _frees(used: "Used", now: int) -> str:
    if not used.full:
        return ""
    return "never" if used.frees_at is None else _wait(used.frees_at - now)


def _wait(microseconds: int) -> str:
    # Whole seconds: a table that is looked at every second need not flicker below that.
    return span(max(1, -(-microseconds // MICRO)) * MICRO).replace(".0 s", " s")


_RIGHT = frozenset(("used", "failed", "slow", "held"))


def _table(heads: tuple[str, ...], rows: list[Row]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    # A column that nobody has anything to say in is only in the way.
    told = [
        at
        for at in range(len(heads))
        if any(each for row in rows for each in row.cells[at : at + 1])
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, width=1)
    for at in told:
        figures = heads[at] in _RIGHT
        justify: Literal["left", "right"] = "right" if figures else "left"
        table.add_column(overflow="fold", justify=justify, no_wrap=figures)
    table.add_row("", *(Text(heads[at], "dim" if at else "bold") for at in told))
    for row in rows:
        style = row.style if row.style == "dim" else ""
        cells = (*row.cells, *("" for _ in heads))
        table.add_row(Text(row.mark, row.style), *(Text(cells[at], style) for at in told))
    return table
