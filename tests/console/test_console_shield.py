"""What keeps other sites, other names and other people's text out of the console."""

from collections.abc import Mapping

import pytest

from console.asking import HEAD, Browser, ask, enrolled, stands
from console.asking import console as made_console
from guarding import entries
from saferun import Gate
from saferun.channel.reply import Reply
from saferun.console import Console
from saferun.desk import Desk

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp.exe \x1b[2J"
    " {{ 7*7 }} {% raw %} &lt;b&gt; </textarea></pre>"
)


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "dana"))


@pytest.mark.parametrize(
    "host", ["evil.test", "127.0.0.1.evil.test", "", "evil.test:7391", "[::2]", "a b", "[", "@"]
)
def test_under_another_name_there_is_nothing(gate: Gate, dana: Browser, host: str) -> None:
    answer = dana.get("/", host=host)
    assert answer.status_code == 403
    assert "Inbox" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:7391", "[::1]:7391", "LOCALHOST"])
def test_this_machine_has_several_names(console: Console, host: str) -> None:
    assert Browser(console).get("/login", host=host).status_code == 200


def test_a_form_without_the_sessions_own_token_does_nothing(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate)
    erik = Browser(console, enrolled(gate, "erik"))
    path = f"/requests/{request.id}"
    for token in ("", "x", erik.form(path)["csrf"], "\udcff".encode(errors="replace").decode()):
        said = {**dana.form(path), "act": "approve", "csrf": token}
        assert dana.post(path, said).status_code == 403
    assert stands(gate, request).state == "pending"


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://127.0.0.1:80", ""])
def test_a_form_from_another_site_does_nothing(gate: Gate, dana: Browser, origin: str) -> None:
    request = ask(gate)
    path = f"/requests/{request.id}"
    said = {**dana.form(path), "act": "approve"}
    assert dana.post(path, said, origin=origin).status_code == 403
    assert stands(gate, request).state == "pending"


def test_every_answer_says_what_a_browser_may_do_with_it(gate: Gate, dana: Browser) -> None:
    ask(gate)
    for path in ("/", "/login", "/nothing", "/requests", "/static/console.js"):
        headers = dana.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        if not path.startswith("/static"):
            assert headers["cache-control"] == "no-store"
    assert "server" not in dana.get("/").headers


def test_hostile_text_is_shown_and_does_nothing(gate: Gate, dana: Browser) -> None:
    request = ask(gate, prompt=HOSTILE, order_id=HOSTILE[:40], note=HOSTILE)
    for path in ("/", f"/requests/{request.id}", "/requests", "/inbox"):
        page = dana.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
    page = dana.get(f"/requests/{request.id}").text
    assert "\\u202egnp.exe" in page
    assert "{{ 7*7 }}" in page
    assert "49" not in page.split("Arguments")[1].split("Why it asks")[0]


def test_an_argument_that_is_too_long_is_cut_and_cannot_be_approved_until_it_is_whole(
    gate: Gate, dana: Browser
) -> None:
    long = "x" * 10_000 + "THE END"
    request = ask(gate, note=long)
    path = f"/requests/{request.id}"
    page = dana.get(path).text
    assert "THE END" not in page.split('<section class="answer"')[0]
    assert 'value="approve"' not in page
    assert f'href="{path}?whole=yes"' in page
    form = dana.form(path)
    assert "whole" not in form
    assert dana.post(path, {**form, "act": "approve"}).status_code == 409
    assert stands(gate, request).state == "pending"
    whole = dana.get(f"{path}?whole=yes").text
    assert "THE END" in whole
    assert 'value="approve"' in whole
    answer = dana.post(path, {**dana.form(f"{path}?whole=yes"), "act": "approve"})
    assert answer.status_code == 303


def test_five_megabytes_are_cut_and_there_as_plain_text(gate: Gate, dana: Browser) -> None:
    request = ask(gate, note="line <b>\u202e\n" * 500_000)
    path = f"/requests/{request.id}"
    assert len(dana.get("/").content) < 20_000
    assert len(dana.get(path).content) < 60_000
    assert 'value="approve"' not in dana.get(f"{path}?whole=yes").text
    first = dana.get(f"{path}/arguments.txt")
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    whole, start = "", 0
    while True:
        text, more, left = dana.get(f"{path}/arguments.txt?from={start}").text.rpartition("\n… ")
        if not more:
            whole += left
            break
        assert len(text) <= 1_000_000
        whole, start = whole + text, int(left.partition("?from=")[2])
    assert whole.count("line <b>") == 500_000
    assert "\u202e" not in whole
    assert dana.answer(request, "reject", reason="Nobody reads that.").status_code == 303


def test_what_looks_like_a_secret_is_not_shown_and_cannot_be_approved(
    gate: Gate, dana: Browser
) -> None:
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "a1B2c3"
    request = ask(gate, note=f"token {secret}")
    path = f"/requests/{request.id}"
    page = dana.get(path).text
    assert secret not in page
    assert "it looks like a secret" in page
    assert 'value="approve"' not in page
    answer = dana.answer(request, "approve", whole="yes")
    assert answer.status_code == 409
    assert stands(gate, request).state == "pending"


