"""From a frame to a rule: what would have stopped this call, and what it would do to all others.

What `saferun policy suggest` says, on a page: rules in their order, the text of the one that is
chosen, what it would have done to history, and the change of the policy and of its tests. Whoever
may look sees it and takes the patch along. An admin puts it into the file, in shadow, where files
decide; where versions are published, the page says by which commands it is done.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun import amending
from saferun.amending import CannotAmendError, Draft
from saferun.approval import inert
from saferun.call import span
from saferun.config import Config
from saferun.console import closeup, text
from saferun.console.before import History
from saferun.console.catalogue import Catalogue
from saferun.console.face import Face
from saferun.console.labels import Marking, marking, may
from saferun.console.listed import run_link
from saferun.console.playbacks import Playbacks
from saferun.console.sent import Fields, one
from saferun.console.session import Session, Who
from saferun.console.workroom import Going, Tell, Workroom
from saferun.desk import Desk
from saferun.errors import PolicyError
from saferun.ledger import Mark as Label
from saferun.marks import Mark
from saferun.policy.amend import AmendError
from saferun.replay import Playback, mark
from saferun.replay.suggest import (
    CannotSuggestError,
    Example,
    File,
    Known,
    Suggested,
    Suggestions,
    history,
    suggestions,
)
from saferun.store import Reader
from saferun.store.index import Index
from saferun.store.openings import Openings

log = logging.getLogger("saferun")

MOST = 200_000
"""Calls and runs that are taken up here, the newest; `saferun policy suggest` takes more."""

ANYONE = "*"
"""Whom a rule asks that names nobody: everybody who may answer."""

DENY = "deny"

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_OPENED = 40
"""Runs that are opened to say which frame a call was."""


class Shown(NamedTuple):
    """A recorded call to look at; inert."""

    seq: int
    mark: Mark
    tool: str
    said: str
    frame: str
    link: str
    notes: tuple[str, ...]
    label: Label | None


class Looked(NamedTuple):
    """What there is to suggest for one call, and of how many calls how far back it was found out.

    `shown` are the calls to look at, by their entries, and `over` is how many calls were left out.
    """

    found: Suggestions
    incident: Known
    hidden: frozenset[str]
    calls: int
    began: int | None
    over: int
    shown: Mapping[int, Shown]


class Meant(NamedTuple):
    """The frame that is asked about, and the policy that a rule is to go into."""

    run: str
    number: int
    seq: int
    tool: str
    mark: Mark
    args: tuple[tuple[str, str], ...]
    policy: str
    then: str

    @property
    def about(self) -> dict[str, Any]:
        """As an address says it."""
        about: dict[str, Any] = {"id": self.run, "frame": self.number, "policy": self.policy}
        return {**about, "then": self.then}

    def link(self, what: str = "", **more: object) -> str:
        return f"/rule{what}?{urlencode({**self.about, **more})}"


class _Held(NamedTuple):
    """A policy file as it is now, and the version that it makes with all that it includes.

    Without a version it does not load.
    """

    path: Path
    file: File
    version: str | None


class Rule:
    """The pages of one store."""

    def __init__(
        self,
        past: History,
        desk: Desk,
        settings: Config,
        catalogue: Catalogue,
        plays: Playbacks,
        face: Face,
    ) -> None:
        self._past = past
        self._desk = desk
        self._settings = settings
        self._catalogue = catalogue
        self._plays = plays
        self._face = face
        self._room: Workroom[Looked] = Workroom()

    def routes(self) -> list[Route]:
        page = self._face.page
        return [
            Route("/rule", page(self._rule)),
            Route("/rule", self._face.act(self._written), methods=["POST"]),
            Route("/rule/going", page(self._going)),
            Route("/rule/patch", page(self._patch)),
        ]

    def close(self) -> None:
        self._room.close()

    # What is meant, and what is found.

    def _meant(self, said: Mapping[str, str]) -> Meant | None:
        """The frame that is named, None where there is none, or it is no call."""
        run, number = said.get("id", ""), said.get("frame", "")
        if not (0 < len(run) <= 250 and _NUMBER.fullmatch(number)):
            return None
        with self._plays.looking(run) as play:
            if play is None or not 1 <= int(number) <= len(play.outline):
                return None
            [frame] = play.told(int(number), 1)
        if frame.kind != "call":
            return None
        about = frame.decision or frame.said
        args = about.get("args")
        own = (about.get("policy") or {}).get("name") or self._settings.policy
        then = said.get("then", "")
        whom = {DENY, ANYONE, *self._desk.people.groups}
        return Meant(
            run=run,
            number=frame.number,
            seq=frame.seq,
            tool=str(about.get("tool") or ""),
            mark=mark(frame),
            args=tuple(
                (str(name), inert(closeup.as_json(value), closeup.VALUE))
                for name, value in (args.items() if isinstance(args, Mapping) else ())
            )[: closeup.MANY],
            policy=said.get("policy", "")[:128] or str(own or ""),
            then=then if then in whom else DENY,
        )

    def _file(self, meant: Meant) -> _Held | None:
        """The file of the policy, as it is now; None where it has none in the folder."""
        source = self._catalogue.source(meant.policy) if meant.policy else None
        if source is None or source.file is None:
            return None
        data = amending.held(source.file, self._catalogue.shown(source.file))
        version = None if source.policy is None else source.policy.version
        return _Held(source.file, File(data, str(source.file)), version)

    def _looked(self, meant: Meant, held: _Held, upto: int) -> Any:
        """What there is to suggest, or how far that is. Raises BusyError, IndexingError."""
        with Reader(self._past.path) as reader:
            self._past.hold(reader)
            size = reader.head().size
        file = held.file
        key = (meant.run, meant.seq, meant.then, sha256(file.text).digest(), held.version)
        return self._room.look(key, size, upto, lambda tell: self._work(meant, file, tell))

    def _work(self, meant: Meant, file: File, tell: Tell) -> Looked:
        with Reader(self._past.path) as reader, Index(reader) as index:
            index.build()
            openings = Openings(reader).opening
            environment = self._settings.environment
            known = history(
                index, meant.tool, environment=environment, openings=openings, most=MOST
            )
            incident = known.at(meant.seq)
            if incident is None:
                raise CannotSuggestError(
                    f"The call cannot be read, or lies further back than {MOST:,} calls; saferun "
                    "policy suggest looks at all of them."
                )
            total = len(known.calls)

            def trying(done: int) -> None:
                tell("Trying rules", done, total)

            try:
                found = suggestions(
                    file,
                    known,
                    incident,
                    effect="deny" if meant.then == DENY else "ask",
                    ask=() if meant.then in (DENY, ANYONE) else (meant.then,),
                    progress=trying,
                )
            except PolicyError as problem:
                # Without the whole path of a file, which is nobody's who looks at a page.
                where = "" if problem.line is None else f"Line {problem.line}: "
                if problem.path is not None and problem.path != file.path:
                    where = f"{self._catalogue.shown(Path(problem.path))}:{problem.line or 1}: "
                raise CannotSuggestError(f"{where}{problem.message}") from None
            entries = len(index.numbers({"kind": ("decision", "call", "run")}))
            return Looked(
                found=found,
                incident=incident,
                hidden=known.hidden,
                calls=total,
                began=known.calls[0].facts.now if known.calls else None,
                over=max(entries - MOST, 0),
                shown=_shown(index, found, known.calls, incident),
            )

    # The page.

    def _rule(self, asked: Asked, session: Session) -> Response:
        meant = self._meant(asked.query_params)
        if meant is None:
            return self._face.shown("missing.html", session, status=404)
        return self._page(meant, session, asked.query_params)

    def _page(
        self,
        meant: Meant,
        session: Session,
        said: Mapping[str, str],
        *,
        status: int = 200,
        refused: str | None = None,
    ) -> Response:
        about: dict[str, Any] = {"going": None, "looked": None, "why": None, "file": None}
        about |= {"chosen": None, "stopped": (), "again": meant.link("/going")}
        upto = _upto(said)
        try:
            held = self._file(meant)
            if held is None:
                about["why"] = _no_file(meant)
            else:
                about["file"] = inert(self._catalogue.shown(held.path), 160)
                found = self._looked(meant, held, upto)
                if isinstance(found, Going):
                    about["going"] = found
                    about["again"] = meant.link("/going", upto=upto)
                elif found.result is None:
                    about["why"] = found.failed
                else:
                    about |= self._about(
                        meant,
                        held.path,
                        found.result,
                        found.size,
                        said.get("rule", ""),
                        session.who,
                    )
        except CannotAmendError as problem:
            about["why"] = inert(str(problem), 600)
        return self._face.shown(
            "rule.html",
            session,
            status=status,
            refused=None if refused is None else inert(refused, 600),
            meant=meant,
            run=inert(meant.run, 80),
            tool=inert(meant.tool, 80),
            back=run_link(meant.run, frame=meant.number),
            policies=[(each, inert(each, 120)) for each in self._policies(meant)],
            thens=_thens(self._desk.people.groups),
            reload=meant.link(rule=said.get("rule", "")[:200], upto=upto),
            **about,
        )

    def _policies(self, meant: Meant) -> list[str]:
        names = self._catalogue.names()
        return names if meant.policy in names else [*names, meant.policy]

    def _about(
        self, meant: Meant, path: Path, looked: Looked, size: int, own: str, who: Who
    ) -> dict[str, Any]:
        found = looked.found
        if not found.found:
            return {"looked": looked, "stopped": [inert(each, 120) for each in found.stopped]}
        chosen = found.named(own) or found.found[0]
        draft, why = self._draft(meant, path, looked, chosen)
        effect = chosen.effect
        back = meant.link(rule=chosen.candidate.id)
        hand = self._hand(meant, path, chosen)
        with Reader(self._past.path) as reader:
            newer = reader.head().size - size
        return {
            "looked": looked,
            "heard": [inert(each, 120) for each in found.heard],
            "chosen": inert(chosen.candidate.id, 120),
            "own": chosen.candidate.id,
            "fields": [
                (inert(name, 80), value, _speaks(chosen.text, name)) for name, value in meant.args
            ],
            "offers": [_offer(meant, each, chosen) for each in found.found],
            "said": [inert(each, 400) for each in chosen.text.splitlines()],
            "since": _span(looked),
            "size": size,
            "newer": newer,
            "anew": meant.link(rule=chosen.candidate.id, upto=size + newer),
            "effect": effect,
            "tiles": _tiles(chosen),
            "drift": chosen.drift if chosen.drift.touched else None,
            "hits": _rows(looked, effect.hit_examples, who, back, extra=[looked.incident.seq]),
            "more_hits": max(
                effect.hits - len({each.seq for each in effect.hit_examples} | {meant.seq}), 0
            ),
            "missed": _rows(looked, effect.missed_examples, who, back),
            "untold": _rows(looked, effect.undecided_examples, who, back),
            "parts": [] if draft is None else _parts(draft),
            "caseless": None
            if draft is None or draft.caseless is None
            else inert(draft.caseless, 400),
            "unsound": why,
            "patch": meant.link("/patch", rule=chosen.candidate.id),
            "seal": "" if draft is None else _seal(draft),
            "writes": draft is not None and not hand and is_admin(who),
            "why_not": why_not(who),
            "hand": hand,
            "published": self._catalogue.published,
            "labels": may(who),
        }

    def _draft(
        self, meant: Meant, path: Path, looked: Looked, chosen: Suggested
    ) -> tuple[Draft | None, str]:
        """The change that puts a rule into the files, or why there is none."""
        place = looked.found.place
        assert place is not None
        frame = f"{meant.run}#{meant.number}"
        try:
            return (
                amending.in_shadow(
                    path,
                    self._catalogue.shown,
                    place,
                    chosen,
                    looked.incident,
                    looked.hidden,
                    frame,
                ),
                "",
            )
        except PolicyError as problem:
            return None, inert(problem.message, 600)
        except (AmendError, CannotAmendError) as problem:
            why = str(problem)
            if place.elsewhere is not None:
                why = why.replace(place.elsewhere, self._catalogue.shown(Path(place.elsewhere)))
            return None, inert(why, 600)

    def _hand(self, meant: Meant, path: Path, chosen: Suggested) -> tuple[str, ...]:
        """The commands by which it is done where nothing is written from here; none elsewhere."""
        # Names come from agents and from files, and what is copied into a shell must be no more.
        name, rule = quote(inert(meant.policy, 130)), quote(inert(chosen.candidate.id, 200))
        frame = quote(inert(f"{meant.run}#{meant.number}", 300))
        # A run may be called as an option is.
        last = f"-- {frame}" if meant.run.startswith("-") else ""
        first = "" if last else f"{frame} "
        write = f"saferun policy suggest {first}--policy {name} --write {rule} {last}".rstrip()
        if self._catalogue.published:
            return (write, f"saferun policy publish {name}")
        return () if is_writable(path) else (write,)

    def _going(self, asked: Asked, _: Session) -> Response:
        """How far it is, for a page that stands already; the page itself once it is done."""
        meant = self._meant(asked.query_params)
        held = None if meant is None else self._file(meant)
        if meant is None or held is None:
            return PlainTextResponse("There is nothing of that name.", 404)
        upto = _upto(asked.query_params)
        found = self._looked(meant, held, upto)
        if isinstance(found, Going):
            return self._face.part("going.html", going=found, reload=meant.link(upto=upto))
        return RedirectResponse(meant.link(upto=upto), 303)

    def _patch(self, asked: Asked, session: Session) -> Response:
        meant = self._meant(asked.query_params)
        draft = None if meant is None else self._drawn(meant, asked.query_params.get("rule", ""))
        if meant is None or draft is None:
            return self._face.shown("missing.html", session, status=404)
        return patch(draft)

    def _drawn(self, meant: Meant, own: str) -> Draft | None:
        """The change for a rule that was worked out already; None for any other."""
        held = self._file(meant)
        if held is None:
            return None
        found = self._looked(meant, held, 0)
        looked = None if isinstance(found, Going) else found.result
        chosen = None if looked is None else looked.found.named(own)
        if looked is None or chosen is None:
            return None
        return self._draft(meant, held.path, looked, chosen)[0]

    # Putting it in.

    def _written(self, _: Asked, session: Session, fields: Fields) -> Response:
        said = {name: values[0] for name, values in fields.items() if values}
        meant = self._meant(said)
        if meant is None:
            return self._face.shown("missing.html", session, status=404)
        who = session.who
        if not is_admin(who):
            return self._page(meant, session, said, status=403, refused=why_not(who))
        if self._catalogue.published:
            why = "What was published decides here, and nothing is written; the page says how."
            return self._page(meant, session, said, status=409, refused=why)
        try:
            draft = self._write(meant, one(fields, "rule"), one(fields, "seal"))
        except CannotAmendError as problem:
            return self._page(meant, session, said, status=409, refused=str(problem))
        files = " and ".join(each.name for each in draft.changes)
        rule = inert(one(fields, "rule"), 120)
        log.info("saferun: %s has put rule %s into %s, in shadow", who.person, rule, files)
        session.said = "good", f"{rule} is in {inert(files, 300)}, in shadow: it stops nothing yet."
        return RedirectResponse("/shadow", 303)

    def _write(self, meant: Meant, own: str, seal: str) -> Draft:
        """Put a rule into the files, as a page has shown it. Raises CannotAmendError."""
        draft = self._drawn(meant, own)
        if draft is None or _seal(draft) != seal:
            raise CannotAmendError(
                "The policy, or what is known of the rule, has changed since this page was"
                " shown, and nothing was written; look at it again."
            )
        amending.make(draft.changes)
        return draft


# What the page of rules in shadow shares.


def patch(draft: Draft) -> Response:
    """A change as a file to keep. Its name is ours."""
    return Response(
        draft.patch,
        media_type="text/x-diff; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="rule.patch"'},
    )


def is_admin(who: Who) -> bool:
    """Whether somebody may change a policy here: an admin, by a secret of their own."""
    return who.person is not None and who.role == "admin" and who.credential is not None


def why_not(who: Who) -> str:
    """Why somebody is not to be offered to change a policy."""
    if who.person is None or who.credential is None:
        return "You may look, and take the patch. To change a policy, log in with your own secret."
    return f"{who.person} may look, and take the patch; a policy is changed by an admin."


def is_writable(path: Path) -> bool:
    """Whether a file can be replaced, as far as the system says."""
    real = path.resolve()
    return os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)


def _seal(draft: Draft) -> str:
    """What a form says it has shown, so that nothing else is written.

    Of the whole files: the patch alone says nothing of what stands further away.
    """
    seal = sha256()
    for each in draft.changes:
        for part in (each.name.encode(), each.before or b"", each.after):
            seal.update(sha256(part).digest())
    return seal.hexdigest()


# How it is shown.


def _upto(said: Mapping[str, str]) -> int:
    found = said.get("upto", "")
    return int(found) if re.fullmatch(r"[0-9]{1,18}", found, re.ASCII) else 0


def _no_file(meant: Meant) -> str:
    if not meant.policy:
        return "No policy decided on this call; choose the one that the rule is for."
    name = inert(meant.policy, 120)
    return f"The policy {name} has no file in the folder; choose one that has."


def _thens(known: frozenset[str]) -> list[tuple[str, str]]:
    """What a rule may do, and how a form calls it."""
    # A group that is called as one of the others is cannot be told from it here.
    groups = sorted(known - {DENY, ANYONE})
    asks = [(name, f"ask {inert(name, 60)}") for name in groups]
    return [(DENY, "deny"), *asks, (ANYONE, "ask anybody who may answer")]


def _speaks(rule: str, argument: str) -> bool:
    return re.search(rf"\bargs\.{re.escape(argument)}(?![A-Za-z0-9_])", rule) is not None or (
        f'args["{argument}"]' in rule
    )


def _offer(meant: Meant, each: Suggested, chosen: Suggested) -> tuple[str, str, str, str, bool]:
    """A rule in the list: its id, its condition, what it hits, where it is, whether chosen."""
    own = each.candidate.id
    body = each.candidate.body
    when = str(body.get("when") or "every call of it")
    if each.candidate.part == "limits":
        per = body["per"] if isinstance(body["per"], str) else " and ".join(body["per"])
        when = f"more than {body['max']} per {per} in {body.get('window', 'all')}"
        when = when.removesuffix(" in all")
    hits, fine = each.effect.hits, each.effect.touched
    told = f"{hits:,} {'hit' if hits == 1 else 'hits'}, {fine:,} of them fine"
    return inert(own, 120), inert(when, 300), told, meant.link(rule=own), each is chosen


def _tiles(chosen: Suggested) -> list[tuple[str, int, str]]:
    """What would become of recorded calls: a colour, how many, and the words."""
    effect = chosen.effect
    return [
        ("deny", effect.newly_denied, "newly denied"),
        ("ask", effect.newly_asked, "newly asked"),
        ("allow", effect.newly_allowed, "newly allowed"),
        ("model", effect.undecided, "cannot decide"),
    ]


def _span(looked: Looked) -> str:
    if looked.began is None:
        return ""
    return span(max(looked.incident.facts.now - looked.began, 0))


class _Row(NamedTuple):
    """A call to look at, with the form for what people say of it."""

    shown: Shown
    marking: Marking


def _rows(
    looked: Looked, examples: Sequence[Example], who: Who, back: str, extra: Sequence[int] = ()
) -> list[_Row]:
    """The calls of a list, the incident in front, and then the newest first."""
    seqs = list(dict.fromkeys((*extra, *(each.seq for each in reversed(examples)))))
    found = [looked.shown[seq] for seq in seqs if seq in looked.shown]
    return [_Row(each, marking(who, each.seq, each.label, back)) for each in found]


def _shown(
    index: Index, found: Suggestions, calls: Sequence[Known], incident: Known
) -> dict[int, Shown]:
    """The calls that any of the rules names, each once."""
    wanted, fine = {incident.seq}, set[int]()
    for each in found.found:
        effect = each.effect
        lists = (effect.hit_examples, effect.missed_examples, effect.undecided_examples)
        wanted |= {one.seq for some in lists for one in some}
        fine |= {one.seq for one in effect.touched_examples}
    plays: dict[str, Playback] = {}
    shown: dict[int, Shown] = {}
    for known in calls:
        if known.seq not in wanted:
            continue
        if known.run is not None and known.run not in plays and len(plays) < _OPENED:
            plays[known.run] = Playback(index, known.run)
        play = None if known.run is None else plays.get(known.run)
        shown[known.seq] = _one(known, incident, play, fine=known.seq in fine)
    return shown


def _one(known: Known, incident: Known, play: Playback | None, *, fine: bool) -> Shown:
    notes = []
    if known.seq == incident.seq:
        notes.append("the incident")
    elif fine:
        notes.append("fine so far as is known")
    if known.near:
        notes.append("near miss")
    number = None if play is None else play.outline.number(known.seq)
    if play is None or number is None:
        return Shown(
            seq=known.seq,
            mark=Mark("model", "·", "recorded"),
            tool="",
            said="",
            frame=f"entry {known.seq:,}",
            link=f"/ledger/entries/{known.seq}",
            notes=tuple(notes),
            label=known.label,
        )
    [frame] = play.told(number, 1)
    line = closeup.line(frame)
    return Shown(
        seq=known.seq,
        mark=mark(frame),
        tool=line.what,
        said=line.said,
        frame=inert(f"{play.run_id} #{number}", 120),
        link=run_link(play.run_id, frame=number),
        notes=tuple(notes),
        label=known.label,
    )


def _parts(draft: Draft) -> list[tuple[str, list[text.Change | None], int]]:
    """Each file with the lines around what changes in it, and how many were not compared."""
    found = []
    for each in draft.changes:
        was = "" if each.before is None else each.before.decode("utf-8-sig", "replace")
        now = each.after.decode("utf-8-sig", "replace")
        lines, left = text.changes(_lines(was), _lines(now))
        if each.before is None:
            # What was not there has no empty line that is gone.
            lines = [line for line in lines if line is None or line.sign != "-"]
        found.append((inert(each.name, 160), lines, left))
    return found


def _lines(said: str) -> str:
    return said.replace("\r\n", "\n").removesuffix("\n")
