"""The ledger in the console: how it stands, what is in it, and proofs of it to take away.

Nothing here writes to it. A page shows what is known; whether all of it is still what was written
is found out in the background, on request.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun import marks
from saferun.anchor import places
from saferun.approval import inert
from saferun.call import at, span
from saferun.call import size as bytes_of
from saferun.config import Config
from saferun.console import stretches
from saferun.console.before import History
from saferun.console.face import Face
from saferun.console.playbacks import Playbacks
from saferun.console.session import Session
from saferun.console.verification import Verification
from saferun.errors import SafeRunError, StoreError
from saferun.ledger import Entry, EntryError, NoteError, read
from saferun.ledger.receipt import SUFFIX
from saferun.ledger.succession import stated
from saferun.marks import Mark
from saferun.replay.glance import Look, brief, glance, name_of
from saferun.replay.vouching import Vouching
from saferun.store import Reader
from saferun.store.anchors import Anchored, anchored
from saferun.store.checkpoints import newest_checkpoint
from saferun.store.facets import Facet
from saferun.store.index import Hit, Index, Query
from saferun.store.proving import covering, receipt
from saferun.store.sizes import extent_of
from saferun.store.synopsis import run_of

LISTED = 50
"""Entries on one page, and archives."""

VALUE = 4_000
"""Characters of one field of an entry; the whole of it is a link away."""

FIELDS: tuple[tuple[Facet, str], ...] = (
    ("kind", "Kind"),
    ("agent", "Agent"),
    ("user", "User"),
    ("tenant", "Tenant"),
    ("run", "Run"),
    ("tool", "Tool"),
    ("verdict", "Verdict"),
    ("status", "Status"),
    ("rule", "Rule or limit"),
    ("policy", "Policy"),
    ("person", "Person"),
    ("host", "Host"),
)
"""What entries are narrowed down by, as `saferun ledger search` has it, and what it is called."""

_LOOKS: Mapping[Look, Mark] = {
    "allow": marks.ALLOWED,
    "modified": marks.MODIFIED,
    "ask": marks.ASKED,
    "deny": marks.DENIED,
    "defer": marks.DEFERRED,
    "model": marks.MODEL,
    "user": marks.USER,
    "away": marks.IMPORTED,
}


class Place(NamedTuple):
    """A place outside, and what it has by what the store remembers; inert."""

    mark: Mark
    name: str
    size: int
    since: str
    trouble: str


class State(NamedTuple):
    """What verification has come to, or how far it is; inert. `bad` is the first bad entry."""

    mark: Mark
    said: str
    bad: int | None = None
    when: str = ""
    took: str = ""
    done: int | None = None
    total: int = 0


class Standing(NamedTuple):
    """How the ledger stands, from a few rows of it; inert. `past` is held by nothing outside."""

    origin: str
    size: int
    keys: tuple[tuple[int, str], ...]
    checkpoint: tuple[int, str] | None
    places: tuple[Place, ...]
    places_wrong: str
    outside: int
    past: int
    archives: tuple[tuple[int, int], ...]
    archived: int
    more_archives: int
    extent: tuple[str, ...]


class Row(NamedTuple):
    """One entry in a list; inert."""

    seq: int
    when: str
    mark: Mark
    names: tuple[str, str, str]
    said: str


class Ledger:
    """The pages of one store's ledger."""

    def __init__(
        self,
        history: History,
        settings: Config,
        verification: Verification,
        playbacks: Playbacks,
        face: Face,
    ) -> None:
        self._history = history
        self._settings = settings
        self._verification = verification
        self._playbacks = playbacks
        self._face = face

    def routes(self) -> list[Route]:
        page, act = self._face.page, self._face.act
        return [
            Route("/ledger", page(self._standing)),
            Route("/ledger", act(self._verify), methods=["POST"]),
            Route("/ledger/state", page(self._state)),
            Route("/ledger/checkpoint", page(self._checkpoint)),
            Route("/ledger/vkey", page(self._vkey)),
            Route("/ledger/entries", page(self._entries)),
            Route("/ledger/entries/{seq}.txt", page(self._text)),
            Route("/ledger/entries/{seq}", page(self._entry)),
            Route("/ledger/entries/{seq}/receipt", page(self._receipt)),
            Route("/ledger/entries/{seq}/frame", page(self._frame)),
        ]

    # How it stands.

    def _standing(self, _: Asked, session: Session) -> Response:
        wrong, it = "", None
        try:
            with Reader(self._history.path) as reader:
                it = _stands(reader, self._settings)
        except StoreError as problem:
            # Of a ledger that was changed, as much is shown as can be read.
            wrong = inert(str(problem), 600)
        return self._face.shown(
            "ledger.html",
            session,
            it=it,
            wrong=wrong,
            state=_state(self._verification),
            fields=FIELDS,
            words=_words({}),
            oldest=False,
            narrowed=False,
        )

    def _verify(self, _: Asked, session: Session, __: Any) -> Response:
        if not self._verification.begin():
            session.said = ("good", "It is being verified already.")
        return RedirectResponse("/ledger", 303)

    def _state(self, _: Asked, session: Session) -> Response:
        state = _state(self._verification)
        return self._face.part("verification.html", state=state, csrf=session.csrf)

    # What is to be taken away.

    def _checkpoint(self, _: Asked, __: Session) -> Response:
        with Reader(self._history.path) as reader:
            note = newest_checkpoint(reader)
        if not isinstance(note, bytes):
            return _nothing("No checkpoint is kept yet; saferun ledger checkpoint makes one.")
        return _taken(note, "checkpoint.txt")

    def _vkey(self, _: Asked, __: Session) -> Response:
        with Reader(self._history.path) as reader:
            keys = reader.named_keys().vkeys
        if not keys:
            return _nothing("The ledger names no key; saferun ledger vkey prints it.")
        return _taken("".join(f"{key}\n" for _, key in keys).encode(), "vkey.txt")

    def _receipt(self, asked: Asked, session: Session) -> Response:
        seq = _number(asked)
        with Reader(self._history.path) as reader:
            self._history.hold(reader)
            if seq is None or seq >= reader.head().size:
                return self._missing(session)
            try:
                # What has lost its end proves nothing: it is not the ledger any more.
                reader.hold()
                held = covering(reader, seq)
                if held is None:
                    makes = f"saferun ledger prove {seq} makes one"
                    return PlainTextResponse(f"No checkpoint covers entry {seq} yet; {makes}.", 409)
                made = receipt(reader.path, seq, *held)
            except StoreError as problem:
                return PlainTextResponse(inert(str(problem), 600), 409)
        return _taken(made.encode(), f"entry-{seq}{SUFFIX}")

    # Entries.

    def _entries(self, asked: Asked, session: Session) -> Response:
        said = asked.query_params
        words = _words(said)
        given = {name: value for name, value in words.items() if value}
        oldest = said.get("order") == "oldest"
        about: dict[str, Any] = {"rows": [], "further": None, "refused": None, "size": 0}
        with Reader(self._history.path) as reader, Index(reader) as index:
            self._history.hold(reader)
            try:
                query = Query(
                    text=words["text"],
                    facets={name: (words[name],) for name, _ in FIELDS if words[name]},
                    since=stretches.read(words["since"], reader.now()),
                    until=stretches.read(words["until"], reader.now(), end=True),
                )
                place = {"first" if oldest else "before": from_} if (from_ := _from(said)) else {}
                hits = index.find(query, newest=not oldest, **place)
            except (ValueError, StoreError) as problem:
                about["refused"] = inert(str(problem), 400)
            else:
                index.build()
                found = list(islice(hits, LISTED + 1))
                about["rows"] = [_row(hit) for hit in found[:LISTED]]
                about |= {"size": index.size, "missing": index.missing}
                if len(found) > LISTED:
                    # Where the next page begins: at what did not fit on this one.
                    next_ = found[LISTED].seq if oldest else found[LISTED - 1].seq
                    order = {"order": "oldest"} if oldest else {}
                    about["further"] = (
                        f"/ledger/entries?{urlencode({**given, **order, 'from': next_})}"
                    )
        return self._face.shown(
            "entries.html",
            session,
            status=422 if about["refused"] else 200,
            fields=FIELDS,
            words=words,
            oldest=oldest,
            narrowed=any(name not in ("text", "since", "until") for name in given),
            given=bool(given),
            **about,
        )

    def _entry(self, asked: Asked, session: Session) -> Response:
        seq = _number(asked)
        with Reader(self._history.path) as reader, Index(reader) as index:
            self._history.hold(reader)
            if seq is None or seq >= reader.head().size:
                return self._missing(session)
            index.build()
            vouched = Vouching(index).vouched(seq)
            row = reader.row(seq)
            body = row[0] if row is not None else None
            entry = _read(body)
            try:
                covered = covering(reader, seq) is not None
            except StoreError:
                covered = False
        run = None if entry is None else run_of(entry)
        about = Hit(seq, b"", entry)
        return self._face.shown(
            "entry.html",
            session,
            seq=seq,
            standing=marks.of_standing(vouched.standing),
            says=inert(vouched.says, 300),
            leaf=vouched.leaf,
            kind=None if entry is None else entry.kind,
            mark=None if entry is None else _mark(about),
            when=None if entry is None else at(entry.time),
            fields=[] if entry is None else list(_fields(entry)),
            settles=_settled(entry),
            run=None if run is None else (inert(run, 80), f"/run?{urlencode({'id': run})}"),
            body=isinstance(body, bytes) and bool(body),
            covered=covered and vouched.standing in ("signed", "unsigned"),
        )

    def _text(self, asked: Asked, session: Session) -> Response:
        seq = _number(asked)
        with Reader(self._history.path) as reader:
            row = None if seq is None else reader.row(seq)
        if row is None or not isinstance(row[0], bytes) or not row[0]:
            return self._missing(session)
        return PlainTextResponse(row[0].decode(errors="replace"))

    def _frame(self, asked: Asked, session: Session) -> Response:
        """To where an entry stands in the replay of its run."""
        seq = _number(asked)
        with Reader(self._history.path) as reader:
            row = None if seq is None else reader.row(seq)
        entry = None if row is None else _read(row[0])
        run = None if entry is None else run_of(entry)
        if seq is None or run is None:
            return self._missing(session)
        with self._playbacks.looking(run) as play:
            number = None if play is None else play.outline.number(seq)
        place = {} if number is None else {"frame": number}
        return RedirectResponse(f"/run?{urlencode({'id': run, **place})}", 303)

    def _missing(self, session: Session) -> Response:
        return self._face.shown("missing.html", session, status=404)


