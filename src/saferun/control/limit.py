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
        scopes = " and ".join("value of " + s if s.startswith("args.") else s for s in self.per)
        calls = "call" if self.max == 1 else "calls"
        return f"at most {self.max} {calls} for each {scopes} in one run"

    def uncountable(self) -> str:
        """What is said where a scope is missing: outside a run, or without the argument."""
        by = ", ".join(self.per)
        return f"it counts by {by} within a run, and this call has none; use saferun.run(...)"


class Charge(msgspec.Struct, frozen=True):
    """One limit and the key that a call counts under, None where a scope is missing."""

    limit: Limit
    key: bytes | None


def charges(limits: Sequence[Limit], call: Call, space: str) -> tuple[Charge, ...]:
    """What this call would count towards. `space` sets a shadow policy's counters apart.

    A call outside any run, or without the argument that a limit counts by, has no key;
    `exceeded` denies it, since a limit that cannot count cannot allow (threats, rule 11).
    """
    return tuple(Charge(limit, _key(limit, call, space)) for limit in limits)


def exceeded(due: Sequence[Charge], used: Mapping[bytes, int]) -> tuple[Charge, ...]:
    """The charges that do not fit on top of what is used. Empty means: move them all."""
    return tuple(
        charge
        for charge in due
        if charge.key is None or used.get(charge.key, 0) >= charge.limit.max
    )


def _key(limit: Limit, call: Call, space: str) -> bytes | None:
    if call.run is None:
        return None
    parts: list[object] = [space, limit.id, limit.tool or "", call.run.root]
    for scope in limit.per:
        if scope != "run":
            name = scope.removeprefix("args.")
            if name not in call.args:
                return None
            parts.append(_folded(call.args[name]))
    return canonical.encode(parts)


def _folded(value: object) -> object:
    """One spelling for what a reader takes for one value.

    `Lead@Acme.test`, full-width letters and zero-width joiners would otherwise each
    start a count of their own. Folding can only merge counts, so it errs towards no.
    Numbers that are equal count as one, whether written 5 or 5.0.
    """
    if isinstance(value, str):
        wide = unicodedata.normalize("NFKC", value).casefold()
        seen = "".join(c if unicodedata.category(c) not in _INVISIBLE else "" for c in wide)
        return " ".join(seen.split())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_folded(item) for item in value]
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items()}
    return value
