"""The way to the mail server: encrypted or not at all, unless that was said."""

import contextlib
import gc
import warnings
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from answering import settings
from mailroom import MailRoom, mail_room
from saferun import channel
from saferun.channel.email import Email, smtp
from saferun.channel.email.smtp import EmailError, hand_over
from saferun.config import EmailTable
from saferun.errors import ConfigError
from vouching import certificate, serving


def letter(to: str = "dana@example.com") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "saferun@example.com", to, "x"
    made.set_content("x")
    return made


def table(room: MailRoom, tls: str | None, **about) -> smtp.Server:
    return smtp.server(
        EmailTable(host="localhost", sender="a@b.example", port=room.port, tls=tls, **about), ""
    )


def handed(to: smtp.Server, *letters: EmailMessage) -> list[EmailMessage]:
    taken: list[EmailMessage] = []
    hand_over(to, letters or (letter(),), taken.append)
    return taken


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate(tmp_path, "localhost")


@pytest.fixture
def starttls(pem: Path) -> Iterator[MailRoom]:
    with mail_room(tls_context=serving(pem), require_starttls=True) as found:
        yield found


@pytest.fixture
def implicit(pem: Path) -> Iterator[MailRoom]:
    with mail_room(serving(pem)) as found:
        yield found


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_that_is_vouched_for_gets_the_letter(request, monkeypatch, pem, tls) -> None:
    room = request.getfixturevalue(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert len(handed(table(room, tls))) == 1
    assert room.next().to == "dana@example.com"


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_that_nobody_vouches_for_gets_nothing(request, tls) -> None:
    room = request.getfixturevalue(tls)
    with pytest.raises(EmailError, match="localhost"):
        handed(table(room, tls))
    assert room.letters.empty()


def test_a_server_that_cannot_encrypt_gets_nothing_and_no_password(monkeypatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "hush")
    with mail_room(auth_require_tls=False) as room:
        with pytest.raises(EmailError, match="localhost does not take mail"):
            handed(table(room, "starttls", user="bot", password_env="MAIL_PASSWORD"))
        assert room.letters.empty()
        assert room.logins == []


def test_the_password_is_that_of_the_environment(monkeypatch, starttls, pem) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    to = table(starttls, "starttls", user="bot", password_env="MAIL_PASSWORD")
    monkeypatch.setenv("MAIL_PASSWORD", "wrong")
    with pytest.raises(EmailError, match="does not take mail") as raised:
        handed(to)
    assert "wrong" not in str(raised.value)
    monkeypatch.setenv("MAIL_PASSWORD", "hush")
    assert len(handed(to)) == 1
    # A wrong one is tried in each of the ways that the server offers.
    assert list(dict.fromkeys(starttls.logins)) == [("bot", "wrong"), ("bot", "hush")]


def test_nothing_of_an_encrypted_connection_stays_open(monkeypatch, starttls, pem) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setattr(smtp, "ANSWERS_IN", 0.5)
    starttls.mute = True
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        for password in ("wrong", "hush"):
            monkeypatch.setenv("MAIL_PASSWORD", password)
            with contextlib.suppress(EmailError):
                handed(table(starttls, "starttls", user="bot", password_env="MAIL_PASSWORD"))
        gc.collect()
    assert [each.message for each in left if each.category is ResourceWarning] == []


def test_one_recipient_that_is_refused_costs_the_others_nothing() -> None:
    with mail_room() as room:
        room.refuses["lee@example.com"] = 1
        taken: list[EmailMessage] = []
        letters = [letter("lee@example.com"), letter("dana@example.com")]
        with pytest.raises(EmailError, match=r"lee@example\.com was not taken"):
            hand_over(table(room, None), letters, taken.append)
        assert [each["To"] for each in taken] == ["dana@example.com"]


def test_where_nobody_listens_the_error_names_the_host() -> None:
    with mail_room() as room:
        pass
    with pytest.raises(EmailError, match="localhost"):
        handed(table(room, None))


def test_plain_mail_is_for_this_machine_unless_it_is_said() -> None:
    def chosen(host: str, tls: str | None = None) -> tuple[str, int]:
        made = smtp.server(EmailTable(host=host, sender="a@b.example", tls=tls), "")
        return made.tls, made.port

    assert chosen("127.0.0.1") == ("none", 25)
    assert chosen("localhost") == ("none", 25)
    assert chosen("mail.example.com") == ("starttls", 587)
    assert chosen("mail.example.com", "implicit") == ("implicit", 465)
    assert chosen("mail.example.com", "none") == ("none", 25)


BASE = '[approval.email]\nhost = "mail.example.com"\nfrom = "saferun@example.com"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"needs a table \[approval.email\]"),
        (BASE.replace("saferun@example.com", "saferun"), r"\[approval.email\] from is 'saferun'"),
        (BASE.replace("saferun@example.com", "a@b\\r\\nBcc: c@d"), "no e-mail address"),
        (BASE + 'tls = "none"\nuser = "bot"\npassword_env = "P"\n', "sent for all to read"),
        (BASE + 'user = "bot"\n', "`user` and `password_env` together"),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_the_configuration(text, why) -> None:
    with pytest.raises(ConfigError, match=why):
        Email(settings(text))


@pytest.mark.parametrize("address", ["dana", "@", "a@b\\nBcc: x@y", "a b@c", "<a@b", ""])
def test_an_address_that_is_none_is_an_error_that_names_the_person(address) -> None:
    with pytest.raises(ConfigError, match=r"\[people.dana\] email"):
        Email(settings(BASE, f'[people.dana]\nemail = "{address}"\n'))


def test_two_people_of_one_mailbox_would_have_the_codes_of_both() -> None:
    people = (
        '[people.dana]\nemail = "ops@example.com"\n'
        '[people.erin]\nemail = "Erin <OPS@Example.com>"\n'
    )
    with pytest.raises(
        ConfigError, match=r"\[people.erin\] and \[people.dana\] have the same email"
    ):
        Email(settings(BASE, people))


def test_where_links_would_lead_nowhere_nobody_can_be_asked() -> None:
    assert "[approval] url" in Email(settings(BASE)).unreachable()


def test_where_nobody_has_an_address_nobody_can_be_asked() -> None:
    chosen = settings(f'[approval]\nurl = "https://s.example"\n{BASE}', "[people.dana]\n")
    assert "has an e-mail address" in Email(chosen).unreachable()


def test_where_the_password_is_not_set_nobody_can_be_asked() -> None:
    more = 'user = "bot"\npassword_env = "MAIL_PASSWORD"\n'
    chosen = settings(f'[approval]\nurl = "https://s.example"\n{BASE}{more}')
    assert "MAIL_PASSWORD" in Email(chosen).unreachable()


def test_without_the_extra_nobody_can_be_asked(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    chosen = settings(f'[approval]\nurl = "https://s.example"\n{BASE}')
    found = channel.channel("email", chosen)
    assert found.unreachable() == "e-mail takes the extra: pip install 'saferun-sdk[email]'"
