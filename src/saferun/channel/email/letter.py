"""One letter to one person: in plain text and in HTML, with nothing in it that is fetched."""

from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from typing import NamedTuple

from saferun.approval import Request, Vote, inert
from saferun.channel.email.card import LETTER, Card, Row, card, ended
from saferun.channel.email.markup import Html, document, element, joined
from saferun.channel.storm import Digest, Line

_SUBJECT = 120

NO_REPLY = "A reply to this message answers nothing."


class Envelope(NamedTuple):
    """From whom and to whom a letter goes, and to which letter to them it belongs."""

    sender: Address
    to: Address
    thread: str | None = None


def question(request: Request, envelope: Envelope, link: str, code: str) -> EmailMessage:
    """Ask somebody. `link` shows them the request, and `code` lets them answer there."""
    shown = card(request, LETTER)
    code = f"{code[:4]}-{code[4:]}"
    letter = _letter(f"Approval needed: {shown.title}", envelope)
    letter.set_content(_plain(shown, link, code))
    letter.add_alternative(_html(shown, link, code).decode(), subtype="html")
    return letter


def end(request: Request, envelope: Envelope) -> EmailMessage:
    """Tell somebody who was asked how it has ended."""
    shown = card(request, LETTER)
    said = ended(request)
    letter = _letter(f"Approval needed: {shown.title}", envelope)
    letter.set_content(f"{shown.title}.\n\n{said}\nThere is nothing more to do.\n")
    body = element(
        "body",
        element("p", shown.title, style=_STYLE["title"]),
        element("p", said),
        element("p", "There is nothing more to do.", style=_STYLE["small"]),
        style=_STYLE["body"],
    )
    letter.add_alternative(document(_HEAD, body).decode(), subtype="html")
    return letter


def digest(
    told: Digest, envelope: Envelope, links: Sequence[str], code: str, inbox: str
) -> EmailMessage:
    """Ask somebody about many requests at once; each of those listed has a link of its own.

    `code` is good for all of them. `inbox` is where the console has all that wait.
    """
    code = f"{code[:4]}-{code[4:]}"
    letter = _letter(f"Approval needed: {told.said.removesuffix('.')}", envelope)
    why = "Too many came at once for a letter each, so these are told of together."
    rest = "What is not listed here, and what has come since, stands in the inbox:"
    if told.left:
        rest = f"{told.left:,} more are not listed here. They, and what has come since, are there:"
    how = "To answer one, open its link, and type this code there:"
    end = f"Do not pass this message on: whoever has the code answers as you. {NO_REPLY}"
    pairs = list(zip(told.lines, links, strict=True))
    listed = "\n\n".join(
        f"  {at}. {line.tool}: {_lined(line)}\n     {link}"
        for at, (line, link) in enumerate(pairs, 1)
    )
    letter.set_content(
        f"{told.said} {why}\n\n{listed}\n\n{how}\n\n  {code}\n\n{rest}\n\n  {inbox}\n\n{end}\n"
    )
    body = element(
        "body",
        element("p", told.said, style=_STYLE["title"]),
        element("p", why),
        element("p", how, " ", element("strong", code, style=_STYLE["code"])),
        *(
            element(
                "p",
                element("a", line.tool, href=link, style=_STYLE["item"]),
                element("br"),
                _lined(line),
                style=_STYLE["block"],
            )
            for line, link in pairs
        ),
        element("p", rest, " ", element("a", "Open the inbox", href=inbox)),
        element("p", end, style=_STYLE["small"]),
        style=_STYLE["body"],
    )
    letter.add_alternative(document(_HEAD, body).decode(), subtype="html")
    return letter


def alarm(request: Request, glass: Vote, envelope: Envelope, link: str) -> EmailMessage:
    """Tell somebody else who could have answered that one person has, for all of them."""
    shown = card(request, LETTER)
    by = inert(glass.by, 80)
    title = f"{by} broke the glass: {inert(request.question.tool, 80)}"
    what = f"{by} has answered for all of you. Nobody has to answer any more."
    now = "If this should not have been, speak up now."
    why = Row("reason", inert(glass.reason or "none", 2_000))
    instead = Row("instead of", "; ".join(shown.needs))
    rows = (why, *((instead,) if shown.needs else ()), *shown.facts)
    letter = _letter(f"ALERT: {title}", envelope)
    # As mail programs know it: one of them each.
    letter["Importance"], letter["X-Priority"] = "high", "1"
    letter.set_content(
        f"ALERT: {title}.\n\n{what} {now}\n\n{_rows(rows)}\n\nWhat runs:\n"
        f"{_rows(shown.args) or '  no arguments'}\n\nAll of it: {link}\n"
    )
    body = element(
        "body",
        element("p", f"⚠ {title}", style=_STYLE["alarm"]),
        element("p", element("strong", what), " ", now),
        _table(rows),
        element("p", "What runs", style=_STYLE["head"]),
        _table(shown.args) if shown.args else element("p", "No arguments."),
        element("p", element("a", "Look at it", href=link, style=_STYLE["link"])),
        style=_STYLE["body"],
    )
    letter.add_alternative(document(_HEAD, body).decode(), subtype="html")
    return letter


def _lined(line: Line) -> str:
    return " · ".join(part for part in (line.about, line.who) if part) or "no arguments"


