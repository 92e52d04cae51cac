"""The overview: how much of what has happened lately, what was denied and failed most, what stands.

It is counted by the search index and waits for nobody: where the index is far behind the ledger,
the page says how far it has counted, and has the rest taken up meanwhile. Every figure leads to
the runs that it counts.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from saferun import gauges
from saferun.approval import inert
from saferun.call import at
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.session import Session
from saferun.console.stretches import STRETCHES, links, spoken
from saferun.control.amount import dollars
from saferun.ledger import NoteError, Verifier, open_checkpoint
from saferun.store import Reader, Requests, Store
from saferun.store.activity import Activity, Often, activity, latest, opened
from saferun.store.anchors import anchored
from saferun.store.checkpoints import newest_checkpoint
from saferun.store.controls import switches
from saferun.store.index import Index
from saferun.store.runs import agent_of
from saferun.store.synopsis import Trait
from saferun.store.work.turn import BY_ITSELF

BEHIND = 2_000
"""Entries that are taken up while somebody waits for the page."""

MOST = 8
"""Rules, tools, stops and breakers that are named."""

HEIGHT = 100
"""Of a picture, and 10 is the width of a bar: the page stretches it."""

FIGURES: tuple[tuple[Trait, str, str, str], ...] = (
    ("called", "Calls", "model", "◇"),
    ("denied", "Denied", "deny", "✕"),
    ("asked", "Asked", "ask", "?"),
    ("near", "Near misses", "ask", "!"),
    ("failed", "Failed", "deny", "!"),
    ("paid", "Spend", "model", "$"),
    ("began", "Runs begun", "model", "▸"),
)
"""What is counted: its trait, what it is called, its colour and its icon."""


class Figure(NamedTuple):
    """One figure: how many there were and the runs behind them, as a picture and bar by bar.

    `bars` and `under` are paths, of all and of those of them that were denied.
    """

    name: str
    label: str
    tone: str
    icon: str
    many: str
    link: str
    peak: str
    bars: str
    under: str
    each: tuple[tuple[str, str], ...]


class Named(NamedTuple):
    """Something that has happened often; `share` is of the most frequent, in hundredths."""

    name: str
    times: int
    link: str
    share: int


class Overview:
    """The page of one store."""

    def __init__(self, store: Store, history: History, face: Face) -> None:
        self._store = store
        self._history = history
        self._face = face

    def routes(self) -> list[Route]:
        page = self._face.page
        return [
            Route("/overview", page(self._overview)),
            Route("/overview/now", page(self._now)),
        ]

    def _overview(self, asked: Asked, session: Session) -> Response:
        return self._face.shown("overview.html", session, **self._figures(asked))

    def _now(self, asked: Asked, _: Session) -> Response:
        """The figures alone, for a page of them that stays open."""
        return self._face.part("activity.html", **self._figures(asked))

    def _figures(self, asked: Asked) -> dict[str, Any]:
        chosen = asked.query_params.get("last", "")
        chosen = chosen if chosen in STRETCHES else "day"
        label, bar, minutes, bars = STRETCHES[chosen]
        now = self._store.now()
        with Reader(self._store.path) as reader, Index(reader) as index:
            size = reader.head().size
            self._brought_up(index, size)
            found = activity(index, latest(now, minutes, bars), MOST)
            counted = index.size
            about = self._standing(reader, index, now)
            ledger = _ledger(reader, size)
        figures = [_figure(found, *each) for each in FIGURES]
        stretch = found.stretch
        edges = [stretch.bar(number)[0] for number in (0, stretch.bars // 2)]
        return {
            "last": chosen,
            "choices": [(name, each[0], name == chosen) for name, each in STRETCHES.items()],
            "label": label.lower(),
            "bar": bar,
            "now": at(now),
            "axis": [*map(spoken, edges), spoken(stretch.during[1])],
            "width": 10 * bars,
            "height": HEIGHT,
            "figures": figures,
            "times": [spoken(stretch.bar(number)[0]) for number in range(bars)],
            "any": any(each.many not in ("0", "$0.00") for each in figures),
            "tops": [
                ("Rules that denied most", "Rule", _named(found.rules, found, "denied", "rule")),
                ("Tools denied most", "Tool", _named(found.denied, found, "denied", "tool")),
                ("Tools that failed most", "Tool", _named(found.failing, found, "failed", "tool")),
            ],
            "cut": found.cut,
            "counted": None if counted >= size else (counted, size),
            "standing": ledger,
            **about,
        }

    def _brought_up(self, index: Index, size: int) -> None:
        """Have the index know all that it can know without anybody waiting for it."""
        index.peek()
        if size - index.size <= BEHIND:
            index.build()
        else:
            self._history.catch_up()

    def _standing(self, reader: Reader, index: Index, now: int) -> dict[str, Any]:
        """What waits, is stopped and is open now, whatever time one looks at."""
        with Requests(self._store.path) as requests:
            waiting = requests.waiting(now)
        stopped = sorted(switches(reader), key=lambda each: (each.by == BY_ITSELF, -each.since))
        breakers = opened(index)
        shown = stopped[:MOST]
        runs = [each.value for each in shown if each.scope == "run" and each.value is not None]
        agents = {run: agent for run in runs if (agent := agent_of(reader, run)) is not None}
        return {
            "waiting": waiting,
            "stopped": [(gauges.halted(each, agents), gauges.by_whom(each, at)) for each in shown],
            "all_stopped": len(stopped),
            "breakers": [
                (
                    inert(each.tool, gauges.VALUE),
                    "" if each.tenant is None else inert(each.tenant, gauges.VALUE),
                    gauges.tried_again(each.until, now),
                )
                for each in breakers[:MOST]
            ],
            "all_breakers": len(breakers),
        }


def _figure(found: Activity, trait: Trait, label: str, tone: str, icon: str) -> Figure:
    is_cost = trait == "paid"
    values = found.cost if is_cost else found.counts[trait]
    said: Callable[[int], str] = _money if is_cost else "{:,}".format
    peak = max(values)
    return Figure(
        name=trait,
        label=label,
        tone=tone,
        icon=icon,
        many=said(sum(values)),
        link=_runs(found, trait),
        peak=said(peak),
        bars=_path(values, peak),
        under=_path(found.counts["denied"], peak) if trait == "called" else "",
        each=tuple(
            (said(value), _runs(found, trait, bar) if value else "")
            for bar, value in enumerate(values)
        ),
    )


def _money(cost: int) -> str:
    """Micro-dollars, in whole cents from a dollar on."""
    return dollars(cost if cost < 1_000_000 else round(cost, -4))


def _runs(
    found: Activity,
    trait: Trait,
    bar: int | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> str:
    return f"/runs?{urlencode({'view': trait, **more, **links(found.stretch, bar)})}"


def _path(values: Sequence[int], peak: int) -> str:
    """Bars as one path, each as high as its value; none where there is nothing."""
    drawn = []
    for number, value in enumerate(values):
        # What is there at all is to be seen.
        high = max(round(HEIGHT * value / peak), 2) if value > 0 else 0
        if high:
            drawn.append(f"M{10 * number + 1} {HEIGHT}v-{min(high, HEIGHT)}h8V{HEIGHT}z")
    return "".join(drawn)


def _named(often: Sequence[Often], found: Activity, trait: Trait, kind: str) -> list[Named]:
    most = max((each.times for each in often), default=1)
    return [
        Named(
            name=inert(each.name, 80),
            times=each.times,
            link=_runs(found, trait, None, {kind: each.name}),
            share=round(100 * each.times / most),
        )
        for each in often
    ]


def _ledger(reader: Reader, size: int) -> str:
    """How the ledger stands, in one line."""
    said = f"{size:,} entries"
    signed, outside = _signed(reader), max((each.size for each in anchored(reader)), default=0)
    said += f", {signed:,} of them under a signed checkpoint" if signed else ", none signed yet"
    return said + (f", {outside:,} held outside" if outside else ", none held outside")


def _signed(reader: Reader) -> int:
    """How many entries the newest checkpoint vouches for, where a key of the ledger has signed."""
    note = newest_checkpoint(reader)
    if note is None:
        return 0
    try:
        keys = [Verifier(vkey) for _, vkey in reader.named_keys().vkeys]
        return open_checkpoint(note, keys).size
    except NoteError:
        # `ledger verify` says what is wrong with it.
        return 0
