"""Who gets in: by a secret or a one-time link, for twelve hours, and nobody else."""

from urllib.parse import unquote

import pytest

from console.asking import HEAD, HERE, Browser, ask, enrolled, stands
from console.asking import console as made_console
from guarding import entries
from saferun import Gate
from saferun.console import Console, Sessions, Who
from saferun.console.login import LoginError, Secret, Tries
from saferun.roster import Roster


def test_without_a_session_every_page_leads_to_the_login(gate: Gate, console: Console) -> None:
    request = ask(gate)
    browser = Browser(console)
    for path in ("/", "/requests", f"/requests/{request.id}", "/grants"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login")
    for path in ("/live", "/inbox"):
        assert browser.get(path).status_code == 401
    assert browser.get(f"/requests/{request.id}/arguments.txt").status_code == 303


def test_a_person_logs_in_with_their_secret_and_comes_to_where_they_wanted(
    gate: Gate, console: Console
) -> None:
    request = ask(gate)
    enrolled(gate, "dana", "a-secret")
    browser = Browser(console)
    wanted = browser.get(f"/requests/{request.id}").headers["location"]
    assert wanted == f"/login?next=/requests/{request.id}"
    said = {"person": "dana", "secret": "a-secret", "next": f"/requests/{request.id}"}
    answer = browser.post("/login", said)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{request.id}")
    assert "dana <small>approver" in browser.get("/").text


@pytest.mark.parametrize(
    "path",
    [
        "/runs/diff?a=ticket-30&b=ticket-31",
        "/runs?view=denied&agent=support",
        "/overview?last=week",
        "/controls?about=maria@acme.example",
        "/policy?name=production",
        "/policy/diff?name=production&a=x&b=y",
        "/ledger/entries?text=refund+A-17&since=2026-05-04T10:00Z",
        "/run?id=r-%C3%A9&frame=3",
    ],
)
def test_a_link_to_any_page_holds_through_a_login_and_from_a_chat(
    gate: Gate, console: Console, path: str
) -> None:
    enrolled(gate, "dana", "a-secret")
    browser = Browser(console)
    [_, inside] = browser.get(path).headers["location"].split("?next=")
    said = {"person": "dana", "secret": "a-secret", "next": unquote(inside)}
    assert browser.post("/login", said).headers["location"] == path
    # A browser leaves the cookie out where it comes from elsewhere.
    again = Browser(console).get(path, **{"sec-fetch-site": "cross-site"})
    assert f'href="{path.replace("&", "&amp;")}"' in again.text


def test_whoever_has_logged_in_in_another_tab_is_led_on_by_the_login(
    gate: Gate, console: Console
) -> None:
    enrolled(gate, "dana", "a-secret")
    browser = Browser(console)
    browser.post("/login", {"person": "dana", "secret": "a-secret"})
    assert browser.get("/login?next=/run%3Fid%3Dr-1").headers["location"] == "/run?id=r-1"
    assert browser.get("/login").status_code == 200
    assert browser.get("/login?next=//evil.test").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "/requests/../..",
        "javascript:x",
        "/runs?\r\nset-cookie: x",
        "/runs?a;url=https://evil.test",
        "/logout?x=1",
        "",
    ],
)
def test_a_login_leads_nowhere_else(gate: Gate, console: Console, elsewhere: str) -> None:
    enrolled(gate, "dana", "a-secret")
    said = {"person": "dana", "secret": "a-secret", "next": elsewhere}
    assert Browser(console).post("/login", said).headers["location"] == "/"


@pytest.mark.parametrize(
    ("person", "secret"),
    [("dana", "another"), ("nobody", "a-secret"), ("dana", ""), ("", "a-secret"), ("d" * 999, "x")],
)
def test_a_wrong_secret_lets_nobody_in_and_does_not_say_what_was_wrong(
    gate: Gate, console: Console, person: str, secret: str
) -> None:
    enrolled(gate, "dana", "a-secret")
    browser = Browser(console)
    answer = browser.post("/login", {"person": person, "secret": secret})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "another" not in answer.text


def wrong(login: Secret, address: str, person: str = "dana") -> int:
    with pytest.raises(LoginError) as refused:
        login.identify({"person": person, "secret": "x"}, address)
    return refused.value.status


