"""Tickets: what a token lets somebody do, kept as its hash, and five wrong codes at most."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from saferun.ledger import ApprovalEntry
from saferun.store import Issue, Present, Requests, Sent, Store, Ticket
from saferun.store.work.ticket import LEFT, UNSENT
from storing import Clock

CODE = b"right"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    made = Store(f"sqlite:///{tmp_path}/s/saferun.db", durability="process", clock=clock)
    yield made
    made.close()


def ticket(clock: Clock, token: bytes = b"t", **about) -> Ticket:
    about = {"request": "a-1", "revision": 0, "by": "dana", "channel": "email", **about}
    return Ticket(**{"token": token, "until": clock.now + 1_000_000, "code": CODE, **about})


def shown(code: bytes, token: bytes = b"t") -> Present:
    return Present(token, code, ApprovalEntry(id="a-1", event="refused", why="a wrong code"))


def known(store: Store, request: str = "a-1") -> list[bytes]:
    with Requests(store.path) as requests:
        return [each.token for each in requests.tickets(request, "email")]


def test_a_ticket_is_found_by_its_token_alone(store, clock) -> None:
    store.commit(Issue((ticket(clock),)))
    with Requests(store.path) as requests:
        assert requests.ticket(b"t") == ticket(clock)
        assert requests.ticket(b"u") is None


def test_the_right_code_opens_it_as_often_as_it_is_shown(store, clock) -> None:
    store.commit(Issue((ticket(clock),)))
    assert store.commit(shown(CODE))
    assert store.commit(shown(CODE))


def test_five_wrong_codes_end_it_however_many_come_at_once(store, clock) -> None:
    store.commit(Issue((ticket(clock),)))
    with ThreadPoolExecutor(16) as many:
        opened = list(many.map(lambda _: store.commit(shown(b"wrong")), range(64)))
    assert not any(opened)
    # Each of them is told how many there are after it.
    assert sorted(each.left for each in opened)[-5:] == [0, 1, 2, 3, 4]
    assert not store.commit(shown(CODE))
    with Requests(store.path) as requests:
        assert requests.ticket(b"t").tries == 5


def test_four_wrong_codes_do_not(store, clock) -> None:
    store.commit(Issue((ticket(clock),)))
    for _ in range(4):
        assert not store.commit(shown(b"wrong"))
    assert store.commit(shown(CODE))


def test_no_code_opens_a_ticket_that_has_none_or_has_ended_or_never_was(store, clock) -> None:
    store.commit(Issue((ticket(clock), ticket(clock, b"plain", code=None))))
    assert not store.commit(shown(b"", b"plain"))
    assert not store.commit(shown(CODE, b"other"))
    clock.now += 1_000_001
    assert not store.commit(shown(CODE))


def test_of_those_that_may_not_have_arrived_the_newest_are_kept(store, clock) -> None:
    store.commit(Issue((ticket(clock, b"sent"),)))
    store.commit(Sent((b"sent",), "<1@x>"))
    for at in range(UNSENT + 4):
        store.commit(Issue((ticket(clock, b"%d" % at), ticket(clock, b"lee%d" % at, by="lee"))))
    assert known(store) == [b"sent", b"4", b"lee4", b"5", b"lee5", b"6", b"lee6"]


def test_a_ticket_goes_a_day_after_its_end(store, clock) -> None:
    store.commit(Issue((ticket(clock),)))
    clock.now += LEFT
    store.commit(Issue((ticket(clock, b"u", request="a-2"),)))
    assert known(store) == [b"t"]
    clock.now += 1_000_001
    store.commit(Issue((ticket(clock, b"v", request="a-2"),)))
    assert known(store) == []