def _stands(reader: Reader, settings: Config) -> Standing:
    head, keys, note = reader.head(), reader.named_keys(), newest_checkpoint(reader)
    checkpoint = None
    if note is not None:
        try:
            size = stated(note).size
            checkpoint = size, _last_time(reader, size)
        except NoteError:
            checkpoint = 0, "is none, and was changed"
    known = {each.name: each for each in anchored(reader)}
    outside = max((each.size for each in known.values()), default=0)
    wrong = ""
    try:
        named = {place.name: place.kind for place in places(settings)}
    except SafeRunError as problem:
        named, wrong = {}, inert(str(problem), 400)
    # One that is configured no more still has what it has.
    all_places = {**named, **{name: "place" for name in known if name not in named}}
    shelves = [(each.first, each.size) for each in reader.archives()]
    return Standing(
        origin=inert(reader.origin, 200),
        size=head.size,
        keys=tuple((seq, inert(key, 300)) for seq, key in keys.vkeys),
        checkpoint=checkpoint,
        places=tuple(_place(name, kind, known.get(name)) for name, kind in all_places.items()),
        places_wrong=wrong,
        outside=min(outside, head.size),
        past=max(head.size - outside, 0),
        archives=tuple(shelves[-LISTED:]),
        archived=reader.archived(),
        more_archives=max(len(shelves) - LISTED, 0),
        extent=tuple(_extent(reader)),
    )


