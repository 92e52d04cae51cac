"""One letter to one person: in plain text and in HTML, with nothing in it that is fetched."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from typing import NamedTuple

from saferun.approval import Request
from saferun.channel.email.card import LETTER, Card, Row, card, ended
from saferun.channel.email.markup import Html, document, element, joined

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
    said = _table(shown.said)
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
        joined(*(element("p", each) for each in shown.reasons)),
        element("p", "Whose yes it takes", style=_STYLE["head"]),
        joined(*(element("p", each) for each in (*shown.needs, *shown.votes))),
        element("p", "What the run says of itself, unchecked", style=_STYLE["head"])
        if shown.said
        else Html(),
        said,
        element("p", element("a", "Look at it and answer", href=link, style=_STYLE["link"])),
        element("p", "Type this code there: ", element("strong", code, style=_STYLE["code"])),
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
    "code": "font:bold 20px/1 monospace;letter-spacing:2px",
    "small": "color:#555;font-size:14px",
}
"""Within each element: mail programs drop anything else."""
