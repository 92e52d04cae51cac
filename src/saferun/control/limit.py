"""Limits: how often something may happen within one run.

A limit counts calls under a key made of its scope values. The store holds one
integer per key; whether a call fits is decided here, from those integers alone.
Limits are all checked before any is moved, so a denial consumes nothing.
"""

import unicodedata
from collections.abc import Mapping, Sequence

import msgspec

from saferun.call import Call, canonical

# Characters that a reader does not see: they would make one recipient count as many.
_INVISIBLE = frozenset(("Cf", "Cc"))
_QUOTING = str.maketrans("", "", '"\\')


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At most `max` calls for each value of `per`, within one run.

    `per` is a tuple of scopes: `run`, or `args.NAME` for each value of that argument.
    `tool` is None for a limit over all the tools of the policy.
    `disclose=False` keeps the threshold out of what the model is told.
    """

    id: str
    max: int
    per: tuple[str, ...]
    tool: str | None = None
    message: str | None = None
    disclose: bool = True
    line: int | None = None

    def sentence(self) -> str:
        """What a denial by this limit says, to people and to the model alike."""
        if self.message is not None:
            return self.message
        if not self.disclose:
            return "a limit of the policy is reached"
        calls = "call" if self.max == 1 else "calls"
        values = " and ".join(f"value of {scope}" for scope in self.per if scope != "run")
        return f"at most {self.max} {calls}{f' for each {values}' if values else ''} in one run"

    def uncountable(self, missing: str) -> str:
        """What is said where a scope is missing: outside a run, or without the argument."""
        if missing == "run":
            return "it counts within a run, and this call is in none; use saferun.run(...)"
        return f"it counts by {missing}, which this call does not have"


class Charge(msgspec.Struct, frozen=True):
    """One limit and the key that a call counts under, or the scope that it has none for."""

    limit: Limit
    key: bytes | None
    missing: str = ""


def charges(limits: Sequence[Limit], call: Call, space: str) -> tuple[Charge, ...]:
    """What this call would count towards. `space` sets a shadow policy's counters apart.

    A call outside any run, or without the argument that a limit counts by, has no key;
    `exceeded` denies it, since a limit that cannot count cannot allow (threats, rule 11).
    """
    return tuple(_charge(limit, call, space) for limit in limits)


def exceeded(due: Sequence[Charge], used: Mapping[bytes, int]) -> tuple[Charge, ...]:
    """The charges that do not fit on top of what is used. Empty means: move them all."""
    return tuple(
        charge
        for charge in due
        if charge.key is None or used.get(charge.key, 0) >= charge.limit.max
    )


def _charge(limit: Limit, call: Call, space: str) -> Charge:
    if call.run is None:
        return Charge(limit, None, "run")
    parts: list[object] = [space, limit.id, limit.tool or "", call.run.root]
    for scope in limit.per:
        if scope != "run":
            name = scope.removeprefix("args.")
            if name not in call.args:
                return Charge(limit, None, scope)
            parts.append(_folded(call.args[name]))
    return Charge(limit, canonical.encode(parts))


def _folded(value: object) -> object:
    """One spelling for what a reader takes for one value.

    `Lead@Acme.test`, full-width letters and zero-width joiners would otherwise each
    start a count of their own. Folding can only merge counts, so it errs towards no.
    Numbers that are equal count as one, whether written 5 or 5.0.
    """
    if isinstance(value, str):
        wide = unicodedata.normalize("NFKC", value).casefold()
        seen = "".join(c if unicodedata.category(c) not in _INVISIBLE else "" for c in wide)
        if "@" in seen:
            # RFC 5322 lets a mailbox be quoted: `"dana"@x` and `"da\\na"@x` are dana@x.
            seen = seen.translate(_QUOTING)
        return " ".join(seen.split())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_folded(item) for item in value]
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    return value
