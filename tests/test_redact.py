"""Redaction: no secret is ever written, everything else is, and nobody can make it slow."""

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from guarding import approve, enforcing, entries
from saferun import Call, Denied, Gate, Outcome, guard
from saferun.approval import Question, Vote
from saferun.redact import encoded, placeholder, suspicious, text, value

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def luhn(digits: str) -> str:
    """The digits with the check digit that makes them a card number."""
    doubled = [
        sum(divmod(2 * int(each), 10)) if at % 2 == 0 else int(each)
        for at, each in enumerate(reversed(digits))
    ]
    return digits + str(-sum(doubled) % 10)


def alnum(least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(ALNUM, min_size=least, max_size=most or least + 20)


cards = (
    st.text("0123456789", min_size=12, max_size=18)
    .map(luhn)
    .filter(lambda digits: len(set(digits)) > 1)
)


def grouped(digits: str, by: str) -> str:
    return by.join(digits[at : at + 4] for at in range(0, len(digits), 4))


tokens = st.one_of(
    st.tuples(st.sampled_from(["AKIA", "ASIA"]), st.text(ALNUM[:26], min_size=16, max_size=16)),
    st.tuples(st.sampled_from(["ghp_", "gho_", "ghs_"]), alnum(36)),
    st.tuples(st.just("github_pat_"), alnum(40)),
    st.tuples(st.just("glpat-"), alnum(20)),
    st.tuples(st.sampled_from(["xoxb-", "xoxp-", "xapp-1-"]), alnum(24)),
    st.tuples(
        st.sampled_from(["sk-", "sk-proj-", "sk-ant-api03-", "sk_live_", "rk_test_"]), alnum(24)
    ),
    st.tuples(st.just("AIza"), alnum(35)),
    st.tuples(st.sampled_from(["hf_", "npm_", "whsec_", "SG.", "hvs."]), alnum(24)),
    st.tuples(st.just("eyJ"), alnum(20), st.just("."), alnum(20), st.just("."), alnum(20)),
).map("".join)

pems = st.tuples(st.sampled_from(["", "RSA ", "EC ", "OPENSSH "]), alnum(64, 400)).map(
    lambda made: (
        f"-----BEGIN {made[0]}PRIVATE KEY-----\n{made[1]}\n-----END {made[0]}PRIVATE KEY-----"
    )
)

secrets = st.one_of(
    tokens,
    pems,
    cards,
    cards.map(lambda digits: grouped(digits, " ")),
    cards.map(lambda digits: grouped(digits, "-")),
)

# What may stand on either side without being part of the secret.
around = st.sampled_from(
    ["", " ", "\n", '"', "'", "(", ")", ",", ";", " is ", ": ", "=", "ü", "<", ">", "|", "\t", "."]
)

passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="\"'`\\<>@/?#:&;,"),
    min_size=6,
    max_size=30,
).filter(
    lambda made: (
        not made.lower().startswith(
            (
                "str",
                "int",
                "bool",
                "bytes",
                "none",
                "null",
                "true",
                "false",
                "optional",
                "[redacted",
            )
        )
    )
)

names = st.sampled_from(
    [
        "password",
        "db_password",
        "dbPassword",
        "PGPASSWORD",
        "passwd",
        "secret",
        "client_secret",
        "clientSecret",
        "api_key",
        "x-api-key",
        "apiKey",
        "access_token",
        "authToken",
        "token",
        "Authorization",
        "cookie",
        "set-cookie",
        "private_key",
        "aws_secret_access_key",
        "cvv",
        "passphrase",
        "credentials",
        "passwords",
        "new_password",
        "password2",
        "AccountKey",
    ]
)


@given(secrets, around, around)
def test_no_secret_stays_in_a_text(secret, before, after):
    assert secret not in text(before + secret + after)


@given(secrets, st.text(), st.text())
def test_no_secret_stays_in_any_text_that_it_is_set_off_in(secret, before, after):
    assert secret not in text(f"{before} | {secret} | {after}")


