"""Entries as OCSF events: what version 1.3.0 of the schema requires of each class is there."""

from typing import Any

import msgspec
import pytest

from export.shelf import piece
from saferun.call import PolicyRef, Reason
from saferun.export import ocsf
from saferun.ledger import (
    AnyEntry,
    ApprovalEntry,
    ArchiveEntry,
    CallEntry,
    ControlEntry,
    DecisionEntry,
    ErasureEntry,
    KeyEntry,
    LedgerEntry,
    ModelEntry,
    OutcomeEntry,
    PolicyEntry,
    RecoveryEntry,
    RestartEntry,
    RunEntry,
    UserEntry,
    leaf_hash,
)
from saferun.ledger.kind import AnyEntry as Union

OF: dict[str, Any] = {"run": "r-1", "agent": "support", "user": "maria", "tenant": "acme"}
POLICY = PolicyRef(name="shop", version="v" * 64)
REASON = Reason(id="big", effect="deny", source="rule", message="Too much.")
SEALED = {"$sealed": {"sha256": "ab" * 32}}

EVERY: list[AnyEntry] = [
    LedgerEntry(name="default", origin="saferun/default/1", format=4, created_by="saferun-sdk 1"),
    RunEntry(event="start", run="r-1", agent="support", user={"id": "maria"}, prompt="Go."),
    RunEntry(event="end", run="r-1", error="ValueError: no"),
    ModelEntry(**OF, output="I will.", model="small", latency=12_000),
    ModelEntry(output=None),
    UserEntry(**OF, text="Please."),
    DecisionEntry(tool="refund", verdict="allow"),
    DecisionEntry(**OF, tool="refund", verdict="deny", reasons=(REASON,), policy=POLICY, args={}),
    DecisionEntry(**OF, tool="refund", verdict="ask", approval="a-1", call="c-1"),
    DecisionEntry(**OF, tool="refund", verdict="allow", approval="a-1"),
    DecisionEntry(**OF, tool="refund", verdict="defer"),
    DecisionEntry(**OF, tool="refund", verdict="deny", mode="observe"),
    ApprovalEntry(id="a-1", event="requested", tool="refund"),
    ApprovalEntry(**OF, id="a-1", event="approved", by="dana", reason="a good customer"),
    ApprovalEntry(**OF, id="a-1", event="rejected", by="dana"),
    *(
        OutcomeEntry(**OF, of=3, tool="refund", status=status, latency=5_000)
        for status in ("ok", "error", "timeout", "cancelled", "unknown", "not_started")
    ),
    OutcomeEntry(of=3, status="error", error="ValueError"),
    RecoveryEntry(**OF, of=3, tool="refund", status="unknown", owner="b" * 16),
    CallEntry(run="r-2", tool="refund", args="not JSON", status="unknown"),
    PolicyEntry(name="shop", serial=1, act="publish", live="v" * 64, by="dana", note="..."),
    ControlEntry(event="stopped", scope="agent", value="support", by="dana", reason="enough"),
    ControlEntry(event="resumed", scope="all", by="dana"),
    ControlEntry(event="opened", scope="tool", value="refund", tenant="acme", by="saferun"),
    ControlEntry(event="closed", scope="tool", value="refund", by="saferun"),
    ErasureEntry(subject="d" * 32, openings=3, by="dana"),
    ArchiveEntry(first=0, size=9, root="...", note="...", by="dana"),
    KeyEntry(vkey="...", note="...", by="dana"),
    RestartEntry(origin="new", vkey="...", was="old", lost=3, note="...", by="dana"),
]

# From the schema at 1.3.0: the attributes that are required, and their types.
BASE = {
    "activity_id": int,
    "category_uid": int,
    "class_uid": int,
    "severity_id": int,
    "time": int,
    "type_uid": int,
    "metadata": dict,
}
REQUIRED = {
    0: {},
    3004: {"entity": dict},
    6002: {"app": dict},
    6003: {"actor": dict, "api": dict, "src_endpoint": dict},
}
CATEGORY = {0: 0, 3004: 3, 6002: 6, 6003: 6}
ACTIVITIES = {
    0: {0, 99},
    3004: {*range(14), 99},
    6002: {*range(9), 99},
    6003: {*range(5), 99},
}
OBJECTS = {
    "metadata": {"product": dict, "version": str},
    "metadata.product": {"name": str, "vendor_name": str},
    "app": {"name": str, "vendor_name": str},
    "api": {"operation": str},
    "api.request": {"uid": str},
}
AT_LEAST_ONE = {
    "entity": {"name", "uid"},
    "policy": {"name", "uid"},
    "actor": {"process", "user", "invoked_by", "session", "app_name", "app_uid"},
    "actor.user": {"account", "name", "uid"},
    "src_endpoint": {"ip", "uid", "name", "hostname", "svc_name", "instance_uid"},
}
DISPOSITIONS = {
    1: "Allowed",
    2: "Blocked",
    8: "Approved",
    14: "Delayed",
    17: "Logged",
}
DEEP = ("metadata", "api", "app", "actor", "entity", "policy", "src_endpoint")


