"""The buttons of a card: what can be done about a request as it stands. Pure.

Everybody in the channel sees the same ones. Who may do what is said by the desk.
"""

from saferun.approval import Request
from saferun.approval.grant import grantable
from saferun.channel.slack.mark import DIGEST, marked
from saferun.channel.slack.text import NAME, Block, Element, brief, plain


def buttons(request: Request, *, whole: bool, glass: bool, url: str | None) -> list[Block]:
    """What can be done; what lets it run only where every argument is shown `whole`.

    With `glass`, there are people who may break it.
    """
    rows: dict[str, list[Element]] = {"answer": [], "further": []}
    if request.open:
        value = str(marked(request))
        if whole:
            rows["answer"].append(_approve(request, value))
        if request.question.edits:
            rows["answer"].append(_button("edit", "Edit", value))
        rows["answer"].append({**_button("reject", "Reject", value), "style": "danger"})
        if whole and grantable(request.question):
            rows["further"].append(_button("grant", "Approve further calls too…", value))
        if whole and glass:
            rows["further"].append(_button("glass", "Break the glass…", value))
    if url:
        rows["further"].append(link("Full context", f"{url}/requests/{request.id}"))
    return [
        {"type": "actions", "block_id": name, "elements": found}
        for name, found in rows.items()
        if found
    ]


def link(label: str, url: str) -> Element:
    return {"type": "button", "action_id": "open", "text": plain(label, 75), "url": url}


def _approve(request: Request, value: str) -> Element:
    tool = brief(request.question.tool, NAME)
    text = f"{tool} runs with exactly these arguments (digest {request.question.digest[:DIGEST]})."
    confirm = {
        "title": plain("Let it run?", 100),
        "text": plain(text, 300),
        "confirm": plain("Approve", 30),
        "deny": plain("Not yet", 30),
    }
    return {**_button("approve", "Approve", value), "style": "primary", "confirm": confirm}


def _button(action: str, label: str, value: str) -> Element:
    return {"type": "button", "action_id": action, "text": plain(label, 75), "value": value}
