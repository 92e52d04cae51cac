"""Rules in shadow: since when, what each would have stopped, whether rightly, and have one count.

What `saferun policy review` says of all policies, and what `saferun policy enforce` does: by an
admin, in the file, where files decide. Elsewhere the page says the command.
"""

import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun import amending
from saferun.amending import CannotAmendError, Draft
from saferun.approval import inert
from saferun.call import at
from saferun.console import rules
from saferun.console.before import History
from saferun.console.catalogue import Catalogue, Source
from saferun.console.face import Face
from saferun.console.listed import run_link
from saferun.console.rule import is_admin, is_writable, patch, why_not
from saferun.console.sent import Fields, one
from saferun.console.session import Session
from saferun.console.workroom import Going, Tell, Workroom
from saferun.errors import PolicyError, SafeRunError
from saferun.marks import Mark
from saferun.policy import Policy
from saferun.policy.amend import AmendError
from saferun.replay.suggest import Frames, Review, reviews
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.versions import kept_version

log = logging.getLogger("saferun")

SHADOW = "/shadow"

MANY = 200
"""Rules that are shown."""

BACK = 50
"""Versions that are looked through for since when a rule is there, the newest first."""


class Tried(NamedTuple):
    """A rule in shadow; inert but for `name` and `own`, which forms bring back.

    `since` is when a version was first kept that had it so, with those after it; `newest` are
    hits to look at, and `hits` leads to all of them.
    """

    name: str
    own: str
    id: str
    tool: str
    mark: Mark | None
    when: tuple[str, ...]
    message: str
    since: str
    told: Review
    newest: tuple[tuple[str, str], ...]
    hits: str


class Group(NamedTuple):
    """The rules in shadow of one policy, where they stand, and how one is made to count.

    `ids` are those that stand in the file itself: others are in one that it includes. `over` is how
    many are left out.
    """

    name: str
    link: str
    file: str
    ids: frozenset[str]
    seal: str
    hand: tuple[str, ...]
    rules: tuple[Tried, ...]
    over: int


class Shadow:
    """The page of one store."""

    def __init__(self, past: History, catalogue: Catalogue, face: Face) -> None:
        self._past = past
        self._catalogue = catalogue
        self._face = face
        self._room: Workroom[dict[str, tuple[Tried, ...]]] = Workroom()

    def routes(self) -> list[Route]:
        page = self._face.page
        return [
            Route(SHADOW, page(self._shadow)),
            Route(SHADOW, self._face.act(self._enforced), methods=["POST"]),
            Route(f"{SHADOW}/going", page(self._going)),
            Route(f"{SHADOW}/patch", page(self._patch)),
        ]

    def close(self) -> None:
        self._room.close()

    def _shadow(self, _: Asked, session: Session) -> Response:
        return self._page(session)

    def _page(self, session: Session, *, status: int = 200, refused: str = "") -> Response:
        tried, found = self._looked()
        groups, wrong, going = list[Group](), None, None
        if isinstance(found, Going):
            going = found
        elif found.result is None:
            wrong = found.failed
        else:
            groups = [self._group(each, found.result[each.name], _ids(of)) for each, of in tried]
        return self._face.shown(
            "shadow.html",
            session,
            status=status,
            refused=inert(refused, 600),
            groups=groups,
            going=going,
            wrong=wrong,
            may=is_admin(session.who),
            why=why_not(session.who),
        )

    def _looked(self) -> tuple[list[tuple[Source, Policy]], Any]:
        """The policies that have anything in shadow, and what came of it, or how far that is."""
        with Reader(self._past.path) as reader:
            self._past.hold(reader)
            size = reader.head().size
        tried = self._tried()
        key = tuple((each.name, policy.version) for each, policy in tried)
        return tried, self._room.look(key, size, 0, lambda tell: _told(self._past, tried, tell))

    def _going(self, _asked: Asked, _session: Session) -> Response:
        """How far it is, for a page that stands already; the page itself once it is done."""
        _, found = self._looked()
        if isinstance(found, Going):
            return self._face.part("going.html", going=found, reload=SHADOW)
        return RedirectResponse(SHADOW, 303)

    def _tried(self) -> list[tuple[Source, Policy]]:
        """The policies that have anything in shadow, as they decide."""
        found = []
        for name in self._catalogue.names():
            source = self._catalogue.source(name)
            policy = None if source is None else self._deciding(source)
            if source is not None and policy is not None and _ids(policy):
                found.append((source, policy))
        return found

    def _deciding(self, source: Source) -> Policy | None:
        """What the file says, or the version that was published last, where that decides."""
        if not self._catalogue.published:
            return source.policy
        try:
            return None if source.live is None else self._catalogue.version(source, source.live)
        except SafeRunError:
            # The page of the policy says what is wrong with it.
            return None

    def _group(self, source: Source, found: tuple[Tried, ...], every: set[str]) -> Group:
        file, seal, hand = "", "", tuple[str, ...]()
        name, ids = inert(source.name, 120), frozenset[str]()
        if source.file is not None:
            file = inert(self._catalogue.shown(source.file), 160)
            held = self._held(source)
            seal = "" if held is None else sha256(held).hexdigest()
            ids = frozenset() if held is None else amending.own(held)
        # What is copied into a shell must be no more than a name.
        enforce = f"saferun policy enforce {quote(name)} RULE"
        if self._catalogue.published:
            hand = (enforce, f"saferun policy publish {quote(name)}")
        elif source.file is None or not is_writable(source.file):
            hand = (enforce,)
        link = f"/policy?{urlencode({'name': source.name})}"
        over = len(every - {each.own for each in found}) if len(found) >= MANY else 0
        return Group(name, link, file, ids, seal, hand, found, over)

    def _held(self, source: Source) -> bytes | None:
        """What the file is that a page is made from, so that no other is changed."""
        assert source.file is not None
        try:
            return amending.held(source.file, self._catalogue.shown(source.file))
        except CannotAmendError:
            return None

    def _draft(self, name: str, rule: str, seal: str | None = None) -> Draft | None:
        """The change that has a rule count; None where there is no such file.

        Raises CannotAmendError, AmendError and PolicyError.
        """
        source = self._catalogue.source(name) if 0 < len(name) <= 128 else None
        if source is None or source.file is None:
            return None
        shown = self._catalogue.shown
        held = amending.held(source.file, shown(source.file))
        if seal is not None and sha256(held).hexdigest() != seal:
            raise CannotAmendError(
                f"{shown(source.file)} has changed since this page was shown, and nothing was"
                " written; look at it again."
            )
        return amending.enforced(source.file, shown, held, rule)

    def _patch(self, asked: Asked, session: Session) -> Response:
        said = asked.query_params
        try:
            draft = self._draft(said.get("name", ""), said.get("rule", ""))
        except (CannotAmendError, AmendError, PolicyError) as problem:
            return PlainTextResponse(inert(_words(problem), 600), 409)
        if draft is None:
            return self._face.shown("missing.html", session, status=404)
        return patch(draft)

    def _enforced(self, _: Asked, session: Session, fields: Fields) -> Response:
        who, rule = session.who, one(fields, "rule")
        if not is_admin(who):
            return self._page(session, status=403, refused=why_not(who))
        if self._catalogue.published:
            why = "What was published decides here, and nothing is written; the page says how."
            return self._page(session, status=409, refused=why)
        try:
            draft = self._draft(one(fields, "name"), rule, one(fields, "seal"))
            if draft is not None:
                amending.make(draft.changes)
        except (CannotAmendError, AmendError, PolicyError) as problem:
            return self._page(session, status=409, refused=_words(problem))
        if draft is None:
            return self._face.shown("missing.html", session, status=404)
        files = " and ".join(each.name for each in draft.changes)
        rule = inert(rule, 120)
        log.info("saferun: %s has rule %s enforced in %s", who.person, rule, files)
        session.said = "good", f"{rule} is enforced in {inert(files, 300)}."
        return RedirectResponse(SHADOW, 303)


