"""Webhooks through a real server: what goes out is signed, what comes back is who it says."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from svix.webhooks import Webhook as Verifier

from answering import Caller, settings
from guarding import entries
from hooking import SECRET, Message, Program, program, signed
from saferun.channel import channel, loop
from saferun.channel import courier as couriers
from saferun.channel.webhook import Webhook, post
from saferun.channel.webhook.post import WebhookError, is_public
from saferun.errors import ConfigError
from vouching import certificate


@pytest.fixture(autouse=True)
def _secret(monkeypatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


@pytest.fixture
def server() -> Iterator[Program]:
    with program() as found:
        yield found


GLASS = 'break_glass = ["sam", "lee", "dana"]\n'


def configured(url: str, more: str = "allow_private = true"):
    return settings(
        f'[approval]\nurl = "https://saferun.example"\n{GLASS}'
        f'[approval.webhook.ops]\nurl = "{url}"\nsecret_env = "HOOK_SECRET"\n{more}'
    )


@pytest.fixture
def calling(server: Program) -> Iterator[Callable[..., Caller]]:
    made = []

    def call(url: str | None = None, more: str = "allow_private = true", **about) -> Caller:
        chosen = configured(url or server.url, more)
        made.append(Caller(Webhook("webhook", chosen), chosen, **about))
        return made[-1]

    yield call
    for each in made:
        each.finish()


def saying(message: Message, by: str, answer: str = "approve", **about) -> bytes:
    """The body of a callback, with the token that came for somebody."""
    asked = message.data
    body = {
        "request": asked["request"],
        "revision": asked["revision"],
        "token": asked["tokens"][by],
        "answer": answer,
        **about,
    }
    return json.dumps(body).encode()


def answer(caller: Caller, message: Message, by: str, said: str = "approve", **about):
    return back(caller, saying(message, by, said, **about))


def back(caller: Caller, body: bytes, headers: dict[str, str] | None = None, **about):
    headers = signed(body, **about) if headers is None else headers
    reply = caller.channel.receive("", headers, body, desk=caller.desk)
    assert reply.kind == "application/json"
    return reply.status, json.loads(reply.body)


def refusals(caller: Caller) -> list[str]:
    return [e["why"] for e in entries(caller.gate, "approval") if e["event"] == "refused"]


# What goes out.


def test_a_request_goes_out_signed_with_a_token_for_each_person(calling, server) -> None:
    caller = calling()
    caller.refund()
    message = server.next()
    message.verify()
    assert message.path == "/hooks?key=hush"
    assert message.headers["content-type"] == "application/json"
    assert message.type == "approval.requested"
    asked = message.data
    assert asked["args"] == {"order_id": "A-17", "amount": 25_000}
    assert (asked["tool"], asked["effect"], asked["state"]) == ("refund", "write", "pending")
    assert asked["run"]["agent"] == "support"
    assert asked["reasons"][0]["id"] == "big"
    assert asked["demands"] == [{"rule": "big", "of": ["finance"], "approvals": 1}]
    assert set(asked["tokens"]) == {"dana", "lee"}
    assert (asked["may_grant"], asked["glass"]) == (True, None)
    # A viewer breaks nothing.
    assert asked["may_break_glass"] == ["dana", "lee"]
    assert asked["url"] == f"https://saferun.example/requests/{asked['request']}"


def test_the_signature_is_what_the_standard_says(calling, server) -> None:
    caller = calling()
    caller.refund()
    message = server.next()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    head = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode()
    made = base64.b64encode(hmac.digest(key, head + message.body, hashlib.sha256)).decode()
    assert message.headers["webhook-signature"] == f"v1,{made}"


def test_what_the_standard_gives_as_an_example_verifies() -> None:
    at = dt.datetime.fromtimestamp(1_614_265_330, dt.UTC)
    made = Verifier(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [307, 503])
def test_what_is_not_taken_is_sent_again_under_the_same_id(calling, server, status) -> None:
    server.answers = [status]
    server.where = f"http://127.0.0.1:{server.server_port}/elsewhere"
    caller = calling()
    caller.refund()
    first, second = server.next(), server.next()
    assert {first.path, second.path} == {"/hooks?key=hush"}
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert second.type == "approval.requested"
    second.verify()
    assert answer(caller, first, "dana")[0] == 200


def test_a_program_that_is_gone_is_not_asked_again_and_that_is_said(
    calling, server, caplog
) -> None:
    server.answers = [410]
    caller = calling()
    with caplog.at_level(logging.WARNING):
        said = caller.refund()
        server.next()
        caller.gate._courier.close()
    assert "gone for good (410)" in caller.channel.unreachable()
    assert "has answered 410, and is not asked again" in caplog.text
    with pytest.raises(WebhookError, match="gone for good"):
        caller.channel.bring(caller.request(), caller.desk, None)
    assert server.messages.empty()
    caller.finish()
    assert said.result(30).verdict == "deny"


def test_a_failure_says_nothing_of_the_url(calling, server, caplog) -> None:
    server.answers = [500]
    caller = calling()
    with caplog.at_level(logging.WARNING):
        caller.refund()
        server.next(), server.next()
    assert "webhook has answered 500" in caplog.text
    assert "hush" not in caplog.text


def test_an_address_that_nobody_listens_at_says_nothing_of_the_url() -> None:
    with pytest.raises(WebhookError) as raised:
        post.post("http://127.0.0.1:1/x?key=hush", b"{}", {}, private=True)
    assert "hush" not in str(raised.value)
    assert "was not reached" in str(raised.value)


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_where_it_is_posted_to_is_nothing_for_the_log(server, caplog, level) -> None:
    with caplog.at_level(level):
        assert post.post(server.url, b"{}", {}, private=True) == 204
    assert server.next().path == "/hooks?key=hush"
    assert "hush" not in caplog.text


def test_a_program_that_never_answers_is_given_up(server, monkeypatch) -> None:
    server.answers = [0]
    monkeypatch.setattr(post, "ANSWERS_IN", 0.2)
    with pytest.raises(WebhookError, match="has not answered within"):
        post.post(server.url, b"{}", {}, private=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433"])
def test_a_private_address_is_not_posted_to(host) -> None:
    with pytest.raises(WebhookError):
        post.post(f"https://{host}/", b"{}", {}, private=False)


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1"),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1"),
        *("192.0.0.8", "192.88.99.1", "2001:470::5efe:7f00:1", "2001:470::200:5efe:a00:1"),
    ],
)
def test_addresses_that_are_not_the_internets(address) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_internet(address) -> None:
    assert is_public(ip_address(address))


def test_the_connection_goes_to_the_address_that_was_checked(server, monkeypatch) -> None:
    asked = []

    async def once(_, host, port, **about):
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop._Loop, "getaddrinfo", once)
    url = f"http://rebinding.test:{server.server_port}/x"
    assert post.post(url, b"{}", {}, private=True) == 204
    assert asked[0] == "rebinding.test"
    assert set(asked[1:]) <= {"127.0.0.1"}
    assert server.next().headers["host"] == f"rebinding.test:{server.server_port}"


def test_a_certificate_has_to_be_that_of_the_name(tmp_path: Path, monkeypatch) -> None:
    file = certificate(tmp_path, "localhost")
    with program(file) as encrypted:
        url = f"https://localhost:{encrypted.server_port}/x"
        with pytest.raises(WebhookError, match="was not reached"):
            post.post(url, b"{}", {}, private=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert post.post(url, b"{}", {}, private=True) == 204
        with pytest.raises(WebhookError, match="was not reached"):
            post.post(url.replace("localhost", "127.0.0.1"), b"{}", {}, private=True)


def test_proxies_of_the_environment_are_not_used(server, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post.post(server.url, b"{}", {}, private=True) == 204


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "example.com", "https://", "https://user:pw@example.com/"),
        *("https://example.com/#x", "https://example.com:99999/", "https://exam\\nple.com/", ""),
        *("file:///etc/passwd", "https://[::1", "http://example.com/"),
    ],
)
def test_a_url_that_cannot_be_meant_is_an_error_of_the_configuration(url) -> None:
    with pytest.raises(ConfigError, match=r"\[approval.webhook\] url"):
        Webhook("webhook", configured(url, ""))


def test_a_name_means_its_table_and_webhook_the_only_one() -> None:
    two = settings(
        '[approval.webhook.ops]\nurl = "https://a.example"\nsecret_env = "HOOK_SECRET"\n'
        '[approval.webhook.pager]\nurl = "https://b.example"\nsecret_env = "HOOK_SECRET"\n'
    )
    assert channel("webhook.pager", two).name == "webhook.pager"
    for name in ("webhook", "webhook.", "webhook.other"):
        with pytest.raises(ConfigError, match=r"webhook\.ops, webhook\.pager"):
            channel(name, two)
    with pytest.raises(ConfigError, match="needs a table"):
        channel("webhook", settings(""))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_!!!", "x"])
def test_without_a_secret_nobody_can_be_asked(monkeypatch, secret) -> None:
    monkeypatch.setenv("HOOK_SECRET", secret)
    why = Webhook("webhook", configured("https://a.example")).unreachable()
    assert "HOOK_SECRET" in why
    assert secret == "" or secret == "x" or secret not in why.replace("whsec_ and", "")


# What comes in.


def test_an_answer_by_a_persons_token_is_theirs(calling, server) -> None:
    caller = calling()
    said = caller.refund()
    status, told = answer(caller, server.next(), "lee", reason="fine")
    assert (status, told["counted"], told["why"]) == (200, True, None)
    assert said.result(30).starts
    (vote,) = [e for e in entries(caller.gate, "approval") if e["event"] == "approved"]
    assert (vote["by"], vote["channel"], vote["reason"]) == ("lee", "webhook", "fine")


def test_the_program_hears_how_it_ended(calling, server) -> None:
    caller = calling()
    caller.refund()
    first = server.next()
    answer(caller, first, "dana", "reject", reason="no")
    end = server.next()
    end.verify()
    assert end.type == "approval.ended"
    assert (end.data["state"], end.data["by"], end.data["reason"]) == ("rejected", "dana", "no")
    assert end.data["tokens"] == {}


def test_an_end_is_told_once_and_what_came_of_a_yes_once(calling, server) -> None:
    caller = calling()
    caller.refund()
    answer(caller, server.next(), "dana", "reject")
    server.next()
    request = caller.desk.stands(next(iter(entries(caller.gate, "approval")))["id"])
    receipt, told = "sent", []
    for state in ("approved", "executing", "executing", "succeeded", "succeeded"):
        now = msgspec.structs.replace(request, state=state)
        receipt = caller.channel.bring(now, caller.desk, receipt)
    while not server.messages.empty():
        message = server.next()
        told.append((message.type, message.data["state"]))
    assert told == [("approval.ended", "approved"), ("approval.outcome", "succeeded")]


def test_the_program_hears_how_many_calls_wait(calling, server) -> None:
    caller = calling()
    caller.refund()
    assert server.next().data["joined"] == 0
    caller.refund()
    assert server.next().data["joined"] == 1


def test_an_edit_by_callback_is_asked_about_anew(calling, server) -> None:
    caller = calling()
    said = caller.refund()
    first = server.next()
    status, told = answer(caller, first, "dana", "edit", args={"amount": 21_000})
    assert (status, told["revision"]) == (200, 1)
    again = server.next()
    assert again.type == "approval.changed"
    assert again.data["args"]["amount"] == 21_000
    status, told = back(caller, saying(first, "lee"), id_="cb_2")
    assert (status, told["counted"]) == (409, False)
    assert "changed since" in told["why"]
    assert back(caller, saying(again, "lee"), id_="cb_3")[0] == 200
    assert said.result(30).starts


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"amount": 95_000}, "No refund is that big."),
        ({"amount": "21000"}, ""),
        ({"card": "x"}, "may not be changed"),
        ({}, "nothing is changed"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(calling, server, args, why) -> None:
    caller = calling()
    caller.refund()
    status, told = answer(caller, server.next(), "dana", "edit", args=args)
    assert (status, told["counted"], told["revision"]) == (409, False, 0)
    assert why in told["why"]


def test_a_yes_by_callback_can_be_for_further_calls(calling, server) -> None:
    caller = calling()
    said = caller.refund()
    grant = {"minutes": 30, "by": ["order_id"]}
    status, told = answer(caller, server.next(), "dana", grant=grant)
    assert (status, told["counted"]) == (200, True)
    assert told["grant"].startswith("g-")
    assert said.result(30).verdict == "allow"
    assert caller.refund(26_000).result(30).verdict == "allow"
    events = [e["event"] for e in entries(caller.gate, "approval")]
    assert (events.count("requested"), events.count("granted")) == (1, 1)


@pytest.mark.parametrize(
    ("said", "grant", "status"),
    [
        ("approve", {"minutes": 61}, 400),
        ("approve", {"minutes": 0}, 400),
        ("approve", {"hours": 1}, 400),
        ("approve", {"by": ["x"] * 101}, 400),
        ("reject", {"minutes": 30}, 400),
        ("glass", {"minutes": 30}, 400),
        ("approve", {"by": ["no such argument"]}, 409),
    ],
)
def test_a_grant_that_cannot_be_is_refused_and_nothing_counts(
    calling, server, said, grant, status
) -> None:
    caller = calling()
    caller.refund()
    message = server.next()
    got, told = answer(caller, message, "dana", said, grant=grant, reason="now")
    assert (got, told["counted"]) == (status, False)
    assert caller.request().votes == ()


def test_a_glass_broken_by_callback_is_a_message_of_its_own_once(
    calling, server, monkeypatch
) -> None:
    monkeypatch.setattr(couriers, "AGAIN", (0.2,))
    caller = calling()
    said = caller.refund()
    message = server.next()
    status, told = answer(caller, message, "lee", "glass")
    assert (status, "has to say why" in told["why"]) == (409, True)
    server.answers = [503, 204, 503]
    status, told = back(
        caller, saying(message, "lee", "glass", reason="the shop burns"), id_="cb_2"
    )
    assert (status, told["counted"]) == (200, True)
    assert said.result(30).verdict == "allow"
    first, again, ended, later = (server.next() for _ in range(4))
    assert [each.type for each in (first, again)] == ["approval.glass_broken"] * 2
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    again.verify()
    glass = again.data["glass"]
    assert (glass["by"], glass["reason"], glass["tell"]) == ("lee", "the shop burns", ["dana"])
    # What was taken is not sent again because of what was not.
    assert [each.type for each in (ended, later)] == ["approval.ended"] * 2
    caller.gate._courier.close()
    assert server.messages.empty()


def test_who_may_not_break_the_glass_is_refused(calling, server, monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.GLASS", "")
    caller = calling()
    caller.refund()
    message = server.next()
    assert message.data["may_break_glass"] == []
    status, told = answer(caller, message, "dana", "glass", reason="I want it")
    assert (status, told["why"]) == (409, "dana may not break the glass")
    assert "dana may not break the glass" in refusals(caller)
    assert caller.request().open


def test_a_callback_counts_once(calling, server) -> None:
    caller = calling()
    caller.refund()
    body = saying(server.next(), "dana", "edit", args={"amount": 21_000})
    headers = signed(body)
    assert back(caller, body, headers)[0] == 200
    for _ in range(3):
        status, told = back(caller, body, headers)
        assert (status, told["counted"]) == (200, False)
        assert told["why"] == "this webhook-id has come already"
        # Where the first reply was lost, this is what tells whether it has counted.
        assert (told["state"], told["revision"]) == ("pending", 1)
    assert caller.request().revision == 1


def test_a_callback_that_comes_again_says_nothing_without_a_token_for_what_it_is_about(
    calling, server
) -> None:
    caller = calling()
    caller.refund()
    body = saying(server.next(), "dana", token="A" * 43)
    headers = signed(body)
    assert back(caller, body, headers)[0] == 403
    told = {"counted": False, "why": "this webhook-id has come already"}
    assert back(caller, body, headers) == (200, told)


def test_a_name_in_a_body_is_nobody(calling, server) -> None:
    caller = calling()
    caller.refund()
    asked = server.next().data
    body = {"request": asked["request"], "revision": 0, "answer": "approve", "by": "dana"}
    assert back(caller, json.dumps(body).encode())[0] == 400
    body = {**body, "token": "dana"}
    del body["by"]
    assert back(caller, json.dumps(body).encode(), id_="cb_2")[0] == 403
    assert caller.request().votes == ()
    assert len(refusals(caller)) == 2


@pytest.mark.parametrize(
    "about",
    [
        {"request": "a-00000000000000000000"},
        {"revision": 1},
        {"token": "A" * 43},
        {"token": "../../etc"},
    ],
)
def test_a_token_is_for_one_request_and_one_revision(calling, server, about) -> None:
    caller = calling()
    caller.refund()
    status, told = answer(caller, server.next(), "dana", **about)
    assert (status, told["counted"]) == (403, False)
    assert caller.request().votes == ()
    assert len(refusals(caller)) == 1


def test_a_token_of_another_channel_is_none_here(calling, server) -> None:
    caller = calling()
    caller.refund()
    other = Webhook("webhook.ops", caller.gate.config)
    body = saying(server.next(), "dana")
    reply = other.receive("", signed(body), body, desk=caller.desk)
    assert reply.status == 403


FORGED = [
    dict,
    lambda: {**signed(b"{}"), "Webhook-Signature": "v1,AAAA"},
    lambda: {**signed(b"{}"), "Webhook-Signature": "nonsense"},
    lambda: {**signed(b"{}"), "Webhook-Signature": "v1,\xff"},
    lambda: {**signed(b"{}"), "Webhook-Id": "cb_2"},
    lambda: {**signed(b"{}"), "Webhook-Id": "x" * 1000},
    lambda: {**signed(b"{}"), "Webhook-Timestamp": "nan"},
    lambda: {**signed(b"{}"), "Webhook-Timestamp": "1e9"},
    lambda: {**signed(b"{}"), "Webhook-Timestamp": "999999999999"},
    lambda: signed(b"{}", id_="cb.1"),
    lambda: signed(b"{}", ago=310),
    lambda: signed(b"{}", ago=-310),
    lambda: signed(b"{}", secret="whsec_" + base64.b64encode(b"x" * 24).decode()),
    lambda: signed(b"{ }"),
]


@pytest.mark.parametrize("headers", FORGED)
def test_what_is_not_signed_by_the_secret_now_gets_a_401_and_an_entry(calling, headers) -> None:
    caller = calling()
    assert back(caller, b"{}", headers())[0] == 401
    assert refusals(caller) == ["a callback: its signature is missing, old or wrong"]


def test_entries_of_what_is_not_signed_have_an_end(calling) -> None:
    caller = calling()
    for _ in range(50):
        assert back(caller, b"{}", {})[0] == 401
    assert len(refusals(caller)) == 20


DEEP = b'{"request":"a","revision":0,"token":"t","answer":"edit","args":{"a":'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"null", 400),
        (b"[]", 400),
        (b"{", 400),
        (DEEP + b"[" * 100_000, 400),
        (DEEP + b"[" * 200 + b"]" * 200 + b"}}", 400),
        (DEEP + b"9" * 5000 + b"}}", 400),
        (DEEP + b'"\\ud800"}}', 400),
        (b'{"request":"a","revision":-1,"token":"t","answer":"approve"}', 400),
        (b'{"request":"a","revision":0,"token":"t","answer":"maybe"}', 400),
        (b'{"request":"a","revision":0,"token":"t","answer":"approve","args":{"a":1}}', 400),
        (b'{"request":"a","revision":0,"token":"t","answer":"approve","x":1}', 400),
        (b" " * (1 << 18) + b"{}", 413),
    ],
)
def test_a_signed_body_that_is_no_answer_gets_a_4xx_and_an_entry(calling, body, status) -> None:
    caller = calling()
    assert back(caller, body)[0] == status
    assert len(refusals(caller)) == 1


@given(st.binary(max_size=200), st.dictionaries(st.text(), st.text(), max_size=5))
def test_whatever_comes_in_is_answered_with_a_4xx(tmp_path_factory, body, headers) -> None:
    class NoDesk:
        def refused(self, channel: str, why: str) -> None:
            assert channel == "webhook"

    reply = Webhook("webhook", configured("https://a.example")).receive(
        "x", headers, body, desk=NoDesk()
    )
    assert reply.status == 401


def test_an_argument_too_large_to_send_is_cut_and_not_approved_by_callback(calling, server) -> None:
    caller = calling()
    caller.refund(order_id="y" * 5_000_000)
    message = server.next()
    assert len(message.body) < 20_000
    assert message.data["whole"] is False
    assert message.data["args"]["order_id"] == "y" * 2_000
    status, told = answer(caller, message, "dana")
    assert (status, told["counted"]) == (409, False)
    assert "open the request" in told["why"]
    assert caller.request().open


def test_what_is_hidden_is_neither_sent_nor_approved(calling, server) -> None:
    caller = calling()
    caller.refund(card="AKIAIOSFODNN7EXAMPLE")
    message = server.next()
    assert b"AKIAIOSFODNN7EXAMPLE" not in message.body
    assert (message.data["whole"], message.data["hidden"]) == (False, ["card"])
    assert answer(caller, message, "dana")[0] == 409


def test_anything_but_a_post_is_refused(calling) -> None:
    caller = calling()
    for method in ("GET", "HEAD", "PUT"):
        reply = caller.channel.receive("", signed(b"{}"), b"{}", desk=caller.desk, method=method)
        assert reply.status == 405
