"""Redaction: what must never be kept is replaced before anything is written or sent.

Two things are replaced by `[redacted: KIND]`: the values at the paths that a policy names
(`args.card_number`), and secrets that are known by their shape or by the name of the field
they stand in, wherever they appear. A redacted value has no opening and no hash: a hash of
a guessable value is the value.

The common call holds no secret, so the work is split: one scan of the encoded bytes for
anything that a secret would have to contain, and only on a hit the walk that finds it.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

_NAME_MARKERS = (
    "passw",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "key",
    "authoriz",
    "credential",
    "cookie",
    "cvv",
    "cvc",
    "bearer",
    "basic ",
    "://",
)
"""In lower case. What `_FIELD`, `_ASSIGNED` and the last two of `_SHAPES` find holds one."""

_PREFIX_MARKERS = (
    *("-----begin", "akia", "asia", "gh", "glpat-", "xox", "xapp-", "sk", "rk", "pk"),
    *("aiza", "hf_", "npm_", "whsec_", "eyj"),
)
"""In lower case. Every other shape begins with one of them and goes on for `_RUN` characters."""

_TOKEN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.+/=~"
_AS_RUNS = bytes(ord("a") if byte in _TOKEN else ord(" ") for byte in range(256))
_RUN = b"a" * 16
_AS_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(".") for byte in range(256))
_CARD_RUN = b"0" * 13

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "private key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
    ),
    ("AWS key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255})")),
    ("GitLab token", re.compile(r"\bglpat-[\w-]{16,255}")),
    ("Slack token", re.compile(r"\b(?:xox[a-z]|xapp)-[\w-]{10,255}")),
    ("API key", re.compile(r"\b(?:sk|rk|pk)[-_](?:[a-z]+[-_])*[A-Za-z0-9_-]{16,255}")),
    ("API key", re.compile(r"\bAIza[\w-]{30,60}")),
    ("API key", re.compile(r"\b(?:hf_|npm_|whsec_)[A-Za-z0-9+/=]{16,255}")),
    ("token", re.compile(r"\beyJ[\w-]{8,4096}\.[\w-]{8,8192}(?:\.[\w-]{0,4096})?")),
    ("token", re.compile(r"(?i:(?<=\bbearer )|(?<=\bbasic ))[A-Za-z0-9._~+/=-]{12,4096}")),
    ("password", re.compile(r"(?<=://)[^\s/:@\"']{0,255}:[^\s/@\"']{1,255}(?=@)")),
)

_NAMES = (
    r"passw(?:or)?d|passwd|passphrase|pwd|secret|client[_-]?secret|token|access[_-]?token"
    r"|refresh[_-]?token|auth[_-]?token|api[_-]?token|id[_-]?token|api[_-]?key|access[_-]?key"
    r"|secret[_-]?key|private[_-]?key|authorization|credentials?|cookie|set-cookie|cvv|cvc"
)
_FIELD = re.compile(rf"(?:.*[_-])?(?:{_NAMES})", re.IGNORECASE | re.DOTALL)
_ASSIGNED = re.compile(
    rf"(?i)\b((?:[\w-]{{0,40}}[_-])?(?:{_NAMES})[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"']?)"
    r"(?!\[redacted)([^\s\"',;&]{4,4096})"
)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]|[ -]\d)")


def placeholder(kind: str) -> str:
    return f"[redacted: {kind}]"


def suspicious(encoded: bytes) -> bool:
    """Whether encoded JSON could hold a secret: False is certain, True means look closer.

    Written for the common call, which holds none: byte tables run at the speed of memory
    and rule out keys and cards before any pattern is tried.
    """
    low = encoded.lower().decode()
    for marker in _NAME_MARKERS:  # a plain loop: `any` over a generator takes twice as long
        if marker in low:
            return True
    if _RUN in encoded.translate(_AS_RUNS):
        for marker in _PREFIX_MARKERS:
            if marker in low:
                return True
    return _CARD_RUN in encoded.translate(_AS_DIGITS, b" -")


def text(value: str) -> str:
    """One string without the secrets in it."""
    for kind, shape in _SHAPES:
        value = shape.sub(placeholder(kind), value)
    value = _ASSIGNED.sub(lambda found: found[1] + placeholder("secret"), value)
    return _CARD.sub(_card, value)


def encoded(data: bytes, paths: Sequence[tuple[str, ...]] = ()) -> bytes:
    """Encoded JSON without secrets and without what lies at `paths`.

    A path is a tuple of keys; `*` stands for any key or item. The same bytes come back
    where there is nothing to replace, so the common case encodes nothing again.
    """
    if not paths and not suspicious(data):
        return data
    return msgspec.json.encode(value(msgspec.json.decode(data), paths), order="deterministic")


def value(plain: Any, paths: Sequence[tuple[str, ...]] = ()) -> Any:
    """A plain value without secrets and without what lies at `paths`; the given one is kept."""
    for path in paths:
        plain = _blank(plain, path)
    return _clean(plain)


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
            text(key): placeholder("secret") if _secret_field(key, item) else _clean(item)
            for key, item in plain.items()
        }
    if isinstance(plain, list):
        return [_clean(item) for item in plain]
    if isinstance(plain, int) and not isinstance(plain, bool):
        digits = str(plain)
        return placeholder("card number") if _is_card(digits) else plain
    return plain


def _secret_field(key: str, item: Any) -> bool:
    # Counts such as `max_tokens` or a flag such as `has_secret` are no secrets.
    return isinstance(item, str) and item != "" and _FIELD.fullmatch(key) is not None


def _card(found: re.Match[str]) -> str:
    digits = "".join(filter(str.isdigit, found[0]))
    return placeholder("card number") if _is_card(digits) else found[0]


def _is_card(digits: str) -> bool:
    """A payment card number: 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1)."""
    if not (13 <= len(digits) <= 19 and digits.isdecimal()) or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0
