"""The channels behind the console: what comes from outside reaches them as it was sent."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from answering import Caller, settings
from hooking import SECRET, program, signed
from mailroom import MailRoom, mail_room
from saferun.channel.email import Email
from saferun.channel.webhook import Webhook
from saferun.console import Console

HERE = "https://saferun.example"


@pytest.fixture
def room() -> Iterator[MailRoom]:
    with mail_room() as made:
        yield made


def served(caller: Caller) -> TestClient:
    console = Console(caller.gate.store, caller.gate.config, channels=[caller.channel])
    return TestClient(console.app, base_url=HERE, follow_redirects=False)


def test_a_letter_is_answered_through_the_console(room: MailRoom) -> None:
    chosen = settings(
        f'[approval]\nurl = "{HERE}"\n[approval.email]\nhost = "127.0.0.1"\n'
        f'port = {room.port}\nfrom = "SafeRun <saferun@example.com>"\n'
    )
    caller = Caller(Email(chosen), chosen)
    browser = served(caller)
    try:
        said = caller.refund()
        letter = room.by_person(2)["dana@example.com"]
        page = browser.get(f"/channels/email/{letter.token}")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "style-src 'self'" in policy
        assert "script-src" not in policy
        style = browser.get("/channels/email/style.css")
        assert style.headers["content-type"].startswith("text/css")
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', page.text))
        form = urlencode({**hidden, "code": letter.code, "answer": "approve"})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": HERE}
        path = f"/channels/email/{letter.token}"
        # A link alone only shows, however it is followed.
        assert browser.head(path).status_code == 200
        assert caller.request().open
        assert browser.post(path, content=form, headers=headers).status_code == 200
        assert said.result(30).starts
    finally:
        caller.finish()


def test_a_webhook_is_answered_through_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    with program() as hooks:
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        chosen = settings(
            f'[approval]\nurl = "{HERE}"\n[approval.webhook.ops]\nurl = "{hooks.url}"\n'
            'secret_env = "HOOK_SECRET"\nallow_private = true\n'
        )
        caller = Caller(Webhook("webhook", chosen), chosen)
        browser = served(caller)
        try:
            said = caller.refund()
            asked = hooks.next().data
            body = json.dumps(
                {
                    "request": asked["request"],
                    "revision": asked["revision"],
                    "token": asked["tokens"]["dana"],
                    "answer": "approve",
                }
            ).encode()
            assert browser.post("/channels/webhook/", content=body).status_code == 401
            done = browser.post("/channels/webhook/", content=body, headers=signed(body))
            assert (done.status_code, done.json()["counted"]) == (200, True)
            assert said.result(30).starts
        finally:
            caller.finish()
