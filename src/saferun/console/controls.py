"""The controls: what is used of limits, how tools fare, what is stopped, and who lets it go on.

It says what `saferun control status` says, and stops and resumes as `saferun control stop` and
`resume` do: by a person with their own secret, in one transaction with the ledger's entry, for the
very next call in every process. Whoever may not answer requests may not stop anything either.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, TypeGuard

from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from saferun import gauges, redact
from saferun.approval import inert
from saferun.call import at
from saferun.config import Config
from saferun.console.face import Face
from saferun.console.session import Session, Who
from saferun.control import MAX_NAME, MAX_REASON, STOPPABLE, Stoppable, Switch
from saferun.errors import SafeRunError
from saferun.gauges import Row, Table
from saferun.store import Reader, Store, Turn, WrongSecretError
from saferun.store.controls import switches
from saferun.store.usage import stops

Fields = Mapping[str, Sequence[str]]

MOST = 20
"""Rows of each limit, and of runs that went in circles."""

SHOWN = {
    "all": "Everything",
    "near": "What stops calls, or nearly",
    "stopped": "What is stopped alone",
}
"""What one can narrow the rows down to."""

SCOPES: Mapping[Stoppable, str] = {
    "agent": "An agent",
    "tool": "A tool",
    "tenant": "A tenant",
    "user": "A user",
    "run": "A run",
    "all": "Everything",
}

_TITLES = {
    "stopped": "Stopped",
    "breakers": "Breakers",
    "limits": "Limits",
    "budgets": "Budgets",
}

_ABOUT = {
    "stopped": "Until a person resumes it.",
    "breakers": "Of tools that fail or are slow now; what is open is tried again by itself.",
    "limits": "By how much of them is used; what is full frees by itself where it says when.",
    "budgets": "By how much of them is used, with what calls under way may come to.",
}

_NONE = {
    "stopped": "Nothing is stopped.",
    "breakers": "No tool is failing, and no breaker is open.",
    "limits": "Nothing counts towards any limit.",
    "budgets": "Nothing counts towards any budget.",
}

MARKS: Mapping[gauges.Tone, tuple[str, str, str]] = {
    "stopped": ("deny", "✕", "stops calls"),
    "near": ("ask", "!", "near that"),
    "tried": ("ask", "?", "tried again"),
    "plain": ("", "", ""),
    "more": ("", "", ""),
}


class Line(NamedTuple):
    """One row of a table; `held` names the switch that a person may turn back."""

    mark: tuple[str, str, str]
    cells: tuple[str, ...]
    share: int | None
    quiet: bool
    held: str | None
    what: str


class Part(NamedTuple):
    """One table: what it is called and about, its heads, and whether a head is of figures."""

    name: str
    title: str
    about: str
    none: str
    heads: tuple[tuple[str, bool], ...]
    lines: tuple[Line, ...]
    shares: bool


class RefusedError(SafeRunError):
    """What was entered does not say what is meant."""


class Controls:
    """The page of one store."""

    def __init__(self, store: Store, settings: Config, face: Face) -> None:
        self._store = store
        self._settings = settings
        self._face = face

    def routes(self) -> list[Route]:
        return [
            Route("/controls", self._face.page(self._controls)),
            Route("/controls", self._face.act(self._turned), methods=["POST"]),
        ]

    def _controls(self, asked: Asked, session: Session) -> Response:
        said = asked.query_params
        scope, value = said.get("scope", ""), said.get("value", "")
        return self._shown(asked, session, entered={"scope": scope, "value": value})

    def _shown(
        self,
        asked: Asked,
        session: Session,
        *,
        status: int = 200,
        refused: str | None = None,
        entered: Mapping[str, str],
    ) -> Response:
        said = asked.query_params
        show = said.get("show", "")
        show = show if show in SHOWN else "all"
        about = said.get("about", "").strip()[:200]
        with Reader(self._store.path) as reader:
            if show == "stopped":
                # Whoever has to stop something waits for no count of limits.
                found = stops(reader, about)
            else:
                found = gauges.looking(reader, self._settings, gauges.NEWEST)(MOST, about)
        tables = list(gauges.tables(found, MOST, at))[: 1 if show == "stopped" else None]
        may = _may(session.who)
        scope = entered.get("scope", "")
        return self._face.shown(
            "controls.html",
            session,
            status=status,
            parts=[_part(each, show, may=may) for each in tables],
            now=at(found.at),
            unlooked=gauges.unlooked(found),
            show=show,
            shown=SHOWN,
            about=about,
            may=may,
            why=_why_not(session.who),
            scopes=SCOPES,
            scope=scope if scope in SCOPES else "agent",
            value=entered.get("value", "")[:MAX_NAME],
            reason=entered.get("reason", "")[:MAX_REASON],
            refused=None if refused is None else inert(refused, 600),
            most=(MAX_NAME, MAX_REASON),
        )

    def _turned(self, asked: Asked, session: Session, said: Fields) -> Response:
        entered = {name: values[0] for name, values in said.items() if values}
        who = session.who
        if who.person is None or who.credential is None or not who.answers:
            return self._shown(asked, session, status=403, refused=_why_not(who), entered=entered)
        on = entered.get("act") == "stop"
        try:
            with Reader(self._store.path) as reader:
                stopped = switches(reader)
                scope, value = _meant(reader, entered, stopped, on=on)
            switch = Switch(scope=scope, value=value, by=who.person, reason=_reason(entered, on=on))
            seq = self._store.commit(Turn(switch=switch, on=on, credential=who.credential))
        except RefusedError as problem:
            return self._shown(asked, session, status=422, refused=str(problem), entered=entered)
        except WrongSecretError as problem:
            return self._shown(asked, session, status=403, refused=str(problem), entered=entered)
        with Reader(self._store.path) as reader:
            # After the turn, which must not wait for it.
            unheard = on and gauges.unheard(reader, scope, value) is not None
        session.said = _came_of(switch, stopped, seq, on=on, unheard=unheard)
        return RedirectResponse("/controls?show=stopped", 303)


def _may(who: Who) -> bool:
    return who.answers and who.credential is not None


def _why_not(who: Who) -> str:
    """Why somebody is not to be offered a switch."""
    if who.person is None or who.credential is None:
        return "You may look here. To stop or resume, log in with your own secret."
    return f"{who.person} may look, and neither stop nor resume."


def _name(switch: Switch) -> str:
    """What a form calls a switch: names may hold what no form brings back as it was."""
    return sha256(f"{switch.scope}\0{switch.value or ''}".encode(errors="replace")).hexdigest()


def _is_scope(text: str) -> TypeGuard[Stoppable]:
    return text in STOPPABLE


def _meant(
    reader: Reader, entered: Mapping[str, str], stopped: list[Switch], *, on: bool
) -> tuple[Stoppable, str | None]:
    """What is to be stopped or resumed. Raises RefusedError."""
    if not on:
        held = next((each for each in stopped if _name(each) == entered.get("switch")), None)
        if held is None:
            raise RefusedError("That is not stopped any more.")
        return held.scope, held.value
    scope, value = entered.get("scope", ""), entered.get("value", "").strip()
    if not _is_scope(scope):
        raise RefusedError("Say what is to be stopped.")
    if scope == "all":
        if value:
            # Whoever has named one thing has hardly meant everything.
            raise RefusedError(
                "Everything has no name: leave the name empty, or say what it is of."
            )
        return scope, None
    if not 0 < len(value) <= MAX_NAME or "\0" in value:
        raise RefusedError(f"Say which {scope}, in 1 to {MAX_NAME:,} characters.")
    if scope != "run":
        return scope, value
    found = gauges.runs_meant(reader, value, stopped)
    if len(found) != 1:
        many = "There is no run whose id begins" if not found else f"{len(found):,} runs' ids begin"
        raise RefusedError(f"{many} with {value[:80]}.")
    return scope, found[0]


def _reason(entered: Mapping[str, str], on: bool) -> str | None:
    reason = entered.get("reason", "").strip()
    if on and not reason:
        raise RefusedError("Say why, in a few words.")
    if len(reason) > MAX_REASON or "\0" in reason:
        raise RefusedError(f"A reason has at most {MAX_REASON:,} characters.")
    return redact.text(reason) if reason else None


def _came_of(
    switch: Switch, stopped: list[Switch], seq: int | None, *, on: bool, unheard: bool
) -> tuple[str, str]:
    """What is told of it: whether it went well, and the sentence."""
    what = gauges.halted(switch, {})
    before = next(
        (each for each in stopped if (each.scope, each.value) == (switch.scope, switch.value)), None
    )
    by = "" if before is None else f"; it was stopped by {gauges.by_whom(before, at)}"
    if seq is None:
        return (
            "bad",
            f"{what[:1].upper()}{what[1:]} is {'stopped already' if on else 'not stopped'}{by}.",
        )
    if not on:
        return "good", f"Resumed: {what}, in entry {seq:,}{by}."
    said = (
        f"Stopped: {what}, in entry {seq:,}. Every call from here on is refused; what was let"
        " through before runs to its end."
    )
    if unheard:
        said += " Nothing here has heard of that name so far: it may be a typo."
    return "good", said


def _part(table: Table, show: str, *, may: bool) -> Part:
    kind, columns = table.heads[0], table.columns or [0]
    rows = [row for row in table.rows if show != "near" or row.tone not in ("plain", "more")]
    return Part(
        name=kind,
        title=_TITLES[kind],
        about=_ABOUT[kind],
        none=_NONE[kind] if show != "near" else "None is near that.",
        heads=tuple((table.heads[each], table.heads[each] in gauges.FIGURES) for each in columns),
        lines=tuple(_line(row, columns, may=may) for row in rows),
        shares=any(row.share is not None for row in rows),
    )


def _line(row: Row, columns: Sequence[int], *, may: bool) -> Line:
    cells = (*row.cells, *("" for _ in columns))
    return Line(
        mark=MARKS[row.tone],
        cells=tuple(cells[each] if each < len(cells) else "" for each in columns),
        share=None if row.share is None else round(100 * row.share),
        quiet=row.tone == "more",
        held=_name(row.switch) if may and row.switch is not None else None,
        what=cells[0],
    )