@given(secrets)
def test_no_secret_stays_in_any_place_of_a_value(secret):
    held = {"a": [{"b": secret}, secret], secret: 1, "c": {"d": {secret: [secret]}}}
    assert secret not in repr(value(held))
    data = msgspec.json.encode(held)
    assert msgspec.json.encode(secret)[1:-1] not in encoded(data)


@given(names, st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1))
def test_what_a_field_is_named_for_is_replaced_whatever_it_holds(name, one, many):
    held = {"about": {name: one}, "list": [{name: many}, {name: {"value": one}}, {name: 12345}]}
    assert value(held) == {
        "about": {name: placeholder("secret")},
        "list": [{name: placeholder("secret")}] * 3,
    }


@pytest.mark.parametrize(
    "field",
    [
        "max_tokens",
        "prompt_tokens",
        "tokens",
        "token_count",
        "key",
        "monkey",
        "primary_key",
        "keyboard",
        "secretary",
        "passenger",
        "author",
        "id",
    ],
)
def test_fields_that_only_sound_like_secrets_are_kept(field):
    assert value({field: "512"}) == {field: "512"}


@pytest.mark.parametrize("item", [True, False, None, ""])
def test_a_secret_s_field_that_holds_none_is_kept(item):
    assert value({"has_secret": item, "password": item}) == {"has_secret": item, "password": item}


@given(
    names.filter(lambda name: name != "cookie"),
    passwords,
    st.sampled_from(
        [
            "{}={}",
            "{}: {}",
            "{} = '{}'",
            '"{}": "{}"',
            '\\"{}\\": \\"{}\\"',
            "{} => {}",
            '{}="{} with spaces"',
            "<{0}>{1}</{0}>",
            "export {}={}",
            "env['{}'] = '{}'",
        ]
    ),
)
def test_what_is_assigned_to_a_secret_s_name_is_replaced_in_texts(name, password, written):
    assert password not in text(f"before {written.format(name, password)} after")


@given(passwords, st.sampled_from(["postgres", "https", "amqp", "redis"]))
def test_a_password_in_a_url_is_replaced(password, scheme):
    assume("://" not in password)
    cleaned = text(f"{scheme}://user:{password}@db.internal:5432/main")
    assert password not in cleaned
    assert cleaned.endswith("@db.internal:5432/main")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("see http://localhost:8080/@vite/client", "http://localhost:8080/@vite/client"),
        ("git clone ssh://git@github.com/a/b", "ssh://git@github.com/a/b"),
        ("a basic understanding of the bearer bonds", "a basic understanding of the bearer bonds"),
        ("def f(token: str, password: Optional[str] = None)", "token: str, password: Optional"),
        ("npm_config_user_agent_string_value", "npm_config_user_agent_string_value"),
        ("risk-management-overview-2026-final", "risk-management-overview-2026-final"),
        ("order 4111111111111112", "4111111111111112"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("10 20 30 40 50 60 70 80", "10 20 30 40 50 60 70 80"),
        ("1111111111111111", "1111111111111111"),
        ("maria@example.com", "maria@example.com"),
        ("2026-03-14T12:00:00+00:00", "2026-03-14T12:00:00+00:00"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
    ],
)
def test_what_is_no_secret_is_kept(said, kept):
    assert kept in text(said)


@given(st.text("0123456789", min_size=13, max_size=19), st.sampled_from(["", " ", "-"]))
def test_a_number_that_fails_its_check_digit_is_no_card(digits, by):
    assume(luhn(digits[:-1]) != digits)
    order = grouped(digits, by)
    if by:
        # One of the windows over its groups may be a card by chance.
        assume(placeholder("card number") not in text(order))
    assert text(f"order {order}, please") == f"order {order}, please"


@given(cards, st.sampled_from([" 12/27", " 12/27 123", ".", ", thanks", " 12.50", " 4111 and"]))
def test_a_card_is_found_whatever_follows_it(digits, after):
    said = text(f"my card {grouped(digits, ' ')}{after}")
    assert grouped(digits, " ") not in said


