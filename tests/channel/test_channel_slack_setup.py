"""How Slack is set up, and how it stands beside other channels, failures and limits."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from guarding import Asked
from saferun import Gate, config
from saferun.approval import Vote
from saferun.channel import channel
from saferun.channel.slack import Slack, shared
from saferun.errors import ConfigError
from slacking import SECRET, buttons, pressed, text_of
from slackworld import DANA, World, world


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world(monkeypatch) as found:
        yield found


def settings(text: str) -> config.Config:
    Path("saferun.toml").write_text(text, encoding="utf-8")
    return config.load()


TABLE = '[approval.slack]\nchannel = "C1"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"saferun.toml: there is no \[approval.slack\]"),
        (
            f'[people.dana]\nslack = "dana"\n{TABLE}',
            r"\[people.dana\] slack is 'dana'; write the ids",
        ),
        (f'[people.dana]\nslack = "T1/U1\\n"\n{TABLE}', "write the ids of team and user"),
        (
            f'[people.a]\nslack = "T1/U1"\n[people.b]\nslack = "T1/U1"\n{TABLE}',
            r"\[people.b\] and \[people.a\] have the same slack",
        ),
        (f'{TABLE}api_url = "http://slack.example.com/api/"\n', "write an https address"),
        (f'{TABLE}api_url = "file:///etc/passwd"\n', "write an https address"),
    ],
)
def test_a_mistake_in_the_configuration_is_told(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        channel("slack", settings(text))


def test_a_secret_cannot_stand_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="unknown field `token`"):
        settings(f'{TABLE}token = "xoxb-1"\n')


@pytest.mark.parametrize(
    ("people", "tokens", "why"),
    [
        ("", {"SLACK_BOT_TOKEN": "x"}, "nobody has a `slack`"),
        ('[people.dana]\nslack = "T1/U1"\n', {}, "the environment has no SLACK_BOT_TOKEN"),
        # Another process may be the one that hears the answers.
        ('[people.dana]\nslack = "T1/U1"\n', {"SLACK_BOT_TOKEN": "x"}, None),
    ],
)
def test_where_nobody_can_be_asked_it_says_why(
    people: str, tokens: dict[str, str], why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    for name, value in tokens.items():
        monkeypatch.setenv(name, value)
    found = Slack(settings(f'{people}{TABLE}app_token_env = "APP_TOKEN"\n')).unreachable()
    assert (found is None) is (why is None)
    assert why is None or why in str(found)


def test_where_no_answer_could_come_back_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "x")
    found = Slack(settings(f'[people.dana]\nslack = "T1/U1"\n{TABLE}')).unreachable()
    assert "says how answers come back" in str(found)


def test_a_process_that_does_not_hold_the_secret_takes_no_callback(
    at: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = at.call()
    card = at.slack.card()
    monkeypatch.delenv("TEST_SIGNING_SECRET")
    value = pressed(card)[0]["value"]
    body = urlencode({"payload": json.dumps(at.slack.clicked("approve", value, DANA))}).encode()
    # Not even what is signed with an empty secret.
    assert at.slack.post(body, secret="")[0] == 503
    assert at.ran == []
    monkeypatch.setenv("TEST_SIGNING_SECRET", SECRET)
    assert at.slack.post(body)[0] == 200
    assert call.ended().result == "refunded"


def test_the_gates_of_a_process_share_one_connection(at: World) -> None:
    assert Gate(policy=Path("policies/money.yaml"))._channels == (at.channel,)
    at.channel.close()
    assert shared(config.load()) is not at.channel


def test_naming_slack_imports_nothing_of_slack_before_somebody_is_asked() -> None:
    script = (
        "import sys; from saferun.channel import channel; from saferun import config;"
        "channel('slack', config.load()).unreachable(); print('slack_sdk' in sys.modules)"
    )
    settings(TABLE)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout == "False\n"


def test_what_another_channel_has_decided_stands_on_the_card(at: World) -> None:
    def yes(_: object) -> Vote:
        at.slack.card()
        return Vote(approved=True, by="dana")

    at.gate._brings = at.gate._channels = (*at.gate._channels, Asked(yes))
    assert at.call().ended().result == "refunded"
    card = at.slack.card("Executed: succeeded")
    assert "dana: yes (test)" in text_of(card)
    assert buttons(card) == ["open"]


def test_while_slack_is_down_another_channel_decides(at: World) -> None:
    at.slack.down = True
    dana = Asked(lambda _: Vote(approved=True, by="dana"))
    at.gate._brings = at.gate._channels = (*at.gate._channels, dana)
    assert at.call().ended().result == "refunded"
    assert len(at.ran) == 1


def test_while_slack_is_down_nobody_has_said_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch) as at:
        at.slack.down = True
        text = Path("saferun.toml").read_text(encoding="utf-8")
        Path("saferun.toml").write_text(
            text.replace('default = "slack"', 'default = "slack"\ntimeout = 0.5'), encoding="utf-8"
        )
        gate = Gate(policy=Path("policies/money.yaml"), settings=config.load())
        from saferun import Call

        args = {"order_id": "A-17", "amount": 25_000}
        decision = gate.check(Call(tool="refund", args=args))
        gate._channels[0].close()
        assert (decision.verdict, decision.starts) == ("deny", False)
        assert decision.reasons[0].error == "ApprovalExpired"


def test_what_slack_says_is_too_fast_is_posted_later(at: World) -> None:
    at.slack.hurried = True
    call = at.call()
    at.slack.click(at.slack.card(), "approve", DANA)
    assert call.ended().result == "refunded"
    assert ("chat.postMessage", "ratelimited") in at.slack.refused


def test_a_call_that_fails_after_its_approval_says_so_on_the_card(at: World) -> None:
    def broken(order_id: str, amount: int) -> None:
        raise RuntimeError("the bank is closed")

    from saferun import guard

    at.refund = guard(broken, name="refund", gate=at.gate)
    call = at.call()
    at.slack.click(at.slack.card(), "approve", DANA)
    assert isinstance(call.ended().error, RuntimeError)
    assert "the bank is closed" not in text_of(at.slack.card("Executed: failed"))


def test_no_token_and_no_secret_stands_in_the_ledger_or_on_a_card(at: World) -> None:
    call = at.call()
    at.slack.click(at.slack.card(), "approve", DANA)
    call.ended()
    at.slack.card("Executed: succeeded")
    said = f"{at.slack.messages} {at.entries()}"
    for secret in ("xoxb-test-token", "xapp-test-token", "signing-secret-of-the-test"):
        assert secret not in said
