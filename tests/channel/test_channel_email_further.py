"""By e-mail: many at once, a yes for further calls, one person's for all, and who hears of it."""

import re
from collections.abc import Callable, Iterator

import pytest

from answering import PEOPLE, POLICY, Caller, settings
from guarding import entries
from mailpage import form_of, look, post, refusals, send
from mailroom import Letter, MailRoom, mail_room
from saferun.call import Call, RunRef
from saferun.channel import courier as couriers
from saferun.channel.email import Email
from saferun.channel.email import email as module

MORE = """
[people.alma]
email = "alma@example.com"
role = "admin"
[people.noah]
email = "noah@example.com"
"""


@pytest.fixture
def room() -> Iterator[MailRoom]:
    with mail_room() as found:
        yield found


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers, "AGAIN", (0.05,))
    monkeypatch.setattr(module, "GATHER", 300_000)


@pytest.fixture
def calling(room: MailRoom) -> Iterator[Callable[..., Caller]]:
    made = []

    def call(policy: str = POLICY, glass: str = "") -> Caller:
        chosen = settings(
            f'[approval]\nurl = "https://saferun.example"\nbreak_glass = [{glass}]\n'
            f'[approval.email]\nhost = "127.0.0.1"\nport = {room.port}\n'
            'from = "SafeRun <saferun@example.com>"\n',
            PEOPLE.replace("[groups]", f"{MORE}[groups]"),
        )
        made.append(Caller(Email(chosen), chosen, policy))
        return made[-1]

    yield call
    for each in made:
        each.finish()


def another(caller: Caller, number: int, run: str = "") -> str:
    """Ask about another call, and leave; the id of the request, empty where none was needed."""
    run = run or f"r-{number}"
    decision = caller.gate.check(
        Call(
            tool="refund",
            args={"order_id": f"A-{number}", "amount": 25_000},
            run=RunRef(run_id=run, root=run, agent="support", user={"id": "maria"}),
            call_id=f"call-{number}-{run}",
        ),
        leaves=True,
    )
    return decision.approval_id or ""


# Many at once.


def test_a_person_gets_so_many_letters_and_then_one_that_lists_what_waits(calling, room) -> None:
    caller = calling()
    many = [another(caller, number) for number in range(module.LETTERS + 5)]
    letters = [room.next() for _ in range(2 * module.LETTERS + 2)]
    dana = [each for each in letters if each.to == "dana@example.com"]
    assert len(dana) == module.LETTERS + 1
    (digest,) = [each for each in dana if "requests wait" in each.message["Subject"]]
    assert digest.message["Subject"] == "Approval needed: 5 requests wait for an answer"
    shown = "".join(each.plain for each in dana)
    assert all(f"A-{number}" in shown for number in range(len(many)))
    for part in ("order_id A-", "support for maria", "https://saferun.example/\n"):
        assert part in digest.plain
    assert digest.html.count("/channels/email/") == 5
    assert room.letters.empty()


def test_each_request_of_a_digest_is_answered_by_its_own_link_and_the_one_code(
    calling, room
) -> None:
    caller = calling()
    many = {another(caller, number) for number in range(module.LETTERS + 3)}
    letters = [room.next() for _ in range(2 * module.LETTERS + 2)]
    digest = next(
        each
        for each in letters
        if each.to == "dana@example.com" and "requests wait" in each.message["Subject"]
    )
    answered = set()
    for token in re.findall(r"/channels/email/([\w-]{43})", digest.plain):
        page = look(caller, token).body
        code = re.search(r"^  ([0-9A-Z]{4}-[0-9A-Z]{4})$", digest.plain, re.MULTILINE)[1]
        reply = post(caller, token, {**form_of(page), "code": code, "answer": "approve"})
        assert reply.status == 200, reply.body
        answered |= many - {each.id for each in caller.desk.open()}
    assert len(answered) == 3


def test_what_comes_after_a_digest_goes_into_the_next(calling, room, monkeypatch) -> None:
    monkeypatch.setattr(module, "LETTERS", 1)
    monkeypatch.setattr(module, "DIGESTS", 1_500_000)
    caller = calling()
    another(caller, 0)
    another(caller, 1)
    first = [room.next() for _ in range(4)]
    assert sum("1 request waits" in each.message["Subject"] for each in first) == 2
    another(caller, 2)
    another(caller, 3)
    second = room.by_person(2)
    for each in second.values():
        assert "2 requests wait" in each.message["Subject"]
        assert "A-2" in each.plain
        assert "A-3" in each.plain
        assert "A-1" not in each.plain


def test_a_digest_that_could_not_be_handed_over_is_sent_later(calling, room, monkeypatch) -> None:
    monkeypatch.setattr(module, "LETTERS", 0)
    monkeypatch.setattr(module, "LEASE", 500_000)
    room.refuses["dana@example.com"] = 1
    caller = calling()
    another(caller, 0)
    letters = room.by_person(2)
    assert "A-0" in letters["dana@example.com"].plain
    assert room.letters.empty()


