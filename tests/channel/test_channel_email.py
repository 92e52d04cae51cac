"""E-mail through a real server: letters go out, a page shows, and only a code decides."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from urllib.parse import urlencode

import msgspec
import pytest

from answering import POLICY, Caller, settings
from guarding import entries
from mailpage import FORM, form_of, look, post, refusals, send
from mailroom import MailRoom, mail_room
from saferun.approval import Question, Request, others
from saferun.call import Call, RunRef
from saferun.channel.email import Email
from saferun.channel.email.card import LETTER, PAGE, Row, card


@pytest.fixture
def room() -> Iterator[MailRoom]:
    with mail_room() as found:
        yield found


@pytest.fixture
def calling(room: MailRoom) -> Iterator[Callable[..., Caller]]:
    made = []

    def call(more: str = "", **about) -> Caller:
        chosen = settings(
            '[approval]\nurl = "https://saferun.example"\n[approval.email]\nhost = "127.0.0.1"\n'
            f'port = {room.port}\nfrom = "SafeRun <saferun@example.com>"\n{more}',
            **about,
        )
        made.append(Caller(Email(chosen), chosen))
        return made[-1]

    yield call
    for each in made:
        each.finish()


def test_each_person_who_is_asked_gets_a_letter_of_their_own(calling, room) -> None:
    caller = calling()
    caller.refund()
    letters = room.by_person(2)
    assert set(letters) == {"dana@example.com", "lee@example.com"}
    dana, lee = letters["dana@example.com"], letters["lee@example.com"]
    assert dana.token != lee.token
    assert dana.code != lee.code
    assert dana.message["To"] == "dana@example.com"
    assert dana.message["Subject"] == "Approval needed: support wants to run refund"
    for part in ("A-17", "25000", "maria", "Refunds above $200 need finance. (big)"):
        assert part in dana.plain
        assert part in dana.html
    assert dana.code not in dana.message["Subject"]
    # In the order in which it is looked for; what nobody has checked comes after the way to answer.
    order = ("what it does", "on behalf of", "What would run", "Why you are asked")
    places = [dana.html.index(each) for each in (*order, "Look at it and answer", "unchecked")]
    assert places == sorted(places)


def test_who_has_link_and_code_approves_and_the_call_runs(calling, room) -> None:
    caller = calling()
    said = caller.refund()
    letters = room.by_person(2)
    reply = send(caller, letters["dana@example.com"], reason="known customer")
    assert reply.status == 200
    assert b"It was approved by dana: known customer." in reply.body
    assert said.result(30).starts
    (vote,) = [e for e in entries(caller.gate, "approval") if e["event"] == "approved"]
    assert (vote["by"], vote["channel"], vote["reason"]) == ("dana", "email", "known customer")


def test_the_others_are_told_in_the_same_thread_and_the_one_who_answered_is_not(
    calling, room
) -> None:
    caller = calling()
    caller.refund()
    letters = room.by_person(2)
    send(caller, letters["dana@example.com"])
    end = room.next()
    assert end.to == "lee@example.com"
    assert end.message["In-Reply-To"] == letters["lee@example.com"].message["Message-ID"]
    assert "It was approved by dana." in end.plain
    assert room.letters.empty()


def test_a_rejection_says_why(calling, room) -> None:
    caller = calling()
    said = caller.refund()
    letters = room.by_person(2)
    reply = send(caller, letters["lee@example.com"], "reject", reason="not <b>this</b> one")
    assert b"It was rejected by lee: not &lt;b&gt;this&lt;/b&gt; one." in reply.body
    assert said.result(30).verdict == "deny"


def test_a_look_changes_nothing_however_often(calling, room) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    for method in ("GET", "HEAD", "GET"):
        assert look(caller, letter.token, method).status == 200
    assert look(caller, letter.token, "HEAD").body == b""
    query = f"{letter.token}?answer=approve&code={letter.code}"
    assert caller.channel.receive(query, {}, b"", desk=caller.desk).status == 404
    body = urlencode({**form_of(look(caller, letter.token).body), "answer": "approve"}).encode()
    caller.channel.receive(letter.token, FORM, body, desk=caller.desk, method="GET")
    assert caller.request().open
    assert caller.request().votes == ()


def test_a_scanner_that_fills_in_and_posts_the_form_changes_nothing(calling, room) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    fields = form_of(look(caller, letter.token).body)
    for answer in ("approve", "reject", "edit"):
        for code in ("", "on", "1"):
            reply = post(caller, letter.token, {**fields, "answer": answer, "code": code})
            assert reply.status in (400, 403, 410)
    assert caller.request().votes == ()
    assert caller.request().revision == 0


def test_an_empty_code_uses_up_no_try_and_five_wrong_ones_end_the_link(calling, room) -> None:
    caller = calling()
    caller.refund()
    letters = room.by_person(2)
    letter = letters["dana@example.com"]
    for _ in range(7):
        assert send(caller, letter, code="").status == 400
    for _ in range(5):
        assert send(caller, letter, code="2222-2222").status == 403
    assert post(caller, letter.token, {"code": letter.code, "answer": "approve"}).status == 410
    assert caller.request().votes == ()
    assert refusals(caller) == ["a wrong code"] * 5
    assert send(caller, letters["lee@example.com"]).status == 200


def test_the_code_of_one_letter_does_not_open_another(calling, room) -> None:
    caller = calling()
    caller.refund()
    letters = room.by_person(2)
    dana, lee = letters["dana@example.com"], letters["lee@example.com"]
    assert send(caller, dana, code=lee.code).status == 403
    assert caller.request().votes == ()


def test_a_code_may_be_typed_as_people_type(calling, room) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    typed = f" {letter.code.lower().replace('-', ' - ')} "
    assert send(caller, letter, code=typed).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"form": None},
        {"form": "0" * 32},
        {"form": "ÿ"},
    ],
)
def test_an_answer_that_is_not_from_the_page_does_not_count(calling, room, fields) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    assert send(caller, letter, **fields).status == 403
    assert caller.request().votes == ()
    assert len(refusals(caller)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://elsewhere.example"},
        {"origin": "https://saferun.example.evil"},
    ],
)
def test_an_answer_from_another_site_does_not_count(calling, room, headers) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    assert send(caller, letter, headers={**FORM, **headers}).status == 403
    assert caller.request().votes == ()
    assert send(caller, letter, headers={**FORM, "Origin": "https://saferun.example"}).status == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"answer=approve"),
        ({"content-type": "application/json"}, b"{}"),
        (FORM, b""),
        (FORM, b"\xff\xfe"),
        (FORM, b"code=%FF%FE"),
        (FORM, b"answer=approve&answer=reject"),
        (FORM, b"a=1&" * 300 + b"b=2"),
        (FORM, b"a=" + b"x" * (1 << 20)),
    ],
)
def test_what_is_no_form_gets_a_400_and_an_entry(calling, room, headers, body) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    reply = caller.channel.receive(letter.token, headers, body, desk=caller.desk, method="POST")
    assert reply.status == 400
    assert len(refusals(caller)) == 1


@pytest.mark.parametrize("path", ["", "x", "../..", "A" * 43, "%00", "é" * 43, "a/" * 5000])
def test_a_link_that_never_was_shows_nothing(calling, path) -> None:
    caller = calling()
    for method in ("GET", "POST"):
        reply = caller.channel.receive(path, FORM, b"code=1", desk=caller.desk, method=method)
        assert reply.status == 404
    assert look(caller, path, "DELETE").status == 405


def test_what_is_sent_without_a_ticket_leaves_so_many_entries_and_no_more(calling) -> None:
    caller = calling()
    for _ in range(50):
        assert post(caller, "A" * 43, {"code": "1"}).status == 404
    assert len(refusals(caller)) == 20


def test_an_edit_is_asked_about_anew_and_the_old_link_is_dead(calling, room) -> None:
    caller = calling()
    said = caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    reply = send(caller, letter, "edit", **{"arg.amount": "21000"})
    assert reply.status == 200
    again = room.by_person(2)
    assert "21000" in again["lee@example.com"].plain
    assert again["dana@example.com"].message["In-Reply-To"] == letter.message["Message-ID"]
    assert look(caller, letter.token).status == 410
    assert post(caller, letter.token, {"code": letter.code, "answer": "approve"}).status == 410
    assert send(caller, again["lee@example.com"]).status == 200
    assert said.result(30).starts


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"arg.amount": "95000"}, "No refund is that big."),
        ({"arg.amount": "much"}, "has to be JSON"),
        ({"arg.amount": "[" * 20_000}, "has to be JSON"),
        ({"arg.amount": '"21000"'}, "not changed"),
        ({"arg.amount": "1" * 400}, "not changed"),
        ({}, "nothing is changed"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_beside_the_form_and_all_stays(
    calling, room, fields, why
) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    reply = send(caller, letter, "edit", **fields)
    assert reply.status == 409
    assert why in reply.body.decode()
    assert caller.request().revision == 0


def test_line_ends_of_a_form_are_no_edit(calling, room) -> None:
    caller = calling()
    caller.refund(order_id="\nA-17\nB-18\n")
    letter = room.by_person(2)["dana@example.com"]
    shown = form_of(look(caller, letter.token).body)
    assert shown["arg.order_id"] == "\nA-17\nB-18\n"
    reply = send(caller, letter, "edit", **{"arg.order_id": "\r\nA-17\r\nB-18\r\n"})
    assert "nothing is changed" in reply.body.decode()


HOSTILE = (
    "<script>alert(1)</script><img src=http://evil.example/x.png>\r\nBcc: evil@example.com\r\n\r\n"
    "\x1b[2J\u202egnp.exe\u2066 code: AAAA-AAAA"
)


def test_hostile_text_is_inert_wherever_it_is_shown(calling, room) -> None:
    caller = calling()
    caller.refund(order_id=HOSTILE, prompt=HOSTILE, plan={HOSTILE: HOSTILE})
    letter = room.by_person(2)["dana@example.com"]
    page = look(caller, letter.token).body.decode()
    for shown in (letter.plain, letter.html, page):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "\\u202e" in shown
    for markup in (letter.html, page):
        assert "<script" not in markup
        assert "<img" not in markup
        assert "&lt;script&gt;" in markup
    assert letter.message["Bcc"] is None
    assert letter.code in letter.plain


def test_a_letter_fetches_nothing(calling, room) -> None:
    caller = calling()
    caller.refund()
    html = room.next().html
    assert re.findall(r"<(?:img|link|script|iframe|style|object)|url\(|\bsrc=|@import", html) == []
    assert len(re.findall(r"https?://", html)) == 1


def test_a_subject_is_one_line_and_bounded(calling, room) -> None:
    caller = calling()
    agent = "x\r\nBcc: evil@example.com" * 50
    call = Call(
        tool="refund",
        args={"order_id": "A", "amount": 25_000},
        run=RunRef(run_id="r", root="r", agent=agent),
    )
    thread = Thread(target=caller.gate.check, args=(call,), daemon=True)
    thread.start()
    letter = room.next()
    assert letter.message["Bcc"] is None
    assert len(letter.message["Subject"]) <= 121
    assert letter.to in {"dana@example.com", "lee@example.com"}
    caller.finish()
    thread.join(30)


def test_what_does_not_fit_a_letter_is_cut_there_and_whole_on_the_page(calling, room) -> None:
    caller = calling()
    caller.refund(order_id="y" * 50_000)
    letter = room.by_person(2)["dana@example.com"]
    assert "(48,000 more characters)" in letter.plain
    assert "Not all of it is shown here." in letter.plain
    page = look(caller, letter.token).body
    assert page.count(b"y" * 50_000) == 1
    assert send(caller, letter).status == 200


def test_what_cannot_be_shown_whole_cannot_be_approved(calling, room) -> None:
    caller = calling()
    caller.refund(order_id="y" * 5_000_000)
    letter = room.by_person(2)["dana@example.com"]
    assert len(letter.message.as_bytes()) < 50_000
    page = look(caller, letter.token).body
    assert len(page) < 500_000
    assert b'value="approve"' not in page
    assert f"https://saferun.example/requests/{caller.request().id}".encode() in page
    assert send(caller, letter).status == 409
    assert caller.request().votes == ()
    assert send(caller, letter, "reject").status == 200


def test_what_is_hidden_cannot_be_approved(calling, room) -> None:
    caller = calling()
    caller.refund(card="AKIAIOSFODNN7EXAMPLE")
    letter = room.by_person(2)["dana@example.com"]
    assert "AKIAIOSFODNN7EXAMPLE" not in letter.message.as_string()
    assert b'value="approve"' not in look(caller, letter.token).body
    assert send(caller, letter).status == 409


def test_two_of_three_takes_two_letters(calling, room) -> None:
    policy = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    rules: [{id: two, ask: [finance], approvals: 2, message: Two look.}]
"""
    caller = calling()
    caller = Caller(caller.channel, caller.gate.config, policy)
    said = caller.refund()
    letters = room.by_person(2)
    for _ in range(2):
        reply = send(caller, letters["dana@example.com"])
        assert b"it takes more people than you" in reply.body
    assert send(caller, letters["lee@example.com"]).status == 200
    assert said.result(30).starts