def _last_time(reader: Reader, size: int) -> str:
    try:
        return at(reader.time(size - 1)) if size else ""
    except StoreError:
        # Archived or changed; what it covers is known all the same.
        return ""


def _place(name: str, kind: str, kept: Anchored | None) -> Place:
    title = f"{kind} {inert(name, 80)}"
    if kept is None:
        return Place(
            Mark("ask", "!", "never reached"), title, 0, "", "The store remembers no visit."
        )
    since = at(kept.time) if kept.time else ""
    if kept.failed is None:
        return Place(Mark("allow", "✓", "has it"), title, kept.size, since, "")
    mark = (
        Mark("deny", "✕", "speaks against it") if kept.against else Mark("ask", "!", "not reached")
    )
    tried = f" Tried at {at(kept.tried)}." if kept.tried else ""
    return Place(mark, title, kept.size, since, f"{inert(kept.failed, 600)}{tried}")


def _extent(reader: Reader) -> Iterator[str]:
    extent = extent_of(reader)
    yield f"{bytes_of(extent.database)} and a log of {bytes_of(extent.log)}"
    if extent.reusable:
        yield f"{bytes_of(extent.reusable)} free to be used again"
    if extent.daily is not None and extent.each is not None:
        month = bytes_of(30 * extent.daily * extent.each)
        yield f"{extent.daily:,.0f} entries a day of {bytes_of(extent.each)}: {month} a month"


