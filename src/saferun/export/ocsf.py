"""Entries as events of the Open Cybersecurity Schema Framework, for a SIEM.

Version 1.4.0 of the schema, https://schema.ocsf.io/1.4.0, which is the first in which API Activity
has the profile `security_control`. Which class an entry is told in:

    decision, outcome, recovery, call, model    API Activity (6003): a tool or a model was called
    run                                         Application Lifecycle (6002): an agent starts, stops
    approval, policy, control, erasure, key,
    archive, restart, ledger                    Entity Management (3004): something was set
    user                                        Base Event (0): a message

A decision says with the attributes of the profile `security_control` what was done with the call:
let go, blocked, held back until somebody agrees. Runs and messages have those of `host`, which say
who and where. Whatever else an entry has is under `unmapped`
with its number and its leaf, so that an event leads back to the ledger. Nothing that is sealed is
opened: its commitment goes out as it stands.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from saferun.export.source import Piece
from saferun.ledger import Entry, leaf_hash
from saferun.unseen import document

SCHEMA = "1.4.0"

API_ACTIVITY = 6003
LIFECYCLE = 6002
ENTITY_MANAGEMENT = 3004
BASE_EVENT = 0

_CATEGORIES = {API_ACTIVITY: 6, LIFECYCLE: 6, ENTITY_MANAGEMENT: 3, BASE_EVENT: 0}

_OTHER = 99
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_UNKNOWN, _SUCCESS, _FAILURE = 0, 1, 2

_UNDECIDED, _ALLOWED, _DENIED, _OBSERVED = 0, 1, 2, 3
"""Of `action_id`."""


class _Disposition(NamedTuple):
    """What a control has done with a call, in the schema's numbers and words."""

    action: int
    number: int
    word: str
    status: int
    severity: int


_DISPOSITIONS = {
    "allow": _Disposition(_ALLOWED, 1, "Allowed", _SUCCESS, _INFORMATIONAL),
    "deny": _Disposition(_DENIED, 2, "Blocked", _FAILURE, _LOW),
    "ask": _Disposition(_UNDECIDED, 14, "Delayed", _UNKNOWN, _LOW),
    "defer": _Disposition(_DENIED, 2, "Blocked", _FAILURE, _LOW),
}
_LOGGED = _Disposition(_OBSERVED, 17, "Logged", _SUCCESS, _INFORMATIONAL)
"""What a policy would have done that only observes: the call went on."""

_STATUS = {
    "ok": (_SUCCESS, _INFORMATIONAL),
    "unknown": (_UNKNOWN, _MEDIUM),
    "error": (_FAILURE, _LOW),
    "timeout": (_FAILURE, _LOW),
    "cancelled": (_FAILURE, _INFORMATIONAL),
    "not_started": (_FAILURE, _INFORMATIONAL),
}

_CREATE, _UPDATE, _DELETE, _ENABLE, _DISABLE = 1, 3, 4, 8, 9
_ACTIVITY_NAMES = {
    _CREATE: "Create",
    _UPDATE: "Update",
    _DELETE: "Delete",
    _ENABLE: "Enable",
    _DISABLE: "Disable",
}

_ACTIVITIES = {
    "requested": _CREATE,
    "granted": _CREATE,
    "invited": _CREATE,
    "enrolled": _CREATE,
    "revoked": _DELETE,
    "withdrawn": _DELETE,
    "stopped": _DISABLE,
    "opened": _DISABLE,
    "resumed": _ENABLE,
    "closed": _ENABLE,
    "ledger": _CREATE,
    "erasure": _DELETE,
}
"""What was done to something that is managed, by what the entry calls it; else it was updated."""

_GRAVE = {
    "restart": _HIGH,
    "refused": _LOW,
    "stopped": _MEDIUM,
    "opened": _MEDIUM,
    "erasure": _MEDIUM,
}


def line(piece: Piece, origin: str, version: str) -> bytes:
    """One entry as one event in JSON, in ASCII; `version` is that of this program."""
    return document(event(piece, origin, version))


def event(piece: Piece, origin: str, version: str) -> dict[str, Any]:
    """One entry as one event."""
    entry = piece.entry
    left = dict(entry.fields)
    match entry.kind:
        case "decision" | "outcome" | "recovery" | "call" | "model":
            told = _call(entry, left)
        case "run":
            told = _lifecycle(left)
        case "user":
            told = {"class_uid": BASE_EVENT, "activity_id": _OTHER, "activity_name": "Message"}
        case _:
            told = _managed(entry, left)
    told = {"severity_id": _INFORMATIONAL, "status_id": _SUCCESS, **told}
    hosted = told["class_uid"] in (LIFECYCLE, BASE_EVENT)
    controlled = "disposition_id" in told or "policy" in told
    profiles = ["host"] if hosted else ["security_control"] if controlled else []
    user = left.pop("user", None)
    own = user.get("id") if isinstance(user, Mapping) else user
    who = told.pop("actor", None) or ({"uid": own} if isinstance(own, str) else None)
    if isinstance(user, Mapping) and user:
        left["user"] = user
    return {
        **told,
        "category_uid": _CATEGORIES[told["class_uid"]],
        "type_uid": told["class_uid"] * 100 + told["activity_id"],
        "time": entry.time // 1_000,
        "message": _message(entry),
        "metadata": {
            "version": SCHEMA,
            "product": {"name": "SafeRun", "vendor_name": "SafeRun", "version": version},
            "profiles": profiles,
            "log_name": origin,
            "uid": f"{origin}#{entry.seq}",
            "sequence": entry.seq,
            "event_code": entry.kind,
            **({"correlation_uid": left["run"]} if left.get("run") else {}),
        },
        "actor": {
            "app_name": left.pop("agent", None) or "saferun",
            **({"user": who} if who else {}),
        },
        **(_device(left) if hosted else _endpoint(left)),
        "unmapped": {"seq": entry.seq, "leaf": leaf_hash(piece.body).hex(), **left},
    }