def test_an_address_that_has_failed_too_often_has_to_wait(gate: Gate) -> None:
    enrolled(gate, "dana", "a-secret")
    clock = [0.0]
    login = Secret(gate.store, Roster(gate.config), Tries(lambda: clock[0]))
    tried = [wrong(login, "10.0.0.1", f"p{number}") for number in range(Secret.ADDRESS)]
    assert set(tried) == {401}
    assert wrong(login, "10.0.0.1") == 429
    assert wrong(login, "10.0.0.2") == 401
    clock[0] = Tries.WITHIN + 1
    assert wrong(login, "10.0.0.1") == 401


def test_many_addresses_that_fail_together_have_to_wait_together(gate: Gate) -> None:
    login = Secret(gate.store, Roster(gate.config))
    tried = [wrong(login, f"10.0.{number}.1") for number in range(Secret.ALL)]
    assert set(tried) == {401}
    assert wrong(login, "10.1.0.1") == 429


def test_the_right_secret_is_never_refused_for_what_others_have_failed_at(gate: Gate) -> None:
    enrolled(gate, "dana", "a-secret")
    login = Secret(gate.store, Roster(gate.config))
    for number in range(Secret.ALL + Secret.ADDRESS + 1):
        wrong(login, f"10.0.{number % 9}.1")
    for address in ("10.0.0.1", "10.9.0.1"):
        right = {"person": "dana", "secret": "a-secret"}
        assert login.identify(right, address).person == "dana"


def test_a_wrong_secret_gives_those_who_write_to_the_store_nothing_to_do(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = Secret(gate.store, Roster(gate.config))
    monkeypatch.setattr(type(gate.store), "commit", None)
    assert wrong(login, "10.0.0.1") == 401


def test_what_failures_are_counted_by_is_bounded() -> None:
    tries = Tries()
    tries.MOST = 100
    for number in range(500):
        tries.failed(f"name {number}")
    assert len(tries._failed) == 100


def test_somebody_whom_the_configuration_does_not_know_may_look_and_not_answer(
    gate: Gate, console: Console
) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "stranger"))
    page = browser.get(f"/requests/{request.id}").text
    assert "stranger may look and not answer" in page
    assert "Approve" not in page


def test_a_one_time_link_logs_in_once(gate: Gate, console: Console) -> None:
    code = console.sessions.link(enrolled(gate, "dana"))
    for method in ("get", "head"):
        assert getattr(Browser(console).client, method)(f"/enter?code={code}").status_code == 200
    first = Browser(console).post("/enter", {"code": code})
    assert (first.status_code, first.headers["location"]) == (303, "/")
    again = Browser(console).post("/enter", {"code": code})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


def test_a_one_time_link_holds_for_five_minutes(gate: Gate) -> None:
    clock = [0.0]
    sessions = Sessions(lambda: clock[0])
    code = sessions.link(Who("dana"))
    clock[0] = 300.0
    assert sessions.enter(code) is None


def test_a_session_holds_for_twelve_hours_and_until_it_is_left() -> None:
    clock = [0.0]
    sessions = Sessions(lambda: clock[0])
    one, two = sessions.begin(Who("dana")), sessions.begin(Who("erik"))
    sessions.end(one)
    assert sessions.of(one) is None
    clock[0] = 12 * 3600 - 1
    assert sessions.of(two) is not None
    clock[0] += 1
    assert sessions.of(two) is None


def test_tokens_are_kept_as_digests_alone() -> None:
    sessions = Sessions()
    token, code = sessions.begin(Who("dana")), sessions.link(Who("dana"))
    kept = repr(sessions.__dict__)
    assert token not in kept
    assert code not in kept
    assert len(token) == len(code) == 43


def test_there_are_never_more_sessions_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saferun.console.session.MOST", 3)
    sessions = Sessions()
    tokens = [sessions.begin(Who("dana")) for _ in range(5)]
    assert [sessions.of(each) is not None for each in tokens] == [False, False, True, True, True]