_FOUND: Mapping[str, Mark] = {
    "tampered": Mark("deny", "✕", ""),
    "unanchored": Mark("ask", "!", ""),
}


def _state(verification: Verification) -> State:
    going, found = verification.going, verification.found
    if going is not None:
        said = f"{going.done:,} of {going.total:,} entries are read"
        return State(Mark("model", "…", "verifying"), said, done=going.done, total=going.total)
    if verification.failed is not None:
        return State(Mark("ask", "!", "could not be verified"), verification.failed)
    if found is None:
        return State(
            Mark("model", "·", "not verified"), "Nobody has asked since the console began."
        )
    report = found.report
    word, _, said = inert(report.summary, 1_000).partition(": ")
    mark = _FOUND.get(report.state, Mark("allow", "✓", ""))
    return State(
        mark._replace(word=word.lower()),
        said,
        bad=report.problem.seq if report.problem is not None else None,
        when=at(found.at),
        took=span(found.took),
    )


def _row(hit: Hit) -> Row:
    time = hit.time if hit.entry is None else hit.entry.time
    agent, user, tool = (name_of(hit, key) for key in ("agent", "user", "tool"))
    when_ = "" if time is None else at(time)
    return Row(hit.seq, when_, _mark(hit), (agent, user, tool), brief(hit))


def _mark(hit: Hit) -> Mark:
    look, word = glance(hit)
    tone, icon, _ = _LOOKS.get(look, Mark("model", "·", ""))
    return Mark(tone, icon, word)


def _fields(entry: Entry) -> Iterator[tuple[str, str, int]]:
    """Each field with its value, and how many characters of that are left out."""
    for name, value in entry.fields.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        # A line of its own for each: as text alone, and with nothing in it that is not seen.
        said = "\n".join(inert(line) for line in text[:VALUE].split("\n"))
        yield inert(name, 60), said, max(len(text) - VALUE, 0)


def _settled(entry: Entry | None) -> int | None:
    of = None if entry is None else entry.fields.get("of")
    return of if isinstance(of, int) and of >= 0 else None


def _read(body: object) -> Entry | None:
    try:
        return read(body) if isinstance(body, bytes) and body else None
    except EntryError:
        return None


def _number(asked: Asked) -> int | None:
    said = str(asked.path_params["seq"])
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= 18 else None


def _words(said: Mapping[str, str]) -> dict[str, str]:
    """What is entered in the form by which entries are looked for."""
    names = ("text", *(name for name, _ in FIELDS), "since", "until")
    return {name: said.get(name, "").strip()[:250] for name in names}


def _from(said: Mapping[str, str]) -> int:
    found = said.get("from", "")
    return int(found) if found.isascii() and found.isdecimal() and len(found) <= 18 else 0


def _taken(data: bytes, name: str) -> Response:
    """A file to keep. Its name is ours, and so is in no need of being quoted."""
    return Response(
        data,
        media_type="text/plain; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _nothing(why: str) -> Response:
    return PlainTextResponse(why, 404)