def _endpoint(left: dict[str, Any]) -> dict[str, Any]:
    """Where it was written, for classes of what comes over a network."""
    named = {"name": left["host"]} if left.get("host") else {}
    return {"src_endpoint": {"svc_name": "saferun", **named}}


def _device(left: dict[str, Any]) -> dict[str, Any]:
    """Where it was written, for classes of what happens on a host; of an unknown type."""
    return {"device": {"name": left["host"], "type_id": 0}} if left.get("host") else {}


def _call(entry: Entry, left: dict[str, Any]) -> dict[str, Any]:
    """A tool was asked for, or has ended, or a model has spoken."""
    fields = entry.fields
    # Which call it is: its own id, or else the number of its decision.
    request: dict[str, Any] = {"uid": str(fields.get("of", entry.seq))}
    if "call" in left:
        request["uid"] = left.pop("call")
    if "args" in left:
        request["data"] = left.pop("args")
    response: dict[str, Any] = {}
    for key in ("result", "output"):
        if left.get(key) is not None:
            response["data"] = left.pop(key)
    if isinstance(left.get("error"), str):
        # One that is sealed is a commitment, and no text: it is left with the rest.
        response["error_message"] = left.pop("error")
    operation = left.pop("tool", None)
    if entry.kind == "model":
        operation = f"model {left.pop('model', None) or 'unknown'}"
    told: dict[str, Any] = {
        "class_uid": API_ACTIVITY,
        "activity_id": _OTHER,
        "activity_name": {"model": "Model turn", "decision": "Decide"}.get(entry.kind, "Call"),
        "api": {
            "operation": operation or "unknown",
            "request": request,
            **({"response": response} if response else {}),
        },
    }
    policy = left.pop("policy", None)
    if policy is not None:
        told["policy"] = {
            "name": policy["name"],
            "uid": f"{policy['name']}@{policy['version']}",
            "version": policy["version"],
        }
    if entry.kind == "decision":
        found = _DISPOSITIONS[fields["verdict"]]
        if fields.get("mode", "enforce") != "enforce":
            found = _LOGGED
        elif found.number == 1 and (fields.get("approval") or fields.get("grant")):
            found = found._replace(number=8, word="Approved")
        told |= {
            "action_id": found.action,
            "disposition_id": found.number,
            "disposition": found.word,
            "status_id": found.status,
            "severity_id": found.severity,
        }
    elif entry.kind != "model":
        told["status_id"], told["severity_id"] = _STATUS[fields["status"]]
        told["status_code"] = left.pop("status")
    if fields.get("latency") is not None:
        told["duration"] = left.pop("latency") // 1_000
    return told


def _lifecycle(left: dict[str, Any]) -> dict[str, Any]:
    """A run of an agent starts or ends."""
    begins = left.pop("event") == "start"
    return {
        "class_uid": LIFECYCLE,
        "activity_id": 3 if begins else 4,
        "activity_name": "Start" if begins else "Stop",
        "app": {
            "name": left.get("agent") or "agent",
            "vendor_name": "unknown",
            "uid": left["run"],
        },
        "status_id": _FAILURE if left.get("error") else _SUCCESS,
        "severity_id": _LOW if left.get("error") else _INFORMATIONAL,
    }


def _managed(entry: Entry, left: dict[str, Any]) -> dict[str, Any]:
    """A person, or a control by itself, has set something."""
    fields = entry.fields
    act = fields.get("event") or fields.get("act") or entry.kind
    entity: dict[str, Any] = {"type": entry.kind}
    match entry.kind:
        case "approval":
            # A grant is what is made or taken away, and not the request that it came from.
            granted = act in ("granted", "revoked") and "grant" in left
            uid = left.pop("grant") if granted else left.pop("id")
            about = left.pop("person", None) or fields.get("tool") or "call"
            entity |= {"uid": uid or "none", "name": about}
        case "policy":
            entity |= {"name": left.pop("name"), "version": fields["live"]}
        case "control":
            entity["name"] = " ".join(filter(None, (fields["scope"], fields.get("value"))))
        case "erasure":
            entity["uid"] = fields["subject"]
        case "label":
            entity |= {"uid": f"{fields['of']}", "name": fields.get("tool") or "call"}
        case _:
            entity["name"] = fields.get("origin") or "ledger"
    by, reason = left.pop("by", None), left.pop("reason", None)
    activity = _ACTIVITIES.get(act, _UPDATE)
    refused = act in ("rejected", "refused", "expired", "cancelled", "stale")
    severity = _MEDIUM if fields.get("glass") else _GRAVE.get(act, _INFORMATIONAL)
    return {
        "class_uid": ENTITY_MANAGEMENT,
        "activity_id": activity,
        "activity_name": _ACTIVITY_NAMES[activity],
        "entity": entity,
        "severity_id": severity,
        "status_id": _FAILURE if refused else _SUCCESS,
        **({"actor": {"name": by}} if by else {}),
        **({"comment": reason} if reason else {}),
    }


def _message(entry: Entry) -> str:
    """One line for people."""
    fields = entry.fields
    words = (
        entry.kind,
        fields.get("event") or fields.get("act") or fields.get("verdict") or fields.get("status"),
        fields.get("tool"),
        ", ".join(reason["id"] for reason in fields.get("reasons", ())),
    )
    return " ".join(word for word in words if word)