def test_a_request_that_goes_to_further_people_reaches_those_alone(calling, room) -> None:
    policy = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    rules: [{id: later, ask: [dana], escalate: [{after: 1s, to: [lee]}], message: Look.}]
"""
    caller = calling()
    caller = Caller(caller.channel, caller.gate.config, policy)
    caller.refund()
    assert room.next().to == "dana@example.com"
    assert room.next().to == "lee@example.com"
    caller.finish()
    end = room.next()
    assert end.to == "lee@example.com"
    assert "It was rejected by dana" in end.plain


def test_where_anybody_may_answer_all_who_may_are_written_to(calling, room) -> None:
    policy = """
version: 1
name: money
tools:
  refund:
    effect: write
    args: {order_id: {type: string}, amount: {type: integer}}
    default: ask
"""
    caller = calling()
    caller = Caller(caller.channel, caller.gate.config, policy)
    caller.refund()
    assert set(room.by_person(2)) == {"dana@example.com", "lee@example.com"}
    caller.finish()
    assert room.next().to == "lee@example.com"


def test_a_refused_recipient_is_tried_again_and_nobody_else_is_written_to_twice(
    calling, room
) -> None:
    room.refuses["lee@example.com"] = 1
    caller = calling()
    caller.refund()
    assert room.next().to == "dana@example.com"
    assert room.refused.wait(30)
    lee = room.next()
    assert lee.to == "lee@example.com"
    assert send(caller, lee).status == 200


def test_who_was_asked_is_told_of_an_end_once_however_it_goes_on(calling, room) -> None:
    caller = calling()
    caller.refund()
    room.by_person(2)
    request = caller.request()
    caller.finish()
    assert room.next().to == "lee@example.com"
    receipt, told = None, []
    for state in ("approved", "executing", "succeeded", "expired", "expired"):
        now = msgspec.structs.replace(request, state=state, by="dana")
        receipt = caller.channel.bring(now, caller.desk, receipt)
    while not room.letters.empty():
        told.append(room.next().plain)
    assert len(told) == 2
    assert "It was approved by dana." in told[0]
    assert "approved by dana, and not started in time" in told[1]


def test_texts_and_numbers_are_told_apart_and_so_are_ends_that_one_does_not_see() -> None:
    def drawn(value: object) -> Row:
        question = Question(id="a-1", tool="t", args={"amount": value})
        [row] = card(Request(question=question, state="pending"), LETTER).args
        return row

    values = ["1", 1, "null", None, "true", True, "x", "x ", " x", "x\n", '" x"', "a \nb", "a\nb"]
    assert len({(row.name, row.text) for row in map(drawn, values)}) == len(values)
    assert drawn("1")[:2] == ("amount (text)", "1")


def test_a_letter_and_its_page_say_how_many_calls_wait() -> None:
    question = Question(id="a-1", tool="t", args={})
    shown = card(Request(question=question, state="pending", joined=2, revision=1), PAGE)
    assert Row("also", others(Request(question=question, state="pending", joined=2))) in shown.facts
    assert Row("edited", "once; this is how it stands now") in shown.facts


def test_after_the_end_a_link_says_how_it_was_and_takes_nothing(calling, room) -> None:
    caller = calling()
    said = caller.refund()
    letters = room.by_person(2)
    dana, lee = letters["dana@example.com"], letters["lee@example.com"]
    late = form_of(look(caller, lee.token).body)
    send(caller, dana, "reject")
    said.result(30)
    shown = look(caller, lee.token)
    assert (shown.status, b"It was rejected by dana." in shown.body) == (410, True)
    reply = post(caller, lee.token, {**late, "code": lee.code, "answer": "approve"})
    assert reply.status == 410
    assert b"<form" not in reply.body


def test_a_token_is_nowhere_in_the_store(calling, room) -> None:
    caller = calling()
    caller.refund()
    letter = room.by_person(2)["dana@example.com"]
    caller.gate.store.flush()
    for file in caller.gate.store.path.parent.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert letter.token.encode() not in data
            assert letter.code.replace("-", "").encode() not in data


def test_every_page_forbids_all_that_it_does_not_need(calling, room) -> None:
    caller = calling()
    caller.refund()
    page = look(caller, room.by_person(2)["dana@example.com"].token)
    assert page.kind == "text/html; charset=utf-8"
    assert b"default-src &#x27;none&#x27;" in page.body
    assert b"<script" not in page.body
    assert b"style=" not in page.body
    assert look(caller, "style.css").kind == "text/css; charset=utf-8"


AGENT = """
import sys
from saferun import Gate, config
from saferun.approval import Question, Request, others
from saferun.call import Call, RunRef
from saferun.policy import loads

chosen = config.load()
gate = Gate(policy=loads(sys.argv[1]), approvals="email", settings=chosen)
run = RunRef(run_id="r-1", root="r-1", agent="support")
gate.check(Call(tool="refund", args={"order_id": "A-17", "amount": 25_000}, run=run))
"""


def test_an_agent_that_was_killed_leaves_links_that_another_process_answers(calling, room) -> None:
    caller = calling()
    agent = subprocess.Popen([sys.executable, "-c", AGENT, POLICY])
    try:
        letters = room.by_person(2)
    finally:
        agent.kill()
        agent.wait()
    reply = send(caller, letters["dana@example.com"])
    assert (reply.status, b"It was approved by dana." in reply.body) == (200, True)