def event(entry: AnyEntry) -> dict[str, Any]:
    made = ocsf.line(piece(entry), "saferun/default/1", "0.1.0")
    assert made.count(b"\n") == 1
    return msgspec.json.decode(made)


def at(told: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        told = told.get(name, {})
    return told


def test_every_kind_of_entry_is_told() -> None:
    assert {type(entry) for entry in EVERY} == set(Union.__args__)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: type(entry).__name__)
def test_what_the_schema_requires_is_there(entry: AnyEntry) -> None:
    told = event(entry)
    own = told["class_uid"]
    for name, kind in {**BASE, **REQUIRED[own]}.items():
        assert isinstance(told[name], kind), name
    assert told["category_uid"] == CATEGORY[own]
    assert told["type_uid"] == own * 100 + told["activity_id"]
    assert told["activity_id"] in ACTIVITIES[own]
    assert told["severity_id"] in range(1, 7)
    assert told["status_id"] in (0, 1, 2)
    for path, required in OBJECTS.items():
        found = at(told, path)
        for name, kind in required.items() if found else ():
            assert isinstance(found[name], kind), f"{path}.{name}"
    for path, some in AT_LEAST_ONE.items():
        found = at(told, path)
        assert not found or some & found.keys(), path
    assert told["metadata"]["version"] == "1.3.0"
    assert told["time"] == 1_777_888_999_123


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: type(entry).__name__)
def test_no_attribute_is_null_and_all_lead_back_to_the_ledger(entry: AnyEntry) -> None:
    told = event(entry)
    made = piece(entry)
    assert told["unmapped"]["seq"] == told["metadata"]["sequence"] == made.seq
    assert told["unmapped"]["leaf"] == leaf_hash(made.body).hex()
    assert all(told[name] is not None for name in told)
    assert all(value is not None for name in DEEP for value in told.get(name, {}).values())


@pytest.mark.parametrize(
    ("about", "action", "disposition"),
    [
        ({"verdict": "allow"}, 1, 1),
        ({"verdict": "allow", "approval": "a-1"}, 1, 8),
        ({"verdict": "deny"}, 2, 2),
        ({"verdict": "defer"}, 2, 2),
        ({"verdict": "ask"}, 0, 14),
        ({"verdict": "deny", "mode": "observe"}, 1, 17),
        ({"verdict": "deny", "mode": "shadow"}, 1, 17),
    ],
)
def test_a_decision_says_what_was_done_with_the_call(
    about: dict[str, Any], action: int, disposition: int
) -> None:
    told = event(DecisionEntry(**OF, tool="refund", policy=POLICY, **about))
    assert (told["action_id"], told["disposition_id"]) == (action, disposition)
    assert told["disposition"] == DISPOSITIONS[disposition]
    assert told["metadata"]["profiles"] == ["security_control"]
    assert told["policy"] == {"name": "shop", "uid": f"shop@{'v' * 64}", "version": "v" * 64}
    assert told["api"]["operation"] == "refund"
    assert told["actor"] == {"app_name": "support", "user": {"uid": "maria"}}


def test_an_outcome_and_its_decision_are_one_request() -> None:
    decided = event(DecisionEntry(tool="refund", verdict="allow"))
    ended = event(OutcomeEntry(of=7, tool="refund", status="ok", result={"done": True}))
    assert decided["api"]["request"]["uid"] == ended["api"]["request"]["uid"] == "7"
    assert ended["api"]["response"] == {"data": {"done": True}}


def test_whoever_has_answered_is_the_actor() -> None:
    told = event(ApprovalEntry(**OF, id="a-1", event="rejected", by="dana", reason="no"))
    assert told["actor"]["user"] == {"name": "dana"}
    assert (told["comment"], told["status_id"]) == ("no", 2)
    assert told["entity"]["uid"] == "a-1"


def test_nothing_of_an_entry_is_left_out() -> None:
    told = event(DecisionEntry(**OF, tool="refund", verdict="deny", reasons=(REASON,), key="k"))
    left = told["unmapped"]
    assert (left["tenant"], left["key"], left["run"]) == ("acme", "k", "r-1")
    assert left["reasons"][0]["id"] == "big"
    assert event(RunEntry(event="start", run="r", user={"id": "m", "plan": "gold"}))["unmapped"][
        "user"
    ] == {"id": "m", "plan": "gold"}


def test_sealed_values_leave_as_their_commitment() -> None:
    entry = DecisionEntry(
        tool="mail", verdict="allow", args={"to": SEALED}, sealed={"ab" * 32: "args.to"}
    )
    assert event(entry)["api"]["request"]["data"] == {"to": SEALED}


def test_what_a_model_says_stays_within_its_line() -> None:
    told = event(ModelEntry(output='a\nb\0c"\x1b[31m\u202e', **OF))
    assert told["api"]["response"]["data"] == 'a\nb\0c"\x1b[31m\u202e'