def test_the_ends_of_many_requests_are_told_to_nobody_without_end(calling, room) -> None:
    caller = calling()
    for number in range(module.LETTERS + 5):
        another(caller, number)
    for _ in range(2 * module.LETTERS + 2):
        room.next()
    for each in caller.desk.open():
        told = caller.desk.vote(each.id, by="dana", approved=False, channel="test", revision=0)
        assert told.counted
    ends = [room.next() for _ in range(module.LETTERS)]
    assert {each.to for each in ends} == {"lee@example.com"}
    caller.gate._courier.close()
    assert room.letters.empty()


def test_how_it_ended_is_told_once_however_often_it_moves(calling, room) -> None:
    caller = calling()
    request = another(caller, 1)
    letters = room.by_person(2)
    send(caller, letters["dana@example.com"])
    assert room.next().to == "lee@example.com"
    # It starts, and ends: two more things to be shown.
    decision = caller.gate.check(
        Call(
            tool="refund",
            args={"order_id": "A-1", "amount": 25_000},
            run=RunRef(run_id="r-1", root="r-1", agent="support", user={"id": "maria"}),
            call_id="call-1-r-1",
        )
    )
    assert decision.verdict == "allow"
    assert caller.desk.stands(request).state == "executing"
    caller.gate._courier.close()
    assert room.letters.empty()


# Grants.


def test_a_yes_for_further_calls_lets_those_run_without_a_question(calling, room) -> None:
    caller = calling()
    another(caller, 1)
    dana = room.by_person(2)["dana@example.com"]
    page = look(caller, dana.token).body.decode()
    assert "Approve further calls too" in page
    assert '<option value="run">' in page
    # The order's number is the first of the arguments.
    reply = send(caller, dana, **{"for": "30", "same.0": "yes"})
    assert (reply.status, b"calls like it run" in reply.body) == (200, True)
    assert another(caller, 1, "r-2") == ""
    assert another(caller, 2, "r-2") != ""
    assert [e["event"] for e in entries(caller.gate, "approval")].count("granted") == 1


@pytest.mark.parametrize("span", ["500", "", "-1"])
def test_a_span_that_was_not_offered_is_refused_beside_the_form(calling, room, span) -> None:
    caller = calling()
    caller.refund()
    dana = room.by_person(2)["dana@example.com"]
    reply = send(caller, dana, **{"for": span})
    assert (reply.status, b"Choose for which calls" in reply.body) == (400, True)
    assert caller.request().votes == ()


def test_there_is_no_grant_for_what_cannot_be_undone(calling, room) -> None:
    caller = calling(POLICY.replace("effect: write", "effect: destructive"))
    caller.refund()
    dana = room.by_person(2)["dana@example.com"]
    assert b"Approve further calls" not in look(caller, dana.token).body
    reply = send(caller, dana, **{"for": "30"})
    assert (reply.status, b"asked about each time" in reply.body) == (409, True)
    assert caller.request().open


# The glass.


def broken(caller: Caller, letter: Letter, reason: str = "the shop <b>burns</b>") -> None:
    assert b"Break the glass" in look(caller, letter.token).body
    reply = send(caller, letter, "glass", reason=reason)
    assert reply.status == 200, reply.body
    assert b"answered for everybody else" in reply.body


def test_everybody_else_and_every_admin_gets_an_alarm_of_its_own_once(calling, room) -> None:
    caller = calling(
        POLICY.replace("ask: [finance]", "ask: [finance]\n        approvals: 2"), '"lee"'
    )
    said = caller.refund()
    letters = room.by_person(2)
    broken(caller, letters["lee@example.com"])
    assert said.result(30).verdict == "allow"
    alarms = room.by_person(2)
    assert set(alarms) == {"dana@example.com", "alma@example.com"}
    for each in alarms.values():
        assert each.message["Subject"] == "ALERT: lee broke the glass: refund"
        assert each.message["In-Reply-To"] is None
        assert each.message["Importance"] == "high"
        for part in ("lee has answered for all of you", "2 of finance", "A-17", "25000"):
            assert part in each.plain
        assert "the shop &lt;b&gt;burns&lt;/b&gt;" in each.html
    caller.gate._courier.close()
    assert room.letters.empty()


def test_an_alarm_that_one_did_not_get_is_sent_again_to_them_alone(calling, room) -> None:
    caller = calling(glass='"lee"')
    caller.refund()
    lee = room.by_person(2)["lee@example.com"]
    room.refuses["alma@example.com"] = 2
    broken(caller, lee)
    assert room.next().to == "dana@example.com"
    assert room.next().to == "alma@example.com"
    caller.gate._courier.close()
    assert room.letters.empty()


def test_the_glass_takes_a_reason_and_somebody_who_may_break_it(calling, room) -> None:
    caller = calling(glass='"lee"')
    caller.refund()
    letters = room.by_person(2)
    dana, lee = letters["dana@example.com"], letters["lee@example.com"]
    assert b"Break the glass" not in look(caller, dana.token).body
    assert send(caller, dana, "glass", reason="I want it").status == 409
    assert "dana may not break the glass" in refusals(caller)
    reply = send(caller, lee, "glass")
    assert (reply.status, b"has to say why" in reply.body, b"<form" in reply.body) == (
        409,
        True,
        True,
    )
    assert caller.request().open
