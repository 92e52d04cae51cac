"""Where clicks and forms become answers: who it was, about what, and what the desk says of it.

The desk decides in the store whether an answer counts, before anybody is told that it does. What
Slack has to be asked for then, such as a form, is asked for beside: Slack waits three seconds.
"""

import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from saferun.approval import Answered, Request, inert
from saferun.channel.slack import modal
from saferun.channel.slack.addresses import Addresses
from saferun.channel.slack.aside import Aside
from saferun.channel.slack.card import whole
from saferun.channel.slack.front import Front
from saferun.channel.slack.interaction import Interaction
from saferun.channel.slack.line import Line
from saferun.channel.slack.mark import Mark, mark, marked

Errors: TypeAlias = Mapping[str, str]

REFUSED, AGAIN = 20, 600.0
"""What is no answer at all has an entry each, so many within so many seconds."""


class Refusals:
    """Entries for what was no answer, which cannot be made to fill the ledger. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[float] = deque()

    def note(self, desk: Front, why: str) -> None:
        now = time.monotonic()
        with self._lock:
            while self._times and now - self._times[0] > AGAIN:
                self._times.popleft()
            if len(self._times) >= REFUSED:
                return
            self._times.append(now)
        desk.refused("slack", why)


class Answers:
    """Takes what people do in Slack to the desk."""

    def __init__(self, addresses: Addresses, line: Line, aside: Aside, refusals: Refusals) -> None:
        self._addresses = addresses
        self._line = line
        self._aside = aside
        self._refusals = refusals

    def take(self, told: Interaction, desk: Front) -> dict[str, Any] | None:
        """Do what somebody has clicked or sent; what Slack is to answer to it, if anything.

        Raises StoreError where the store cannot be used.
        """
        about = mark(told.about)
        by = self._addresses.person(told.team, told.user)
        if by is None:
            self._refusals.note(
                desk, f"{inert(told.team, 40)}/{inert(told.user, 40)} is nobody known here"
            )
            return self._no(told, "You are not among the people who may answer here.")
        if about is None or told.action not in ("approve", *_FORMS):
            self._refusals.note(desk, f"{by} has sent what is about no request")
            return self._no(told, "This is about no request.")
        stands = desk.stands(about.request)
        if stands is None:
            self._refusals.note(desk, f"{by} has answered a request that does not exist")
            return self._no(told, "There is no such request.")
        if _otherwise(stands, about):
            self._refusals.note(desk, f"{by} has answered something else than is asked")
            return self._no(told, "This is not what is asked; look at the card again.")
        if told.form:
            return self._form(told, desk, stands, about, by)
        self._click(told, desk, stands, about, by)
        return None

    def _click(self, told: Interaction, desk: Front, stands: Request, about: Mark, by: str) -> None:
        if told.action == "approve":
            if _in_part(stands, about):
                self._no(told, _NOT_WHOLE)
                return
            answered = desk.vote(
                about.request, by=by, approved=True, channel="slack", revision=about.revision
            )
            if not answered.counted:
                self._no(told, _why(answered))
            return
        if not stands.open:
            self._no(told, f"It is {stands.state} already.")
        elif stands.revision != about.revision:
            self._no(told, "It was changed since it was shown, so look at it again.")
        else:
            view = _FORMS[told.action](stands)
            self._aside.do(lambda: self._line.show(told.trigger, view))

    def _form(
        self, told: Interaction, desk: Front, stands: Request, about: Mark, by: str
    ) -> dict[str, Any] | None:
        if told.action == "edit":
            return self._edited(told, desk, stands, about, by)
        if told.action not in _FORMS:
            return self._no(told, "This is no form of ours.")
        permit = None
        if told.action != "reject" and _in_part(stands, about):
            return self._no(told, _NOT_WHOLE)
        if told.action == "grant":
            try:
                permit = modal.permitted(stands.question, told.fields)
            except ValueError:
                return self._no(told, "Choose for how long, and for which calls.")
        answered = desk.vote(
            about.request,
            by=by,
            approved=told.action != "reject",
            channel="slack",
            revision=about.revision,
            reason=told.fields.get(modal.REASON, modal.Field()).value,
            glass=told.action == "glass",
            permit=permit,
        )
        return None if answered.counted else self._no(told, _why(answered))

    def _edited(
        self, told: Interaction, desk: Front, stands: Request, about: Mark, by: str
    ) -> dict[str, Any] | None:
        edits = modal.Edits({}, {})
        if stands.open and stands.revision == about.revision:
            edits = modal.edited(stands.question, told.fields)
        if edits.errors:
            return _errors(edits.errors)
        # Where it stands otherwise by now, the desk says so, whatever the arguments.
        answered = desk.edit(
            about.request, by=by, args=edits.args, channel="slack", revision=about.revision
        )
        if answered.counted:
            return None
        return _errors(modal.beside(stands.question, told.fields, _why(answered)))

    def _no(self, told: Interaction, why: str) -> dict[str, Any] | None:
        """Tell whoever it was, and nobody else, why that does not count."""
        if told.form:
            return _errors({next(iter(told.fields), modal.REASON): why})
        if told.channel:
            self._aside.do(lambda: self._line.whisper(told.channel, told.user, why))
        return None


_FORMS: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "reject": modal.reject,
    "edit": modal.edit,
    "grant": modal.grant,
    "glass": modal.glass,
}

_NOT_WHOLE = "Not every argument is shown whole here, so open the request."


def _in_part(stands: Request, about: Mark) -> bool:
    """Whether the card does not show all of what would run."""
    return stands.open and stands.revision == about.revision and not whole(stands)


def _otherwise(stands: Request, about: Mark) -> bool:
    """Whether the digest is another one than that of the same revision."""
    if not stands.open or stands.revision != about.revision:
        return False
    return not hmac.compare_digest(marked(stands).digest.encode(), about.digest.encode())


def _why(answered: Answered) -> str:
    why = answered.why or "it came too late"
    return f"That does not count: {why}."


def _errors(found: Errors) -> dict[str, Any]:
    return {
        "response_action": "errors",
        "errors": {block[:255]: why[:400] for block, why in found.items()},
    }
