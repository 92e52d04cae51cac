"""The cards of one channel: posted, changed whenever a request has moved, and told of below."""

from typing import NamedTuple

import msgspec

from saferun.approval import Request
from saferun.channel.slack.addresses import Addresses
from saferun.channel.slack.card import Card, alarm, card, further
from saferun.channel.slack.front import Front
from saferun.channel.slack.line import GONE, Line, SlackError
from saferun.channel.slack.storm import MANY, Storm


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a request stands in Slack: the message, whom it has told, and of which revision.

    Without `ts`, there is none, since it was settled before there could be one.

    With `storm`, that is the digest message, and the request has no card of its own. `alarmed`
    says that all others know that somebody has broken the glass.
    """

    channel: str
    ts: str
    told: tuple[str, ...] = ()
    revision: int = 0
    storm: bool = False
    alarmed: bool = False

    @property
    def where(self) -> tuple[str, str]:
        return self.channel, self.ts


class Cards(NamedTuple):
    """What brings requests to people in Slack. Each method may raise SlackError."""

    line: Line
    storm: Storm
    addresses: Addresses
    url: str | None

    def bring(self, request: Request, desk: Front, known: Receipt | None) -> Receipt:
        """Show how a request stands, in its card or, where many wait, in that of all.

        That somebody has broken the glass is told by a message of its own, after all else, so
        that a try that fails before has not told it.
        """
        shown = known or Receipt(channel="", ts="")
        if request.open or shown.ts:
            shown = self._shown(request, desk, known)
        by = request.glass
        if by is None or shown.alarmed:
            return shown
        names = desk.alarmed(request)
        told = alarm(
            request, by, names=names, mentions=self.addresses.mentions(names), url=self.url
        )
        with self.line.turn():
            self.line.post(told)
        return msgspec.structs.replace(shown, alarmed=True)

    def _shown(self, request: Request, desk: Front, known: Receipt | None) -> Receipt:
        if known is None or known.storm:
            return self._first(request, desk, known)
        try:
            with self.line.turn_to_change():
                self.line.change(known.where, self._card(request, desk))
        except SlackError as problem:
            if problem.code not in GONE:
                raise
            # Somebody has deleted the card. What has ended needs no other.
            if not request.open:
                return known
            with self.line.turn():
                return self._posted(request, desk)
        return self._called(request, desk, known)

    def _first(self, request: Request, desk: Front, known: Receipt | None) -> Receipt:
        names = desk.asked(request) or frozenset()
        if known is not None and not request.open:
            self.storm.refresh(known.where, frozenset(known.told), desk)
            return known
        with self.line.turn(MANY) as mine:
            posted = self._posted(request, desk) if mine else None
        if posted is not None:
            if known is not None:
                self.storm.refresh(known.where, frozenset(known.told), desk)
            return posted
        where, told = self.storm.tell(names, desk)
        return Receipt(channel=where[0], ts=where[1], told=tuple(sorted(told)), storm=True)

    def _posted(self, request: Request, desk: Front) -> Receipt:
        # Asked for now: somebody may have been added while it waited for its turn.
        names = desk.asked(request) or frozenset()
        channel, ts = self.line.post(self._card(request, desk))
        return Receipt(channel=channel, ts=ts, told=tuple(sorted(names)), revision=request.revision)

    def _card(self, request: Request, desk: Front) -> Card:
        asked = desk.asked(request) if request.open else frozenset()
        return card(
            request,
            asked=asked,
            mentions=self.addresses.mentions(asked or ()),
            url=self.url,
            glass=bool(desk.people.breakers),
        )

    def _called(self, request: Request, desk: Front, known: Receipt) -> Receipt:
        """Call those whom a changed card does not: who is asked since, and all after an edit."""
        if not request.open:
            return known
        names = desk.asked(request) or frozenset()
        edited = request.revision != known.revision
        new = names if edited else names - frozenset(known.told)
        mentions = self.addresses.mentions(new)
        if mentions:
            why = (
                "the arguments were changed, so earlier votes do not count: look at it again."
                if edited
                else "nobody has answered this yet, so you are asked too."
            )
            with self.line.turn():
                self.line.post(further(why, mentions), below=known.where)
        told = tuple(sorted(names | frozenset(known.told)))
        return msgspec.structs.replace(known, told=told, revision=request.revision)
