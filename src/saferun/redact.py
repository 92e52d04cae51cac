"""Redaction: what must never be kept is replaced before anything is written or sent.

Two things are replaced by `[redacted: KIND]`: the values at the paths that a policy names
(`args.card_number`), and secrets that are known by their shape or by the name of the field
they stand in, wherever they appear. A redacted value has no opening and no hash: a hash of
a guessable value is the value.

The common call holds no secret, so the work is split: one scan of the encoded bytes for
anything that a secret would have to contain, and only on a hit the walk that finds it.

Whoever writes the text may mean to cost us time. So no pattern here can begin at many
places of one long run and read each time to its end, and all take time in proportion to
the text. They read ASCII alone, as the scan does.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

# Tokens that say by their first letters what they are; 16 characters or more follow.

_RUNS = {
    **dict.fromkeys(("AKIA", "ASIA"), "AWS key"),
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), "GitHub token"),
    **dict.fromkeys(("hf_", "npm_", "gsk_", "shpat_", "shpss_", "dop_v1_"), "API key"),
}
"""One run of letters and digits follows, unlike in names such as `npm_config_user_agent`."""

_WORDS = {
    "github_pat_": "GitHub token",
    **dict.fromkeys(("glpat-", "gldt-", "glrt-", "glsoat-"), "GitLab token"),
    **dict.fromkeys(("xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-"), "Slack token"),
    **dict.fromkeys(("xoxr-", "xoxs-", "xapp-"), "Slack token"),
    **dict.fromkeys(("AIza", "GOCSPX-", "ya29."), "Google key"),
    **dict.fromkeys(("sk-", "sk_", "rk_", "pk_live_", "pk_test_"), "API key"),
    **dict.fromkeys(("whsec_", "pypi-AgE", "dckr_pat_", "lin_api_", "SG.", "hvs."), "API key"),
}

_TOKEN_MARKERS = tuple(prefix.lower() for prefix in (*_RUNS, *_WORDS))


def _any_of(prefixes: Iterable[str]) -> str:
    # Words end like the short ones (`risk-`), so a token has to begin there. Looked at after
    # the fact: a pattern that begins with a letter is searched for ten times as fast.
    return "|".join(
        re.escape(each) + (rf"(?<![A-Za-z0-9]{re.escape(each)})" if len(each) < 4 else "")
        for each in prefixes
    )


_TOKEN = re.compile(
    rf"({_any_of(_RUNS)})[A-Za-z0-9]{{16,}}|({_any_of(_WORDS)})[\w+=-]{{16,}}(?:\.[\w+=-]+)*",
    re.ASCII,
)

# Secrets that are known by what stands around them. A first group is kept.

_EDGE = "-{{4,5}} ?{} [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)? ?-{{4,5}}"
_BEFORE_COLON = r"[^\s/?#@:\"'<>]"
_AFTER_COLON = r"(?:[^\s:\"'<>]|:(?!//))"

_SHAPES: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (marker, kind, re.compile(pattern, re.ASCII | re.DOTALL))
    for marker, kind, pattern in (
        (
            "private key",
            "private key",
            rf"{_EDGE.format('BEGIN')}.*?(?:{_EDGE.format('END')}|\Z)",
        ),
        (
            "eyj",
            "token",
            # A JWT. The look ahead is taken once a run, and makes sure that the first `eyJ`
            # with something behind it is a match.
            r"(?<![\w-])(?=[\w-]*+\.[\w-]{8})([\w-]*?)eyJ[\w-]{8,}\.[\w.-]+",
        ),
        *(
            (
                scheme,
                "token",
                # Any word in lower case may follow in a sentence.
                rf"(?i:(?<={scheme}))(?![A-Za-z]?[a-z]++(?![\w.~+/=-]))[\w.~+/=-]{{12,}}",
            )
            for scheme in ("bearer ", "basic ")
        ),
        ("hooks.slack.com/", "webhook", r"(?<=hooks\.slack\.com/)[\w/+=-]{16,}"),
        (
            "://",
            "password",
            # Up to the last `@`, since people write passwords as they are. What looks like a
            # port is none, and a long name before the `@` is a token.
            (
                rf"(?<=://)(?:{_BEFORE_COLON}*:(?![0-9]{{1,5}}(?:[/?#\s]|\Z)){_AFTER_COLON}*"
                rf"|{_BEFORE_COLON}{{16,}})(?=@)"
            ),
        ),
    )
)

# Secrets that are known by the name they are given.

_NAME_MARKERS = (
    *("passw", "passphrase", "passcode", "pwd", "secret", "token", "key", "authoriz"),
    *("credential", "cookie", "cvv", "cvc", "jwt"),
)
"""In lower case. Every name that `_NAME` finds holds one."""

_NAME = (
    # At the beginning of a word, also of one within a name: `dbPassword`, `x-api-key`.
    r"(?:(?<![A-Za-z0-9])|(?<=[a-z0-9])(?=[A-Z]))"
    r"(?i:[a-z0-9]{0,24}passw(?:or)?d|passphrase|passcode|pwd|(?:client|app|shared)?secret"
    r"|(?:access|refresh|auth|api|id|session|bearer)?token|authorization|credentials?|cookie"
    r"|(?:api|access|secret|private|account|encryption|signing|master|shared|ssh|auth)[_. -]?key"
    r"|jwt|cvv|cvc)"
    # Many tokens are a count of words, and no secret.
    r"(?i:[_-]?(?:value|text|string|hash|confirm(?:ation)?|[0-9]{1,2})|(?<!token)s)?"
)
_FIELD = re.compile(rf"{_NAME}\Z", re.ASCII)
_ASSIGNED = re.compile(
    rf"({_NAME}[\\\"'\])]{{0,8}}\s{{0,4}}(?:[=:]{{1,2}}>?|>)\s{{0,4}}"
    r"(?i:(?:bearer|basic|token|digest)\s{1,4})?)"
    # In quotes up to their end, with as many backslashes as the first has; else up to the end
    # of the word, or what looks like the next field.
    r"(?:(?P<quote>\\{0,4}[\"'`])(?!\[redacted)(?:(?!(?<!\\)(?P=quote))[^\n])+"
    r"|(?!\[redacted|(?i:str|string|int|bool|bytes|none|null|true|false|optional)\b)"
    r"(?:[^\s\"'`<&;,]|[&;,](?![\w.-]*+[=:]|[\s\"']|\Z)){3,})",
    re.ASCII,
)

_SEPARATORS = frozenset("=:>")

_MARKERS = (*_NAME_MARKERS, *(marker for marker, _, _ in _SHAPES if "key" not in marker))

# Payment cards: runs of groups of digits, less the fraction and the whole part of a decimal.
_DIGITS = re.compile(r"[0-9](?<![0-9][0-9])(?<![0-9]\.[0-9])(?:[ -]{0,3}[0-9]){12,}")
_GROUP = re.compile(r"[0-9]+")
_FRACTION = re.compile(r"\.[0-9]")
_DOUBLED = str.maketrans("0123456789", "0246813579")

# For the scan: what tokens are made of as `a`, digits as `0`.
_TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.+/="
_AS_RUNS = bytes(ord("a") if byte in _TOKEN_BYTES else ord(" ") for byte in range(256))
_RUN = b"a" * 16
_AS_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(".") for byte in range(256))
_CARD = b"0" * 13


def placeholder(kind: str) -> str:
    return f"[redacted: {kind}]"


def suspicious(encoded: bytes) -> bool:
    """Whether encoded JSON could hold a secret: False is certain, True means look closer.

    Written for the common call, which holds none: one automaton reads it once for all that a
    secret has to contain, and only what it stops at is looked at again, marker by marker.
    """
    low = encoded.lower().decode()
    if not _anything().is_valid(low):
        return False
    for marker in _MARKERS:  # a plain loop: `any` over a generator takes twice as long
        if marker in low:
            return True
    if _RUN in encoded.translate(_AS_RUNS):
        for marker in _TOKEN_MARKERS:
            if marker in low:
                return True
    return _CARD in encoded.translate(_AS_DIGITS, b" -")


@functools.cache
def _anything() -> "Draft202012Validator":
    """A marker, a run as long as a token, or the digits of a card: linear in the text."""
    # The matcher of the policies' schemas is the fastest at hand, and importing saferun shall
    # not wait for it.
    from jsonschema_rs import Draft202012Validator, RegexOptions

    markers = "|".join(map(re.escape, _MARKERS)).replace("\\ ", " ")
    return Draft202012Validator(
        {"pattern": rf"{markers}|[a-z0-9_\-.+/=]{{16}}|[0-9](?:[ -]*[0-9]){{12}}"},
        pattern_options=RegexOptions(),
    )


def encoded(data: bytes, paths: Sequence[tuple[str, ...]] = ()) -> bytes:
    """Encoded JSON without secrets and without what lies at `paths`.

    A path is a tuple of keys; `*` stands for any key or item. The same bytes come back
    where there is nothing to replace, so the common case encodes nothing again. What is
    nested too deeply to be looked through is left out whole.
    """
    if not paths and not suspicious(data):
        return data
    try:
        return msgspec.json.encode(value(msgspec.json.decode(data), paths), order="deterministic")
    except RecursionError:
        return msgspec.json.encode({"$omitted": "nested too deeply to be redacted"})


def value(plain: Any, paths: Sequence[tuple[str, ...]] = ()) -> Any:
    """A plain value without secrets and without what lies at `paths`; the given one is kept."""
    return _clean(blanked(plain, paths))


def blanked(plain: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    """A plain value without what lies at `paths`; the given one is kept."""
    for path in paths:
        plain = _blank(plain, path)
    return plain


def text(value: str) -> str:
    """One string without the secrets in it."""
    low = value.lower()
    if any(marker in low for marker in _TOKEN_MARKERS):
        value = _TOKEN.sub(_token, value)
    for marker, kind, shape in _SHAPES:
        if marker in low:
            value = shape.sub((r"\1" if shape.groups else "") + placeholder(kind), value)
    if not _SEPARATORS.isdisjoint(value) and any(marker in low for marker in _NAME_MARKERS):
        value = _ASSIGNED.sub(_assigned, value)
    return _DIGITS.sub(_cards, value)


def _token(found: re.Match[str]) -> str:
    return placeholder(_RUNS.get(found[1]) or _WORDS[found[2]])


def _assigned(found: re.Match[str]) -> str:
    return found[1] + (found["quote"] or "") + placeholder("secret")


def _blank(plain: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return placeholder("by policy")
    head, rest = path[0], path[1:]
    if isinstance(plain, dict):
        return {
            key: _blank(item, rest) if head in ("*", key) else item for key, item in plain.items()
        }
    if isinstance(plain, list):
        # A list has no names: a path goes through it to the items, which is what people mean
        # by `args.cards.number`, and errs towards redacting.
        inner = rest if head == "*" or head.isdigit() else path
        return [
            _blank(item, inner) if not head.isdigit() or int(head) == at else item
            for at, item in enumerate(plain)
        ]
    return plain


def _clean(plain: Any) -> Any:
    if isinstance(plain, str):
        return text(plain)
    if isinstance(plain, dict):
        return {
            text(key): placeholder("secret") if _is_secret(key, item) else _clean(item)
            for key, item in plain.items()
        }
    if isinstance(plain, list):
        return [_clean(item) for item in plain]
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        digits = msgspec.json.encode(plain).decode().removeprefix("-").removesuffix(".0")
        return placeholder("card number") if _is_card(digits) else plain
    return plain


def _is_secret(key: str, item: Any) -> bool:
    # A flag such as `has_secret` is none, and neither is what is not there.
    nothing = (None, "", placeholder("by policy"))
    return not isinstance(item, bool) and item not in nothing and _names_secret(key[-100:])


@lru_cache(maxsize=4_096)
def _names_secret(key: str) -> bool:
    return _FIELD.search(key) is not None


def _cards(found: re.Match[str]) -> str:
    said, last = found.string, found.start()
    groups = [group.span() for group in _GROUP.finditer(said, *found.span())]
    if _FRACTION.match(said, found.end()):
        groups.pop()
    kept = ""
    for start, end in _card_spans(said, groups):
        kept += said[last:start] + placeholder("card number")
        last = end
    return kept + said[last : found.end()]


def _card_spans(said: str, groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where card numbers stand among groups of digits that follow each other.

    A card number is all of them, one of them, or some in the sizes that are embossed on
    cards: four to six digits each, and the rest in the last. An expiry date may follow it.
    """
    if groups and _is_card("".join(said[begin:end] for begin, end in groups)):
        yield groups[0][0], groups[-1][1]
        return
    at = 0
    while at < len(groups):
        digits, card = "", None
        for last in range(at, len(groups)):
            begin, end = groups[last]
            digits += said[begin:end]
            if _is_card(digits):
                card = last
            if len(digits) >= 19 or not 4 <= end - begin <= 6:
                break
        if card is None:
            at += 1
        else:
            yield groups[at][0], groups[card][1]
            at = card + 1


def _is_card(digits: str) -> bool:
    """A payment card number: 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1)."""
    if not (13 <= len(digits) <= 19 and digits.isdecimal()) or len(set(digits)) == 1:
        return False
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0
