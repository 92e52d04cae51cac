"""One entry of the ledger in one line: how it went, whose it is, and what it says.

For lists in the terminal and in the console. Everything here is inert, and cut.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from saferun.approval.inert import inert
from saferun.store.index import Hit

Look: TypeAlias = Literal["allow", "modified", "ask", "deny", "defer", "model", "user", "away", ""]
"""What an entry looks like: its colour and its icon, as whoever shows it has them."""

BRIEF = 160
"""Characters of what an entry says that are looked at: more does not fit on any screen."""

_ENDS: Mapping[str, Look] = {
    "ok": "allow",
    "approved": "allow",
    "resumed": "allow",
    "closed": "allow",
    "error": "deny",
    "timeout": "deny",
    "rejected": "deny",
    "stopped": "deny",
    "opened": "deny",
    "unknown": "ask",
    "requested": "ask",
    "escalated": "ask",
    "voted": "allow",
    "granted": "allow",
    "invited": "allow",
    "enrolled": "allow",
    "edited": "modified",
    "refused": "deny",
    "expired": "deny",
    "cancelled": "deny",
    "stale": "deny",
    "revoked": "deny",
    "withdrawn": "deny",
}
"""How it went, at a glance."""

_VERDICTS: Mapping[str, tuple[Look, str]] = {
    "allow": ("allow", "allowed"),
    "ask": ("ask", "asked"),
    "deny": ("deny", "denied"),
    "defer": ("defer", "deferred"),
}


def glance(hit: Hit) -> tuple[Look, str]:
    """What an entry looks like, and in a word how it went."""
    entry = hit.entry
    if entry is None:
        return "away", "archived"
    fields = entry.fields
    match entry.kind:
        case "decision":
            look, word = _VERDICTS[fields["verdict"]]
            if look == "allow" and fields.get("modified"):
                return "modified", "modified"
            return look, word
        case "model":
            return "model", "model"
        case "user":
            return "user", "user"
        case "call":
            return "away", "imported"
    word = str(fields.get("status") or fields.get("event") or fields.get("act") or entry.kind)
    look = _ENDS.get(word, "")
    return look, inert(f"run {word}" if entry.kind == "run" else word, 20)


def name_of(hit: Hit, key: str) -> str:
    """The name of an agent, a user or a tool that an entry belongs to."""
    entry = hit.entry
    if entry is None:
        return inert(hit.known.get(key, ""), 60)
    value = entry.fields.get(key)
    if value is None and entry.kind == "control" and entry.fields["scope"] == key:
        value = entry.fields.get("value")
    value = value.get("id") if isinstance(value, Mapping) else value
    return inert(value, 60) if isinstance(value, str) else ""


def brief(hit: Hit) -> str:
    """What an entry says, as far as it fits beside the rest."""
    entry = hit.entry
    if entry is None:
        word = hit.verdict if hit.known.get("kind") == "decision" else hit.known.get("status")
        return inert(" ".join(filter(None, (hit.known.get("kind"), word))), BRIEF)
    fields = entry.fields
    match entry.kind:
        case "decision":
            reasons = [reason["id"] for reason in fields.get("reasons", ())]
            said = ", ".join(reasons) if reasons else fields.get("args")
        case "outcome" | "recovery" | "call":
            said = fields.get("error") or fields.get("reason") or fields.get("result")
        case "model" | "user":
            said = fields.get("output", fields.get("text"))
        case "approval":
            said = _approval(fields)
        case "control" | "erasure" | "key" | "restart":
            words = [f"by {fields['by']}" if fields.get("by") else "", fields.get("reason") or ""]
            said = ": ".join(word for word in words if word)
        case "label":
            said = f"entry {fields['of']} is {fields['mark']}, by {fields['by']}"
        case "run":
            said = fields.get("error") or fields.get("prompt") or fields["run"]
        case "policy":
            said = f"{fields['name']} @ {fields['live'][:12]} by {fields['by']}"
        case "archive":
            said = f"{fields['first']:,} to {fields['size']:,} by {fields['by']}"
        case _:
            said = fields.get("origin")
    if said is None:
        return ""
    return inert(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False), BRIEF)


def _approval(fields: Mapping[str, Any]) -> str:
    """Who has done what with a request, or why what they did does not count."""
    by = f"by {fields['by']}" if fields.get("by") else fields.get("channel") or ""
    glass = "breaking the glass" if fields.get("glass") else ""
    joins = f"with {fields['joins']}" if fields.get("joins") else ""
    head = ", ".join(filter(None, (by, glass, joins, fields.get("grant"))))
    if fields.get("why"):
        return f"{fields['why']}{f', {head}' if head else ''}"
    return ": ".join(filter(None, (head, fields.get("reason"))))
