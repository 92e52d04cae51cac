"""`saferun approval approve`, `edit` and `reject`: a person's answer, by their own secret."""

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saferun.approval.inert import inert
from saferun.cli.approval.look import desk_of, fits, known, needed
from saferun.cli.approval.look import told as fields_of
from saferun.cli.login import CHANNEL, credential
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import ALLOWED, DENIED, beside, document, put, screen, told

if TYPE_CHECKING:
    from saferun.approval import Permit, Request
    from saferun.desk import Answered


_ID = Annotated[str, typer.Argument(metavar="ID", help="A request's id, or its beginning.")]
_REVISION = Annotated[
    str | None,
    typer.Option("--revision", metavar="N|latest", help="The revision that you have seen."),
]
_SEEN = 16
"""Characters of a digest that name it, at least: 64 bits."""

_LATEST = "latest"

_SPAN = re.compile(r"([1-9][0-9]{0,4})(s|m|h)")
_UNITS = {"s": 1, "m": 60, "h": 3_600}


def approve(
    request: _ID,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the ledger.")
    ] = None,
    also: Annotated[
        str | None,
        typer.Option(
            "--also",
            metavar="run|SPAN",
            help="Let such calls run: in this run, or for so long.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="ARG", help="With --also: calls that share this argument's value."
        ),
    ] = None,
    glass: Annotated[
        bool,
        typer.Option("--break-glass", help="Answer for everybody, with a reason; all are told."),
    ] = False,
    revision: _REVISION = None,
    seen: Annotated[
        str | None,
        typer.Option(
            "--seen",
            metavar="DIGEST",
            help="The digest under what you have seen, where that is long.",
        ),
    ] = None,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say yes to a request, by your own secret.

    What is too long for `show` to show all of it takes the digest that `show --whole` ends with.

    Exits 0 where it counted, and 1 where it came too late, or you may not.
    """
    permit = None if also is None else _permit(also, tuple(by or ()))
    if permit is None and by:
        raise CannotError("--where goes with --also.")
    return _voted(
        request,
        person,
        store,
        reason,
        revision,
        approved=True,
        glass=glass,
        permit=permit,
        seen=seen,
        as_json=as_json,
    )


def reject(
    request: _ID,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; the agent is told it.")
    ] = None,
    revision: _REVISION = None,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say no to a request, by your own secret.

    Exits 0 where it counted, and 1 where it came too late, or you may not.
    """
    return _voted(
        request,
        person,
        store,
        reason,
        revision,
        approved=False,
        glass=False,
        permit=None,
        as_json=as_json,
    )


def edit(
    request: _ID,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="ARG=VALUE...", help="New values, as JSON or as plain text."),
    ],
    revision: _REVISION = None,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Change arguments of a call that waits.

    Policy is asked again, and so is everybody. Exits 0 where they are changed, and 1 where it
    came too late, you may not, or policy denies it.
    """
    desk = desk_of(store)
    stands = known(desk, request)
    if revision is None:
        # Of what it is changed from nothing would be known otherwise.
        raise CannotError(
            f"Say which one you change, with --revision {stands.revision} as"
            f" saferun approval show {stands.id} has it, or with --revision latest."
        )
    who, secret = credential(person, desk.store)
    answered = desk.edit(
        stands.id,
        by=who,
        args=dict(_change(each, stands.question.args) for each in changes),
        channel=CHANNEL,
        revision=_revision(revision, stands),
        credential=secret,
    )
    return _told(answered, "changed; it waits for a yes to what it is now", as_json=as_json)


def _voted(
    request: str,
    person: str | None,
    store: str | None,
    reason: str | None,
    revision: str | None,
    *,
    approved: bool,
    glass: bool,
    permit: "Permit | None",
    as_json: bool,
    seen: str | None = None,
) -> int:
    from saferun.approval import tally

    desk = desk_of(store)
    stands = known(desk, request)
    if approved and revision is None and stands.revision > 0:
        raise CannotError(
            f"Its arguments were changed since it was asked; look at saferun approval show"
            f" {stands.id}, and say which you mean with --revision {stands.revision}."
        )
    if approved and revision == _LATEST:
        raise CannotError(f"Say which one you approve: --revision {stands.revision} is the newest.")
    if approved and stands.open:
        _look(stands, seen)
    who, secret = credential(person, desk.store)
    answered = desk.vote(
        stands.id,
        by=who,
        approved=approved,
        channel=CHANNEL,
        revision=_revision(revision, stands),
        reason=reason,
        glass=glass,
        credential=secret,
        permit=permit,
    )
    word: str = answered.request.state
    if answered.request.open:
        told = tally(
            desk.people, answered.request.question, answered.request.votes, desk.store.now()
        )
        more = " and ".join(needed(demand, lacking) for demand, lacking in told.lacking)
        word = f"noted; it still takes {more}"
    return _told(answered, word if answered.request.open else f"{word}, by {who}", as_json=as_json)


def _revision(said: str | None, stands: "Request") -> int:
    """The revision that somebody means: the newest, where they say so or nothing."""
    if said is None or said == _LATEST:
        return stands.revision
    if re.fullmatch(r"[0-9]{1,9}", said) is None:
        raise CannotError(f"--revision takes a number, or `{_LATEST}`: not {said[:80]!r}.")
    return int(said)


def _look(stands: "Request", seen: str | None) -> None:
    """Nobody approves what they cannot have seen. Raises CannotError where that may be so."""
    digest = stands.question.digest
    if seen is None and not fits(stands):
        raise CannotError(
            f"It is too long to be seen whole by saferun approval show; look at all of it with"
            f" --whole, and say --seen DIGEST with what stands at its end: saferun approval show"
            f" {stands.id} --whole."
        )
    if seen is not None and (len(seen) < _SEEN or not digest.startswith(seen)):
        raise CannotError(
            f"What you have seen is not what would run: its digest is not {seen[:80]!r}; look at"
            f" saferun approval show {stands.id} --whole again, and say {_SEEN} characters of the"
            " digest at least."
        )


def _told(answered: "Answered", said: str, *, as_json: bool) -> int:
    from rich.text import Text

    if as_json:
        document(
            {
                "counted": answered.counted,
                "why": answered.why,
                "grant": answered.grant,
                "request": fields_of(answered.request),
            }
        )
    elif answered.counted:
        console = screen()
        mark = DENIED if answered.request.state == "rejected" else ALLOWED
        put(console, beside(console, Text(f"{mark.icon} ", mark.style), inert(said)))
        if answered.grant is not None:
            put(
                console,
                beside(
                    console,
                    Text("  "),
                    f"Calls like it run without being asked by grant {answered.grant};"
                    f" saferun approval revoke {answered.grant} ends that.",
                ),
            )
    else:
        told(f"That does not count: {(answered.why or '').removesuffix('.')}.")
    return 0 if answered.counted else 1


def _permit(also: str, by: tuple[str, ...]) -> "Permit":
    from saferun.approval import MAX_GRANT, Permit

    if also == "run":
        return Permit(span=MAX_GRANT, run=True, by=by)
    found = _SPAN.fullmatch(also)
    if found is None:
        raise CannotError(f"--also takes `run`, or a span of an hour at most, as 30m: {also!r}.")
    return Permit(span=int(found[1]) * _UNITS[found[2]] * 1_000_000, run=False, by=by)


def _change(text: str, args: dict[str, Any]) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or name not in args:
        some = ", ".join(args) or "none"
        raise CannotError(f"Write ARG=VALUE, of the arguments {some}; not {text[:80]!r}.")
    if isinstance(args[name], str):
        return name, value
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