@given(cards)
def test_a_card_is_found_as_a_number_too(digits):
    assume(digits[0] != "0")
    assert value([int(digits), -int(digits)]) == [placeholder("card number")] * 2
    if float(digits) == int(digits) and int(digits) < 10**15:
        assert value(float(digits)) == placeholder("card number")


@pytest.mark.parametrize("number", [4111111111111112, 1, -5, 0.5, 2**70, True, 1e300])
def test_other_numbers_are_kept(number):
    assert value([number]) == [number]


# The quick look and the close one.

fragments = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "password",
            "tOKEN",
            "secret",
            "key",
            "api",
            "_",
            "-",
            "=",
            ":",
            " ",
            "://",
            "@",
            "sk-",
            "AKIA",
            "xoxb-",
            "eyJ",
            ".",
            "bearer ",
            "Basic ",
            "-----BEGIN ",
            "PRIVATE KEY-----",
            "4111111111111111",
            "4111",
            " 1111",
            "K",
            "ſ",
            "４１１１",
            "\u0130",
            "hooks.slack.com/",
            '"',
            "\\",
            "\n",
            "<",
            ">",
            "cvv",
            "jwt",
            "pwd",
            "Cookie",
            "a" * 16,
            "A1" * 9,
        ]
    ),
    tokens,
)
texts = st.lists(fragments, max_size=8).map("".join)
plains = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | cards.map(int)
    | cards.map(float),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=settings.default.max_examples * 3)
@given(plains)
def test_what_the_quick_look_passes_the_close_one_would_not_change(plain):
    data = msgspec.json.encode(plain, order="deterministic")
    if not suspicious(data):
        assert msgspec.json.encode(value(plain), order="deterministic") == data


@given(plains)
def test_what_holds_no_secret_comes_back_as_the_same_bytes(plain):
    data = msgspec.json.encode(plain, order="deterministic")
    if value(plain) == plain:
        assert encoded(data) == data
    else:
        assert msgspec.json.decode(encoded(data)) == value(msgspec.json.decode(data))


@given(texts)
def test_a_value_is_redacted_as_its_texts_are(said):
    assert value([said]) == [text(said)]


# Paths that a policy names.

ROWS = {"card": {"number": 1, "kind": "visa"}, "rows": [{"a": 1, "b": 2}, {"a": 3}], "n": 5}
GONE = placeholder("by policy")


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (("n",), ROWS | {"n": GONE}),
        (("card", "number"), ROWS | {"card": {"number": GONE, "kind": "visa"}}),
        (("card", "*"), ROWS | {"card": {"number": GONE, "kind": GONE}}),
        (("rows", "a"), ROWS | {"rows": [{"a": GONE, "b": 2}, {"a": GONE}]}),
        (("rows", "*", "a"), ROWS | {"rows": [{"a": GONE, "b": 2}, {"a": GONE}]}),
        (("rows", "1"), ROWS | {"rows": [{"a": 1, "b": 2}, GONE]}),
        (("rows", "0", "b"), ROWS | {"rows": [{"a": 1, "b": GONE}, {"a": 3}]}),
        (("*",), {"card": GONE, "rows": GONE, "n": GONE}),
        ((), GONE),
        (("missing", "x"), ROWS),
        (("n", "x"), ROWS),
    ],
)
def test_what_lies_at_a_path_is_replaced_and_nothing_else(path, left):
    before = msgspec.json.encode(ROWS)
    assert value(ROWS, [path]) == left
    assert msgspec.json.encode(ROWS) == before


def test_a_result_that_is_nested_too_deeply_to_be_searched_is_left_out():
    secret = "AKIA" + "A" * 16
    data = b"[" * 900 + msgspec.json.encode(secret) + b"]" * 900
    assert secret.encode() not in encoded(data)


# Time in proportion to the text.

