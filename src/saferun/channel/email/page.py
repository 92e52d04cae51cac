"""The page behind the link of a letter: it shows the request, and has the form to answer it.

Pure, and plain: no script, no picture, nothing from elsewhere. The answer is chosen and not a
button's, so that the Enter key does not approve.
"""

from typing import Any

import msgspec

from saferun.approval import Request, inert
from saferun.approval.grant import MINUTES, grantable, narrowing
from saferun.channel.email.card import PAGE, Card, Row, card, ended
from saferun.channel.email.letter import value
from saferun.channel.email.markup import Html, document, element, joined

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'"
"""What a browser may do on the page; said in it too, should whoever serves it not say so."""

MAX_EDIT = 20_000
"""Characters of an argument that can still be edited in a form."""


def saying(title: str, *sentences: str) -> bytes:
    """A page that only says something."""
    return _page(title, *(element("p", each) for each in sentences))


def closed(request: Request, why: str) -> bytes:
    """A request that takes no answer by this link any more: what it was about, and why."""
    shown = card(request, PAGE)
    return _page(shown.title, element("p", why, class_="said"), _facts(shown))


def answered(request: Request, said: str) -> bytes:
    """What has become of an answer."""
    shown = card(request, PAGE)
    state = ended(request)
    return _page(shown.title, element("p", said, class_="said"), element("p", state), _facts(shown))


def asking(
    request: Request, by: str, form: str, elsewhere: str, *, glass: bool, said: str | None = None
) -> bytes:
    """The request, and the form to answer it.

    `form` is what shows that an answer comes from this page, and `elsewhere` where the console
    has the request. With `glass`, they may break it. `said` is what was wrong with the last try.
    """
    shown = card(request, PAGE)
    return _page(
        shown.title,
        element("p", said, class_="said", role="alert") if said else Html(),
        _facts(shown),
        element("h2", "What would run"),
        _table(shown.args) if shown.args else element("p", "No arguments."),
        element("p", f"… and {shown.more:,} more arguments") if shown.more else Html(),
        element("h2", "Why you are asked"),
        _list(shown.reasons),
        element("h2", "Whose yes it takes"),
        _list((*shown.needs, *shown.votes)),
        element("h2", "What the run says of itself, unchecked") if shown.said else Html(),
        _table(shown.said),
        _form(request, shown, by, form, elsewhere, glass=glass),
    )


def editable(request: Request) -> dict[str, str]:
    """The arguments that the form can change, as text: strings as they are, the rest as JSON."""
    found = {}
    for name in request.question.edits:
        if name not in request.question.args:
            continue
        given = request.question.args[name]
        text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        lines = text.split("\n")
        # What cannot be seen cannot be edited; and a form sends its own kind of line ends.
        if len(text) <= MAX_EDIT and all(inert(line) == line for line in lines):
            found[name] = text
    return found


def edited(request: Request, name: str, text: str) -> Any:
    """The value that somebody has typed for an argument. Raises ValueError where it is none."""
    if isinstance(request.question.args[name], str):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError(
            f"{name} has to be JSON, such as 12, true or a list in square brackets"
        ) from None


def _form(
    request: Request, shown: Card, by: str, form: str, elsewhere: str, *, glass: bool
) -> Html:
    changes = editable(request)
    if shown.whole:
        approve = _choice("approve", "Approve: let it run exactly as shown")
    else:
        approve = element(
            "p",
            "Not every argument can be shown whole here, so it cannot be approved here. ",
            element("a", "Open the request", href=elsewhere),
            class_="said",
        )
    fields = [
        joined(
            element("label", f"New {inert(name, 80)}", for_=f"arg-{at}"),
            # A parser drops a line end that comes first.
            element("textarea", f"\n{text}", id=f"arg-{at}", name=f"arg.{name}", rows="3"),
        )
        for at, (name, text) in enumerate(changes.items())
    ]
    return element(
        "form",
        element("h2", "Your answer"),
        element("p", f"You answer as {inert(by, 80)}."),
        element("input", type="hidden", name="form", value=form),
        element(
            "fieldset",
            element("legend", "What is to happen"),
            approve,
            _choice("reject", "Reject: it does not run"),
            _choice("edit", "Edit: change it as below, and ask everybody anew")
            if changes
            else Html(),
            _choice("glass", "Break the glass: answer for everybody else, who are told so")
            if glass and shown.whole
            else Html(),
        ),
        _further(request) if shown.whole and grantable(request.question) else Html(),
        element("details", element("summary", "What to change"), *fields) if fields else Html(),
        element(
            "label",
            "Reason, for the record" + ("; it takes one to break the glass" if glass else ""),
            for_="reason",
        ),
        element("textarea", id="reason", name="reason", rows="2", maxlength="2000"),
        element("label", "Code from the message", for_="code"),
        element(
            "input",
            id="code",
            name="code",
            required=True,
            maxlength="20",
            autocomplete="off",
            autocapitalize="characters",
            spellcheck="false",
        ),
        element("button", "Send", type="submit"),
        method="post",
        autocomplete="off",
    )


