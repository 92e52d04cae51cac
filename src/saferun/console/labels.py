"""What people say of calls: `+` to stop it is right, `-` a false alarm, `?` nothing any more.

It is what `saferun run label` writes: an entry of the ledger, by the secret of whoever is here.
Any page that shows a call may show the form; all of them post to one address.
"""

import re
from typing import NamedTuple, TypeGuard, get_args

import msgspec
from starlette.requests import Request as Asked
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from saferun import marks, redact
from saferun.approval import inert
from saferun.console.face import Face
from saferun.console.sent import Fields, one
from saferun.console.session import Session, Who
from saferun.ledger import Mark
from saferun.store import Label, NoCallError, Store, WrongSecretError

NEAR = "/near"
"""The page of near misses, which is also where people are sent back to by default."""

MAX_REASON = 500

_BACK = re.compile(
    r"/near|/run\?id=[A-Za-z0-9._~%+*-]{1,800}&frame=[0-9]{1,9}"
    r"|/rule\?[A-Za-z0-9._~%+*=&-]{1,2000}"
)
"""Pages of ours that have the form."""


class Marking(NamedTuple):
    """What is said of one call, inert, and whether whoever looks may say something else.

    `seq` is the entry that the call began with, and `back` the page that it is shown on.
    """

    seq: int
    mark: Mark | None
    said: str
    may: bool
    back: str


def marking(
    who: Who, seq: int, mark: Mark | None, back: str, by: str | None = None, why: str | None = None
) -> Marking:
    """The form for one call, of which people have said `mark` last."""
    said = "" if mark is None else marks.LABELS.get(mark, "")
    if said and by:
        said += f", says {inert(by, 60)}"
    if said and why:
        said += f": {inert(why, MAX_REASON)}"
    return Marking(seq, mark, said, may(who), back)


def may(who: Who) -> bool:
    """Whether somebody may say something of calls here."""
    return who.answers and who.credential is not None


class Labels:
    """Where the forms are posted to."""

    def __init__(self, store: Store, face: Face) -> None:
        self._store = store
        self._face = face

    def routes(self) -> list[Route]:
        return [Route("/label", self._face.act(self._said), methods=["POST"])]

    def _said(self, _: Asked, session: Session, fields: Fields) -> Response:
        who, mark, of = session.who, one(fields, "mark"), one(fields, "of")
        if who.person is None or who.credential is None or not who.answers:
            why = "You may look. To say something of a call, log in with your own secret."
            return PlainTextResponse(why, 403)
        if not (_is_mark(mark) and re.fullmatch(r"[0-9]{1,18}", of, re.ASCII)):
            return PlainTextResponse("That says nothing of a call.", 422)
        reason = redact.text(one(fields, "reason").strip()[:MAX_REASON]) or None
        label = Label(
            of=int(of), mark=mark, by=who.person, credential=who.credential, reason=reason
        )
        try:
            seq = self._store.commit(label)
        except WrongSecretError as problem:
            return PlainTextResponse(str(problem), 403)
        except NoCallError as problem:
            return PlainTextResponse(inert(str(problem), 400), 404)
        found = marking(who, int(of), None if mark == "none" else mark, "", who.person, reason)
        if one(fields, "part"):
            told = {"mark": found.mark, "said": found.said, "size": seq + 1}
            return Response(msgspec.json.encode(told), media_type="application/json")
        back = one(fields, "back")
        back = back if _BACK.fullmatch(back) else NEAR
        if back == NEAR:
            # What was said just now stays in sight, to be taken back.
            back = f"{NEAR}?said={of}"
        elif back.startswith("/rule"):
            # So that it counts there.
            back = f"{back}&upto={seq + 1}"
        return RedirectResponse(back, 303)


def _is_mark(text: str) -> TypeGuard[Mark]:
    return text in get_args(Mark)