def test_the_cookie_is_for_this_site_and_no_script(gate: Gate, console: Console) -> None:
    code = console.sessions.link(enrolled(gate, "dana"))
    cookie = Browser(console).post("/enter", {"code": code}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie


def test_off_loopback_the_cookie_is_for_tls_alone(gate: Gate) -> None:
    from msgspec.structs import replace

    approval = replace(gate.config.approval, url="https://console.test")
    gate.config = replace(gate.config, approval=approval)
    console = made_console(gate)
    code = console.sessions.link(enrolled(gate, "dana"))
    about = {"host": "console.test", "origin": "https://console.test"}
    cookie = Browser(console).post("/enter", {"code": code}, **about).headers["set-cookie"]
    assert cookie.startswith("__Host-saferun=")
    assert "Secure" in cookie


def test_logging_out_ends_the_session_for_whoever_has_its_cookie(
    gate: Gate, console: Console
) -> None:
    browser = Browser(console, enrolled(gate, "dana"))
    kept = dict(browser.client.cookies)
    assert browser.post("/logout", browser.form("/")).status_code == 303
    thief = Browser(console)
    thief.client.cookies.update(kept)
    assert thief.get("/").status_code == 303


def test_a_link_from_a_chat_opens_the_page_although_the_cookie_is_strict(
    gate: Gate, console: Console
) -> None:
    request = ask(gate)
    browser = Browser(console)
    path = f"/requests/{request.id}"
    again = browser.get(path, **{"sec-fetch-site": "cross-site"})
    assert again.status_code == 200
    assert f'content="0; url={path}"' in again.text
    elsewhere = browser.get("/channels/x/y", **{"sec-fetch-site": "cross-site"})
    assert "refresh" not in elsewhere.text


def test_a_login_of_ones_own_can_stand_in_for_the_secret(gate: Gate) -> None:
    class Provider:
        def identify(self, said, address):
            if said.get("ticket") != "good":
                raise LoginError("The provider does not know you.")
            return Who("erik", "approver")

    console = made_console(gate, login=Provider())
    browser = Browser(console)
    assert "does not know you" in browser.post("/login", {"ticket": "bad"}).text
    assert browser.post("/login", {"ticket": "good"}).status_code == 303
    assert "erik" in browser.get("/").text


def test_a_secret_that_is_known_no_more_answers_nothing(gate: Gate, console: Console) -> None:
    request = ask(gate)
    enrolled(gate, "dana", "the right one")
    forged = Who("dana", "approver", gate.store.credential("dana", "another"))
    browser = Browser(console, forged)
    said = {"act": "approve", "revision": "0", "whole": "yes"}
    assert browser.post(f"/requests/{request.id}", said).headers["location"].startswith("/login")
    assert stands(gate, request).state == "pending"


def test_the_address_that_a_form_comes_from_is_the_consoles_own(console: Console) -> None:
    code = console.sessions.link(Who("dana"))
    browser = Browser(console)
    for origin in ("http://evil.test", "null", "https://127.0.0.1:7391", f"{HERE}.evil.test"):
        assert browser.post("/enter", {"code": code}, origin=origin).status_code == 403
    assert browser.client.post("/enter", data={"code": code}).status_code == 403
    assert browser.client.post("/enter", data={"code": code}, headers=HEAD).status_code == 303


def test_a_log_in_that_fails_is_an_entry_without_what_was_sent(
    gate: Gate, console: Console
) -> None:
    enrolled(gate, "dana", "a-secret")
    browser = Browser(console)
    browser.post("/login", {"person": "dana", "secret": "a-wrong-guess"})
    browser.post("/login", {"person": "my-secret-in-the-wrong-field", "secret": "dana"})
    browser.post("/enter", {"code": "a-code-of-long-ago"})
    assert [each["why"] for each in entries(gate, "approval")] == [
        "a log-in as dana from testclient with another secret",
        "a log-in as somebody from testclient with another secret",
        "a one-time link that is none by now",
    ]


def test_log_ins_that_fail_without_end_are_counted(gate: Gate, console: Console) -> None:
    browser = Browser(console)
    for _ in range(30):
        browser.post("/login", {"person": "dana", "secret": "a-wrong-guess"})
    assert len(entries(gate, "approval")) == 20


@pytest.mark.parametrize("path", ["/", "/nothing", "/runs", "/run?id=r-1", "/grants"])
def test_where_the_store_is_gone_nothing_of_this_machine_is_told(
    gate: Gate, console: Console, path: str
) -> None:
    browser = Browser(console, enrolled(gate, "dana"))
    gate.store.flush()
    gate.store.path.rename(gate.store.path.with_name("away.db"))
    for who in (browser, Browser(console)):
        answer = who.get(path)
        assert answer.status_code in (303, 404, 503)
        assert str(gate.store.path.parent) not in answer.text
    assert browser.get(path).status_code == 503