def _further(request: Request) -> Html:
    """For which calls a yes is: this one, or those like it as well."""
    spans = {"once": "this call alone"}
    if request.question.run is not None:
        spans["run"] = "calls like it in this run too, for an hour at most"
    spans |= {f"{each}": f"calls like it in any run too, for {each} minutes" for each in MINUTES}
    options = [element("option", said, value=span) for span, said in spans.items()]
    ticks = [
        element(
            "p",
            element("input", type="checkbox", id=f"same-{at}", name=f"same.{at}", value="yes"),
            element("label", inert(name, 80), for_=f"same-{at}"),
            class_="choice",
        )
        for at, name in enumerate(narrowing(request.question))
    ]
    return element(
        "details",
        element("summary", "Approve further calls too"),
        element("label", "A yes is for", for_="for"),
        element("select", *options, id="for", name="for"),
        element("p", "“Like it” means equal in these; with none ticked, in all arguments."),
        *ticks,
    )


def _choice(name: str, said: str) -> Html:
    return element(
        "p",
        element("input", type="radio", id=name, name="answer", value=name, required=True),
        element("label", said, for_=name),
        class_="choice",
    )


def _facts(shown: Card) -> Html:
    return _table(shown.facts)


def _list(lines: tuple[str, ...]) -> Html:
    return element("ul", *(element("li", each) for each in lines))


def _table(rows: tuple[Row, ...]) -> Html:
    if not rows:
        return Html()
    return element(
        "table",
        *(
            element("tr", element("th", each.name, scope="row"), element("td", value(each)))
            for each in rows
        ),
    )


def _page(title: str, *inside: str) -> bytes:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        # A proxy may lose the header; frame-ancestors says nothing here.
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="robots", content="noindex, nofollow"),
        element("title", f"{title} · SafeRun"),
        element("link", rel="stylesheet", href="style.css"),
    )
    return document(head, element("body", element("main", element("h1", title), *inside)))


STYLE = b"""\
:root { color-scheme: light dark; --line: #d4d4d8; --soft: #52525b; --mark: #b45309 }
@media (prefers-color-scheme: dark) {
  :root { --line: #3f3f46; --soft: #a1a1aa; --mark: #fbbf24 }
}
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 }
main { max-width: 44rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem 0;
  border-top: 1px solid var(--line) }
th { font-weight: normal; color: var(--soft); padding-right: 1rem; width: 9rem;
  overflow-wrap: anywhere }
td { white-space: pre-wrap; overflow-wrap: anywhere }
form { border-top: 2px solid var(--line); margin-top: 2rem }
fieldset { border: 1px solid var(--line); border-radius: .4rem; margin: 0 0 1rem }
label { display: block; margin-top: .8rem }
.choice { display: flex; gap: .6rem; align-items: baseline; margin: .4rem 0 }
.choice label { margin: 0 }
textarea, select, #code { box-sizing: border-box; width: 100%; font: inherit; padding: .5rem }
#code { font-family: ui-monospace, monospace; letter-spacing: .15em; max-width: 14rem }
button { display: block; font: inherit; font-weight: 600; padding: .7rem 1.6rem; margin-top: 1rem }
@media (max-width: 30rem) { th { width: 6rem } }
.said { border-left: 4px solid var(--mark); padding-left: .8rem }
"""