HOSTILE = {
    "token prefixes": "sk-",
    "jwt beginnings": "eyJ-",
    "jwt parts": "eyJaaaaaaaa.",
    "urls without an end": "://a:b",
    "ats": "://a:@@@@",
    "pem beginnings": "-----BEGIN PRIVATE KEY-----",
    "dashes": "-----BEGIN ",
    "assignments": "password=",
    "open quotes": 'password="',
    "backslashes": "password=\\\\\\\\\"\\'",
    "separators": "password:a,b;c&",
    "camels": "aApiKey",
    "names": "token key secret ",
    "digits": "4",
    "groups": "4111 ",
    "pairs": "11 ",
    "spread digits": "1   ",
    "bearers": "bearer aA1",
    "white space": "password    ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_costs_no_more_than_its_length(piece):
    def cost(size: int) -> float:
        said = piece * (size // len(piece)) + "=:>@ password key eyj sk- :// bearer 4"
        costs = []
        for _ in range(3):
            began = time.process_time()
            text(said)
            costs.append(time.process_time() - began)
        return min(costs)

    # Ten times the text costs ten times as much, give or take; a pattern that reads to the end
    # from every place would cost a hundred times as much.
    assert cost(200_000) <= 40 * max(cost(20_000), 1e-4)


# Through the gate, down to the bytes on disk.

POLICY = """
version: 1
name: planted
default: allow
tools:
  asked:
    effect: write
    args: {note: {type: string}}
    rules: [{id: always, ask: true, args: {note: {type: string}}, message: It asks.}]
  named: {effect: write, args: {pin: {type: string}}, redact: [args.pin, result.pin]}
  closed: {effect: write, args: {}}
"""

PLANTED = {
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + "aB3dE6gH9j" * 4,
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "openai": "sk-proj-" + "Zx9Yw8Vu7T" * 4,
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU",
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj",
    "card": "4111 1111 1111 1111",
    "dashed": "5500-0055-5555-5559",
    "bare": "378282246310005",
    "url": "hunter2-in-a-url",
    "field": "correct horse battery staple",
}
SAID = (
    f"{PLANTED['aws']}, {PLANTED['github']} {PLANTED['slack']}; {PLANTED['openai']}\n"
    f"{PLANTED['jwt']} -----BEGIN PRIVATE KEY-----\n{PLANTED['pem']}\n-----END PRIVATE KEY-----\n"
    f"pay with {PLANTED['card']} or {PLANTED['dashed']} ({PLANTED['bare']}). "
    f'https://me:{PLANTED["url"]}@host/ password: "{PLANTED["field"]}"'
)


def on_disk(folder: Path) -> bytes:
    """All bytes of the store but its keys."""
    files = [file for file in folder.rglob("*") if file.is_file() and "keys" not in file.parts]
    assert any(file.name.endswith(".db") for file in files)
    return b"".join(file.read_bytes() for file in files)


def leaks(gate: Gate) -> list[str]:
    gate.store.flush()
    held = on_disk(gate.store.path.parent)
    assert len(held) > 4_000
    return [kind for kind, secret in PLANTED.items() if secret.encode() in held]


def planted() -> dict[str, Any]:
    return {
        "text": SAID,
        "nested": [{"deep": [SAID]}],
        "password": PLANTED["field"],
        "number": int(PLANTED["bare"]),
        **{PLANTED[kind]: 1 for kind in ("aws", "openai", "jwt", "card")},
    }


def test_no_secret_in_arguments_or_results_reaches_the_disk():
    gate = enforcing(POLICY)
    guard(lambda **named: named, name="echo", gate=gate)(**planted())
    assert leaks(gate) == []


def test_no_secret_in_a_large_argument_or_result_reaches_the_disk():
    gate = enforcing(POLICY)
    long = SAID + "filling " * 10_000
    guard(lambda note: [note] * 3, name="echo", gate=gate)([long])
    assert leaks(gate) == []


def test_no_secret_in_an_error_reaches_the_disk():
    gate = enforcing(POLICY)

    def fail(x):
        raise RuntimeError("x" * 1_900 + SAID)

    with pytest.raises(RuntimeError):
        guard(fail, gate=gate)(1)
    assert leaks(gate) == []


@pytest.mark.parametrize("size", [1, 3, 7])
def test_no_secret_in_the_pieces_of_a_stream_reaches_the_disk(size):
    gate = enforcing(POLICY)

    def stream():
        for at in range(0, len(SAID), size):
            yield SAID[at : at + size]

    assert "".join(guard(stream, gate=gate)()) == SAID
    assert leaks(gate) == []
    gate.store.flush()
    assert b"pay with [redacted: card number] or" in on_disk(gate.store.path.parent)


def test_no_secret_that_a_run_records_reaches_the_disk():
    gate = enforcing(POLICY)
    user = {"id": "maria", "password": PLANTED["field"], "note": SAID}
    about = {"prompt": SAID, "plan": [SAID], "context": {"env": SAID}, "user": user}
    with gate.run(agent="support", **about) as run:
        run.model({"content": SAID, "tool_calls": [planted()]}, model="m")
        run.user(SAID)
        guard(lambda x: x, name="echo", gate=gate)(1)
    assert leaks(gate) == []


def test_no_secret_in_a_question_or_its_answer_reaches_the_disk():
    def answer(question: Question) -> Vote:
        assert not any(secret in repr(question.args) for secret in PLANTED.values())
        return Vote(approved=False, by=SAID, reason=SAID)

    gate = enforcing(POLICY, answer, timeout=0.5)
    with pytest.raises(Denied):
        guard(lambda note: note, name="asked", gate=gate)(SAID)
    assert leaks(gate) == []


def test_what_a_policy_redacts_reaches_the_tool_and_not_the_disk():
    gate = enforcing(POLICY)
    got = guard(lambda pin: {"pin": pin}, name="named", gate=gate)("0000-plain-9999")
    assert got == {"pin": "0000-plain-9999"}
    gate.store.flush()
    assert b"0000-plain-9999" not in on_disk(gate.store.path.parent)


@pytest.mark.parametrize("tool", ["echo", "closed"])
def test_no_secret_in_the_name_of_an_argument_reaches_the_disk(tool):
    gate = enforcing(POLICY)
    safe = guard(lambda **named: named, name=tool, gate=gate)
    for worth in (1, object(), float("nan"), {PLANTED["github"]: float("nan")}):
        for kind in ("aws", "github", "openai", "jwt", "card"):
            with contextlib.suppress(Denied):
                safe(**{PLANTED[kind]: worth})
    assert leaks(gate) == []


def test_no_secret_in_a_call_id_reaches_the_disk():
    gate = enforcing(POLICY)
    for kind in ("aws", "github", "openai", "card"):
        decision = gate.check(Call(tool="echo", args={}, call_id=PLANTED[kind]))
        gate.settle(decision, Outcome(status="ok"))
    assert leaks(gate) == []


def test_nobody_approves_what_is_hidden_from_them():
    gate = enforcing(POLICY, approve, timeout=2)
    with pytest.raises(Denied):
        guard(lambda note: note, name="asked", gate=gate)(SAID)
    assert "note cannot be shown as it is" in entries(gate, "approval")[1]["why"]


def test_secrets_reach_the_tool_itself():
    gate = enforcing(POLICY)
    assert guard(lambda note: note, name="echo", gate=gate)(SAID) == SAID

    async def echo(note):
        return note

    assert asyncio.run(guard(echo, gate=gate)(SAID)) == SAID


def test_random_bytes_of_a_token_are_found_in_long_texts():
    draw = random.Random(5)
    for _ in range(50):
        secret = "sk-" + "".join(draw.choices(ALNUM, k=40))
        assert secret not in text("filling " * draw.randrange(500) + secret + " end" * 50)


def test_what_policy_has_redacted_is_not_redacted_once_more() -> None:
    said = {"password": placeholder("by policy"), "token": "[redacted: not so]"}
    assert value(said) == {"password": "[redacted: by policy]", "token": "[redacted: secret]"}