@pytest.mark.parametrize(
    "path",
    [
        "/requests/x",
        "/requests/a-00000000000000000000",
        "/requests/a-0000000000000000000g",
        "/requests/..%2f..%2fetc",
        "/requests/a-00000000000000000000/arguments.txt",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/nothing",
        "/channels/nobody/x",
    ],
)
def test_what_is_not_there_is_not_found(dana: Browser, path: str) -> None:
    assert dana.get(path).status_code == 404
    assert dana.post(path, dana.form("/")).status_code in (404, 405)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 2_000, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 3_000_000, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded", 403),
        (b"csrf=%ff%00", "application/x-www-form-urlencoded", 403),
    ],
)
def test_a_form_that_is_none_is_refused_and_never_an_error(
    gate: Gate, dana: Browser, body: bytes, kind: str, status: int
) -> None:
    request = ask(gate)
    headers = {**HEAD, "content-type": kind}
    answer = dana.client.post(f"/requests/{request.id}", content=body, headers=headers)
    assert answer.status_code == status


class Called:
    """A channel that is called back."""

    name = "bell"

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []

    def unreachable(self) -> str | None:
        return None

    def bring(self, request, desk, receipt):
        return receipt

    def receive(
        self, path: str, headers: Mapping[str, str], body: bytes, *, desk: Desk, method: str
    ) -> Reply:
        assert desk.open() == []
        self.calls.append((path, {**headers, "method": method}, body))
        if body == b"fail":
            raise ValueError("a secret 4711")
        return Reply(202, b"<p>thanks</p>", "text/html; charset=utf-8")


def test_a_channel_is_called_back_with_what_was_sent_byte_by_byte(gate: Gate) -> None:
    bell = Called()
    browser = Browser(made_console(gate, channels=[bell]))
    raw = b'{"a": 1,  "b":"\xc3\xa9"}\n'
    answer = browser.client.post("/channels/bell/ring/1?x=y", content=raw, headers={"X-Sig": "1"})
    assert (answer.status_code, answer.text) == (202, "<p>thanks</p>")
    assert "script-src" not in answer.headers["content-security-policy"]
    [(path, headers, body)] = bell.calls
    assert (path, body, headers["x-sig"]) == ("ring/1", raw, "1")
    assert headers["method"] == "POST"


def test_a_callback_from_a_page_of_another_site_is_refused(gate: Gate) -> None:
    bell = Called()
    browser = Browser(made_console(gate, channels=[bell]))
    assert browser.post("/channels/bell/x", {}, origin="https://evil.test").status_code == 403
    big = browser.client.post("/channels/bell/x", content=b"x" * 2_000_000)
    assert big.status_code == 413
    assert bell.calls == []


def test_a_failure_is_told_without_what_it_says(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(made_console(gate, channels=[Called()]))
    with caplog.at_level("INFO"):
        answer = browser.client.post("/channels/bell/x", content=b"fail")
    assert answer.status_code == 500
    assert "4711" not in answer.text + caplog.text


def test_the_frames_before_it_are_shown_and_hostile_ones_too(gate: Gate, dana: Browser) -> None:
    from saferun import Call

    with gate.run(run_id="r-9", agent="support", user="maria") as run:
        run.user("Please " + HOSTILE)
        run.model("I will refund it " + HOSTILE, model="m", input_tokens=1, output_tokens=1)
        gate.check(Call(tool="refund", args={"order_id": "A-1", "amount": 95_000}, run=run.ref))
        asked = gate.check(
            Call(tool="refund", args={"order_id": "A-1", "amount": 30_000}, run=run.ref),
            leaves=True,
        )
        run.model("and later", model="m", input_tokens=1, output_tokens=1)
    gate.store.flush()
    page = dana.get(f"/requests/{asked.approval_id}").text
    before = page.split("The run before it</", 1)[-1].split("The run before it", 1)[-1]
    assert "○ user" in before
    assert "◇ model" in before
    assert "✕ denied" in before
    assert "and later" not in before
    assert "Agent's words" in page
    assert "\u202e" not in page
    assert "<script>alert" not in page


def test_no_more_frames_than_fit_are_shown(gate: Gate, dana: Browser) -> None:
    from saferun import Call

    with gate.run(run_id="r-9", agent="support", user="maria") as run:
        for number in range(70):
            run.user(f"message {number}.")
        call = Call(tool="refund", args={"order_id": "A-1", "amount": 30_000}, run=run.ref)
        asked = gate.check(call, leaves=True)
    gate.store.flush()
    page = dana.get(f"/requests/{asked.approval_id}").text
    assert "message 69." in page
    assert "message 19." not in page
    assert "earlier frames are left out" in page


def test_nothing_that_is_looked_at_stands_in_the_ledger(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    before = len(entries(gate))
    for path in ("/", f"/requests/{request.id}", "/requests", "/grants"):
        dana.get(path)
    assert len(entries(gate)) == before
