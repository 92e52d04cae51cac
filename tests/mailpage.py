"""The page behind the link of a letter, as a browser opens it and sends its form."""

import re
from html import unescape
from urllib.parse import urlencode

from answering import Caller
from guarding import entries
from mailroom import Letter

FORM = {"content-type": "application/x-www-form-urlencoded"}


def look(caller: Caller, token: str, method: str = "GET"):
    return caller.channel.receive(token, {}, b"", desk=caller.desk, method=method)


def form_of(page: bytes) -> dict[str, str]:
    """What a browser would send of a page where nobody has filled in anything."""
    text = page.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', text))
    for name, value in re.findall(
        r'<textarea [^>]*name="([\w.]+)"[^>]*>(.*?)</textarea>', text, re.DOTALL
    ):
        fields[name] = unescape(value).removeprefix("\n")
    return fields


def send(caller: Caller, letter: Letter, answer: str = "approve", headers=FORM, **fields):
    shown = form_of(look(caller, letter.token).body)
    sent = {**shown, "code": letter.code, "answer": answer, **fields}
    return post(caller, letter.token, {k: v for k, v in sent.items() if v is not None}, headers)


def post(caller: Caller, token: str, fields: dict[str, str], headers=FORM):
    body = urlencode(fields).encode()
    return caller.channel.receive(token, headers, body, desk=caller.desk, method="POST")


def refusals(caller: Caller) -> list[str]:
    return [e["why"] for e in entries(caller.gate, "approval") if e["event"] == "refused"]
