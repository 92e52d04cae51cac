"""What an entry can be found by: its facets, and the words in it. Pure.

Facets are exact and few; an entry has several values of one where several rules spoke. Words are
those of people, models and tools: arguments, results, prompts, messages, reasons. A value that is
sealed, or that lies beside the ledger by its hash, has no words here.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Literal, TypeAlias, get_args

from saferun.ledger import Entry

Facet: TypeAlias = Literal[
    "kind",
    "agent",
    "user",
    "tenant",
    "run",
    "tool",
    "verdict",
    "status",
    "rule",
    "policy",
    "person",
    "host",
]

FACETS: tuple[Facet, ...] = get_args(Facet)

TURN = ("turn", "")
"""What a switch was turned for that is no run's: part of the story of every run that it stopped.
No person asks for it by name."""

DID = "did"
"""The facet of entries that add to what is counted of their run: the traits of `synopsis`."""

DENIES = "denies"
"""The facet of decisions that deny: the rules and controls that did."""
SHADOW = "shadow"
"""What rules are kept under that spoke and counted for nothing: tried out, or of a candidate. They
stand among the rules too, and no person asks for these by name."""

MAX_VALUE = 512
"""Characters of a facet's value that is kept as it is."""

MAX_WORDS = 16_384
"""Characters of one entry that are searched."""

_TURNS = ("stopped", "resumed")

_SAID = (
    *("prompt", "plan", "context", "user", "text", "output", "model", "messages"),
    *("tool", "args", "given", "nudge", "result", "error", "reason", "reasons", "shadow"),
    *("agent", "tenant", "by", "value"),
)
"""The fields whose words are searched, in the order in which they count towards the most."""

_EVENTS = ("approval", "control", "run")
"""The kinds whose `event` is how something has gone."""


def facets(entry: Entry, verdict: str | None = None) -> set[tuple[str, str]]:
    """What an entry can be found by. `verdict` is that of the decision that it settles."""
    return {
        (name, exact(value)) for name, value in _facets(entry, verdict) if isinstance(value, str)
    }


def exact(value: str) -> str:
    """A facet's value as it is kept: one that is very long by its beginning and its hash."""
    value = plain(value)
    if len(value) <= MAX_VALUE:
        return value
    return value[: MAX_VALUE - 64] + sha256(value.encode()).hexdigest()


def _facets(entry: Entry, verdict: str | None) -> Iterator[tuple[str, Any]]:
    fields = entry.fields
    yield "kind", entry.kind
    for name in ("agent", "tenant", "run", "tool", "status", "host"):
        yield name, fields.get(name)
    user = fields.get("user")
    yield "user", user.get("id") if isinstance(user, Mapping) else user
    yield "verdict", fields.get("verdict", verdict)
    yield "person", fields.get("by")
    if entry.kind in _EVENTS:
        yield "status", fields.get("event")
    if entry.kind == "label":
        yield "status", fields["mark"]
    counted, tried = _reasons(fields)
    for reason in (*counted, *tried):
        yield "rule", reason
    if entry.kind == "decision" and fields["verdict"] == "deny":
        for reason in fields.get("reasons", ()):
            if reason.get("effect") == "deny":
                yield DENIES, reason["id"]
    for reason in tried:
        if reason not in counted:
            yield SHADOW, reason
    for policy in (fields.get("policy"), (fields.get("other") or {}).get("policy")):
        if policy is not None:
            yield "policy", policy["name"]
            yield "policy", policy["version"]
    if entry.kind == "policy":
        yield "policy", fields.get("name")
        yield "policy", fields.get("live")
        yield "policy", fields.get("candidate")
    if entry.kind == "control":
        # What was stopped or has opened, as calls name it.
        yield fields["scope"], fields.get("value")
        if fields.get("run") is None and fields["event"] in _TURNS:
            yield TURN


def _reasons(fields: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """The rules and limits that spoke for a verdict, and those that spoke beside it."""
    spoke = [reason["id"] for reason in fields.get("reasons", ())]
    beside = [reason["id"] for reason in fields.get("shadow", ())]
    beside += (fields.get("other") or {}).get("rules", ())
    # Under a policy in shadow, nothing that is said counts.
    return ([], [*spoke, *beside]) if fields.get("mode") == "shadow" else (spoke, beside)


def words(entry: Entry) -> str:
    """The text that an entry is searched for, of bounded length."""
    said: list[str] = []
    left = MAX_WORDS
    hidden = {*entry.fields.get("blobs", ()), *entry.fields.get("sealed", ())}
    for text in _texts([entry.fields.get(key) for key in _SAID], hidden):
        said.append(text[:left])
        left -= len(text) + 1
        if left <= 0:
            break
    return plain("\n".join(said))


def plain(text: str) -> str:
    """Text that SQLite takes whole: without what would end it, or is no character."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8", "replace")


def _texts(values: Iterable[Any], hidden: set[str]) -> Iterator[str]:
    """Strings and whole numbers in JSON values, in the order in which they stand."""
    left = [iter(values)]
    while left:
        for value in left[-1]:
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict):
                if not _placeholder(value, hidden):
                    left.append(iter(value.values()))
                    break
            elif isinstance(value, list):
                left.append(iter(value))
                break
            elif type(value) is int and value.bit_length() <= 128:
                yield str(value)
        else:
            left.pop()


def _placeholder(value: Mapping[str, Any], hidden: set[str]) -> bool:
    """Whether a value stands for another that is not here, as the entry itself says."""
    match value:
        case {"$sealed": {"sha256": str(name)}} | {"$blob": {"sha256": str(name)}}:
            return name in hidden
    return False