def _letter(subject: str, envelope: Envelope) -> EmailMessage:
    """A letter without its text. The policy refuses a header that has more than a line in it."""
    letter = EmailMessage(policy=SMTP)
    if envelope.thread is not None:
        subject = f"Re: {subject}"
        letter["In-Reply-To"] = envelope.thread
        letter["References"] = envelope.thread
    letter["Subject"] = subject if len(subject) <= _SUBJECT else f"{subject[:_SUBJECT]}…"
    letter["From"] = envelope.sender
    letter["To"] = envelope.to
    letter["Message-ID"] = make_msgid(domain=envelope.sender.domain)
    # What answers by itself, an absence note say, is to leave it (RFC 3834).
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Auto-Response-Suppress"] = "All"
    return letter


def _plain(shown: Card, link: str, code: str) -> str:
    parts = [f"{shown.title}.", _rows(shown.facts)]
    parts.append("What would run:\n" + (_rows(shown.args) or "  no arguments"))
    if shown.more:
        parts.append(f"  … and {shown.more:,} more arguments")
    if not shown.whole:
        parts.append("Not all of it is shown here. The link shows the whole.")
    parts.append("Why you are asked:\n" + _lines(shown.reasons))
    parts.append("Whose yes it takes:\n" + _lines((*shown.needs, *shown.votes)))
    if shown.said:
        parts.append("What the run says of itself, which nobody has checked:\n" + _rows(shown.said))
    parts.append(
        f"To answer, open\n\n  {link}\n\nand type this code there:\n\n  {code}\n\n"
        f"Do not pass this message on: whoever has the code answers as you. {NO_REPLY}"
    )
    return "\n\n".join(parts) + "\n"


def _rows(rows: tuple[Row, ...]) -> str:
    return "\n".join(f"  {each.name}: {_indented(value(each))}" for each in rows)


def _lines(lines: tuple[str, ...]) -> str:
    return "\n".join(f"  {each}" for each in lines)


def _indented(text: str) -> str:
    # Every line is indented, so that none can pass for one of ours.
    return text.replace("\n", "\n      ")


def value(row: Row) -> str:
    """A value as it is drawn; a cut one says by how much."""
    return f"{row.text}… ({row.left:,} more characters)" if row.left else row.text


def _html(shown: Card, link: str, code: str) -> bytes:
    """What it is about stands before the way to answer, and what the run says after that."""
    body = element(
        "body",
        element("p", shown.title, style=_STYLE["title"]),
        _table(shown.facts),
        element("p", "What would run", style=_STYLE["head"]),
        _table(shown.args) if shown.args else element("p", "No arguments."),
        element("p", f"… and {shown.more:,} more arguments") if shown.more else Html(),
        Html()
        if shown.whole
        else element("p", "Not all of it is shown here. The link shows the whole."),
        element("p", "Why you are asked", style=_STYLE["head"]),
        joined(*(element("p", each, style=_STYLE["line"]) for each in shown.reasons)),
        element("p", "Whose yes it takes", style=_STYLE["head"]),
        joined(
            *(element("p", each, style=_STYLE["line"]) for each in (*shown.needs, *shown.votes))
        ),
        element("p", element("a", "Look at it and answer", href=link, style=_STYLE["link"])),
        element("p", "Type this code there: ", element("strong", code, style=_STYLE["code"])),
        element("p", "What the run says of itself, unchecked", style=_STYLE["head"])
        if shown.said
        else Html(),
        _table(shown.said),
        element(
            "p",
            f"Do not pass this message on: whoever has the code answers as you. {NO_REPLY}",
            style=_STYLE["small"],
        ),
        style=_STYLE["body"],
    )
    return document(_HEAD, body)


def _table(rows: tuple[Row, ...]) -> Html:
    if not rows:
        return Html()
    return element(
        "table",
        *(
            element(
                "tr",
                element("td", each.name, style=_STYLE["name"]),
                element("td", value(each), style=_STYLE["value"]),
            )
            for each in rows
        ),
        style="border-collapse:collapse;width:100%",
    )


_HEAD = element(
    "head",
    element("meta", charset="utf-8"),
    element("meta", name="viewport", content="width=device-width, initial-scale=1"),
)

_STYLE = {
    "body": "font:16px/1.45 sans-serif;max-width:40em;margin:0 auto;padding:12px",
    "title": "font-size:20px;font-weight:bold;margin:8px 0 16px",
    "head": "font-weight:bold;margin:20px 0 4px",
    "name": "width:30%;color:#555;padding:3px 12px 3px 0;vertical-align:top",
    "value": "white-space:pre-wrap;overflow-wrap:anywhere;padding:3px 0;vertical-align:top",
    "link": "display:inline-block;padding:12px 18px;background:#1d4ed8;color:#fff;margin:16px 0 0",
    "alarm": "font-size:20px;font-weight:bold;margin:8px 0 16px;padding:12px;background:#b3261e;"
    "color:#fff",
    "item": "font-weight:bold",
    "line": "margin:0 0 4px;overflow-wrap:anywhere",
    "block": "margin:12px 0;overflow-wrap:anywhere",
    "code": "font:bold 20px/1 monospace;letter-spacing:2px",
    "small": "color:#555;font-size:14px",
}
"""Within each element: mail programs drop anything else."""
