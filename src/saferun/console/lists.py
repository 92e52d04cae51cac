"""The page that lists runs, and the views of it that people have named for themselves."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request as Asked
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from saferun.approval import inert
from saferun.console import stretches
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.listed import listed, run_link
from saferun.console.sent import one
from saferun.console.session import Session
from saferun.errors import SearchError
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.synopsis import Choice, Trait, Within, together
from saferun.store.views import MAX_NAME, MAX_VALUE, View, ViewError, Views

LISTED = 50
"""Runs on one page."""

BUILT_IN: tuple[tuple[Trait | None, str], ...] = (
    (None, "All"),
    ("denied", "Denied"),
    ("asked", "Asked"),
    ("near", "Near misses"),
    ("failed", "Failed"),
    ("stopped", "Stopped"),
)
"""The views that are always there: what their runs have, and what they are called."""

COUNTED: tuple[tuple[Trait | None, str], ...] = (
    ("called", "With calls"),
    ("paid", "That cost something"),
    ("began", "Begun"),
)
"""The views that figures lead to, and that stand there while one is in them."""

MAX_RULE = 600
"""Characters of the rule that runs are chosen by."""

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_WORDS = ("agent", "user", "tool", "text")
_NARROW = ("rule", "since", "until")


class Lists:
    """The list of the runs of one store, and its views."""

    def __init__(self, history: History, face: Face) -> None:
        self._history = history
        self._face = face
        self._views = Views(history.path)

    def routes(self) -> list[Route]:
        return [
            Route("/runs", self._face.page(self._list)),
            Route("/runs/views", self._face.act(self._keep), methods=["POST"]),
        ]

    def _list(self, asked: Asked, session: Session) -> Response:
        view = _asked_for({name: [value] for name, value in asked.query_params.items()})
        said = asked.query_params
        before = said.get("before", "")
        narrow = {name: said.get(name, "").strip()[:MAX_RULE] for name in _NARROW}
        narrow = {name: value for name, value in narrow.items() if value}
        during, found, refused = None, [], ""
        with Reader(self._history.path) as reader, Index(reader) as index:
            self._history.hold(reader)
            index.build()
            try:
                times = narrow.get("since", ""), narrow.get("until", "")
                during = stretches.during(*times, reader.now())
                _readable(said)
                found = index.runs(
                    choice(view, during, narrow.get("rule")),
                    before=int(before) if _NUMBER.fullmatch(before) else 1 << 62,
                    limit=LISTED + 1,
                )
            except (ValueError, SearchError) as problem:
                refused = inert(str(problem), 400)
            runs = [listed(each, _below(index, each.run)) for each in found[:LISTED]]
        further = None
        if len(found) > LISTED:
            further = _link(view, **narrow, before=found[LISTED - 1].first)
        person = session.who.person
        own = [] if person is None else self._views.of(person)
        return self._face.shown(
            "runs.html",
            session,
            status=422 if refused else 200,
            refused=refused,
            runs=runs,
            views=[
                (label, _link(_of_trait(view, trait), **narrow), trait == view.trait)
                for trait, label in (
                    *BUILT_IN,
                    *(each for each in COUNTED if each[0] == view.trait),
                )
            ],
            own=[(inert(each.name), each.name, _link(each), _same(each, view)) for each in own],
            here_own=next((each.name for each in own if _same(each, view)), None),
            keeps=person is not None,
            it=view,
            within=None if not view.within else (inert(view.within, 80), run_link(view.within)),
            hidden=_said(view),
            narrow=narrow,
            rule=inert(narrow.get("rule", ""), MAX_RULE),
            during=None if during is None else stretches.between(during),
            anytime=_link(view, **{name: each for name, each in narrow.items() if name == "rule"}),
            narrowed=any((view.agent, view.user, view.tool, view.text, view.within, narrow)),
            bare=_link(View(name="", trait=view.trait)),
            further=further,
            longest=MAX_NAME,
        )

    def _keep(self, _: Asked, session: Session, said: Mapping[str, Sequence[str]]) -> Response:
        """Keep, rename or delete a view of whoever sends the form."""
        person, view = session.who.person, _asked_for(said)
        name, act = one(said, "name").strip(), one(said, "act")
        was = one(said, "was")
        if person is None:
            session.said = ("bad", "Views are kept for people; log in with a name of your own.")
            return RedirectResponse(_link(view), 303)
        try:
            if act == "keep":
                self._views.keep(person, msgspec.structs.replace(view, name=name))
            elif act == "rename":
                self._views.rename(person, was, name)
            elif act == "delete":
                self._views.drop(person, was)
        except ViewError as problem:
            session.said = ("bad", str(problem))
        return RedirectResponse(_link(view), 303)


def choice(view: View, during: tuple[int, int] | None = None, rule: str | None = None) -> Choice:
    """The runs of a view: children are counted at their roots, unless it lists them too.

    What happened at some time, or by some rule, is listed where it happened.
    """
    narrow = during is not None or rule is not None
    return Choice(
        during=during,
        rule=rule,
        traits=() if view.trait is None else (view.trait,),
        agent=view.agent or None,
        user=view.user or None,
        tool=view.tool or None,
        text=view.text,
        parent=view.within or None,
        tops=not (view.children or view.within or narrow),
    )


def _readable(said: Mapping[str, str]) -> None:
    """Raises ValueError where an address asks for a view or a place that there is not.

    Or it would be answered as if it had asked for all runs.
    """
    view, before, children = (said.get(name, "") for name in ("view", "before", "children"))
    known = [each for each, _ in (*BUILT_IN, *COUNTED) if each is not None]
    if view not in ("", "all", *known):
        raise ValueError(f"There is no view {view[:80]!r}; it is all, {', '.join(known)}.")
    if before and not _NUMBER.fullmatch(before):
        raise ValueError(f"Earlier runs begin before the number of an entry, and not {before!r}.")
    if children not in ("", "yes"):
        raise ValueError(f"Runs within runs are listed with children=yes, and not {children!r}.")


def _below(index: Index, run_id: str) -> Within:
    return together(index.within(run_id).values())


def _asked_for(said: Mapping[str, Sequence[str]]) -> View:
    """What an address or a form asks for. What is too long or unknown asks for nothing."""
    trait = next((each for each, _ in (*BUILT_IN, *COUNTED) if each == one(said, "view")), None)
    words = {name: one(said, name).strip()[:MAX_VALUE] for name in _WORDS}
    return View(
        name="",
        trait=trait,
        within=one(said, "within")[: 2 * MAX_VALUE],
        children=one(said, "children") == "yes",
        **words,
    )


def _said(view: View) -> dict[str, str]:
    """What a view asks for, as an address has it."""
    said = {name: getattr(view, name) for name in (*_WORDS, "within")}
    said |= {"view": view.trait or "", "children": "yes" if view.children else ""}
    return {name: value for name, value in said.items() if value}


def _link(view: View, **more: object) -> str:
    said = {**_said(view), **more}
    return f"/runs?{urlencode(said)}" if said else "/runs"


def _of_trait(view: View, trait: Trait | None) -> View:
    return msgspec.structs.replace(view, trait=trait)


def _same(one: View, other: View) -> bool:
    return _said(one) == _said(other)