def _words(problem: SafeRunError) -> str:
    """What is wrong, without the path of a file."""
    return problem.message if isinstance(problem, PolicyError) else str(problem)


def _ids(policy: Policy) -> set[str]:
    return set(_in_shadow(policy.document.value))


def _told(
    past: History, tried: Sequence[tuple[Source, Policy]], tell: Tell
) -> dict[str, tuple[Tried, ...]]:
    """What each policy's rules in shadow have said, by the policy's name."""
    found: dict[str, tuple[Tried, ...]] = {}
    with Reader(past.path) as reader, Index(reader) as index:
        index.build()
        frames = Frames(index)
        for done, (source, policy) in enumerate(tried):
            tell("Counting what each would have stopped", done, len(tried))
            lines, since = dict(_lines(policy)), _since(reader, source, policy)
            found[source.name] = tuple(
                _one(source.name, each, lines.get(each.id), since.get(each.id), frames)
                for each in reviews(index, policy)[:MANY]
            )
    return found


def _lines(policy: Policy) -> Iterator[tuple[str, rules.Line]]:
    for line in rules.lines(policy, None):
        yield line.id, line


def _one(
    name: str, told: Review, line: rules.Line | None, since: int | None, frames: Frames
) -> Tried:
    newest = []
    for each in reversed(told.newest):
        number = frames.number(each)
        link = (
            f"/ledger/entries/{each.seq}"
            if number is None
            else run_link(str(each.run_id), frame=number)
        )
        newest.append((inert(frames.named(each), 120), link))
    return Tried(
        name=name,
        own=told.id,
        id=inert(told.id, 120),
        tool="" if line is None else line.tool,
        mark=None if line is None else line.mark,
        when=() if line is None else line.when,
        message="" if line is None else line.message,
        since="" if since is None else at(since),
        told=told,
        newest=tuple(newest),
        hits=f"/ledger/entries?{urlencode({'rule': told.id, 'policy': name})}",
    )


def _since(reader: Reader, source: Source, policy: Policy) -> dict[str, int]:
    """Since when rules of a policy are in shadow without a break, as far as versions are kept."""
    found: dict[str, int] = {}
    going = _ids(policy)
    for kept in reversed(source.kept[-BACK:]):
        try:
            value = msgspec.json.decode(kept_version(reader, kept.version))
        except (SafeRunError, msgspec.MsgspecError):
            break
        going &= set(_in_shadow(value))
        if not going:
            break
        found |= dict.fromkeys(going, kept.since)
    return found


def _in_shadow(value: Any) -> Iterator[str]:
    """The ids of all that says of itself that it is in shadow, wherever that stands."""
    if isinstance(value, dict):
        if value.get("mode") == "shadow" and isinstance(value.get("id"), str):
            yield value["id"]
        for each in value.values():
            yield from _in_shadow(each)
    elif isinstance(value, list):
        for each in value:
            yield from _in_shadow(each)
