"""Entries as OCSF events, held against the schema itself."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

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
    LabelEntry,
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
    ApprovalEntry(**OF, id="a-1", event="voted", by="dana", approved=True),
    ApprovalEntry(**OF, id="a-1", event="edited", by="dana", revision=1),
    ApprovalEntry(**OF, id="a-1", event="escalated", tool="refund"),
    ApprovalEntry(id="", event="refused", channel="email", why="a signature does not verify"),
    ApprovalEntry(**OF, id="a-1", event="granted", by="dana", grant="g-1", deadline=1),
    ApprovalEntry(id="g-1", event="revoked", by="dana", grant="g-1"),
    *(
        OutcomeEntry(**OF, of=3, tool="refund", status=status, latency=5_000)
        for status in ("ok", "error", "timeout", "cancelled", "unknown", "not_started")
    ),
    OutcomeEntry(of=3, status="error", error="ValueError"),
    OutcomeEntry(of=3, status="ok", policy=POLICY, result=[1, {"a": None}]),
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
    LabelEntry(**OF, of=3, tool="refund", mark="right", by="dana", reason="not theirs"),
]

DEEP = ("metadata", "api", "app", "actor", "entity", "policy", "src_endpoint", "device")
NAMED = {
    "activity_id": "activity_name",
    "action_id": "action",
    "disposition_id": "disposition",
    "status_id": "status",
    "severity_id": "severity",
}

_SCHEMA = get_ocsf_schema(version=ocsf.SCHEMA)


@cache
def validator(class_uid: int, profiles: tuple[str, ...]) -> jsonschema_rs.Draft202012Validator:
    """Of a class of events under profiles: of each attribute and object, and of no others."""
    schemas = OcsfJsonSchemaEmbedded(_SCHEMA)
    name = schemas.lookup_class_name_from_uid(class_uid)
    return jsonschema_rs.Draft202012Validator(schemas.get_class_schema(name, list(profiles)))


def event(entry: AnyEntry) -> dict[str, Any]:
    made = ocsf.line(piece(entry), "saferun/default/1", "0.1.0")
    assert made.count(b"\n") == 1
    return msgspec.json.decode(made)


def test_every_kind_of_entry_is_told() -> None:
    assert {type(entry) for entry in EVERY} == set(Union.__args__)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: type(entry).__name__)
def test_an_event_is_what_its_class_and_profiles_are_in_the_schema(entry: AnyEntry) -> None:
    told = event(entry)
    assert told["metadata"]["version"] == ocsf.SCHEMA
    assert told["time"] == 1_777_888_999_123
    own = validator(told["class_uid"], tuple(told["metadata"]["profiles"]))
    assert [problem.message for problem in own.iter_errors(told)] == []


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: type(entry).__name__)
def test_a_name_beside_a_number_is_the_one_that_the_schema_has_for_it(entry: AnyEntry) -> None:
    told = event(entry)
    [own] = [each for each in _SCHEMA["classes"].values() if each["uid"] == told["class_uid"]]
    assert told["type_uid"] == told["class_uid"] * 100 + told["activity_id"]
    for number, name in NAMED.items():
        if name in told and told[number] != 99:
            assert told[name] == own["attributes"][number]["enum"][str(told[number])]["caption"]


JSON = st.none() | st.booleans() | st.integers(-9, 9) | st.text() | st.lists(st.integers(0, 9))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of an entry may hold, by its type."""
    match get_origin(kind), get_args(kind):
        case (None, _) if kind is Any:
            return JSON
        case (None, _) if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return entries(kind)
        case (None, _):
            return (
                st.text()
                if kind is str
                else st.integers(0, 9)
                if kind is int
                else st.from_type(kind)
            )
        case (origin, kinds) if origin is Literal:
            return st.sampled_from(kinds)
        case (origin, (each, *_)) if origin is tuple:
            return st.lists(values(each), max_size=2).map(tuple)
        case (_, (_, each)) if get_origin(kind) is Mapping:
            return st.dictionaries(st.text(), values(each), max_size=2)
        case (_, kinds):
            return st.one_of(*map(values, kinds))
    raise AssertionError(kind)


def entries(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    # Which host wrote an entry is added when it is sealed.
    names = set(kind.__struct_fields__) - {"host", "boot"}
    return st.builds(kind, **{name: values(hints[name]) for name in names})


@given(st.sampled_from(Union.__args__).flatmap(entries))
def test_whatever_an_entry_holds_its_event_is_of_the_schema(entry: AnyEntry) -> None:
    told = event(entry)
    own = validator(told["class_uid"], tuple(told["metadata"]["profiles"]))
    assert [problem.message for problem in own.iter_errors(told)] == []


@pytest.mark.parametrize("wrong", ["actor", "metadata", "unknown"])
def test_the_schema_is_held_against_every_attribute(wrong: str) -> None:
    told = event(DecisionEntry(**OF, tool="refund", verdict="deny"))
    told[wrong] = {"unknown": 1}
    assert not validator(6003, ("security_control",)).is_valid(told)


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
        ({"verdict": "allow", "grant": "g-1"}, 1, 8),
        ({"verdict": "deny"}, 2, 2),
        ({"verdict": "defer"}, 2, 2),
        ({"verdict": "ask"}, 0, 14),
        ({"verdict": "deny", "mode": "observe"}, 3, 17),
        ({"verdict": "deny", "mode": "shadow"}, 3, 17),
    ],
)
def test_a_decision_says_what_was_done_with_the_call(
    about: dict[str, Any], action: int, disposition: int
) -> None:
    told = event(DecisionEntry(**OF, tool="refund", policy=POLICY, **about))
    assert (told["action_id"], told["disposition_id"]) == (action, disposition)
    assert told["metadata"]["profiles"] == ["security_control"]
    assert told["policy"] == {"name": "shop", "uid": f"shop@{'v' * 64}", "version": "v" * 64}
    assert told["api"]["operation"] == "refund"
    assert told["actor"] == {"app_name": "support", "user": {"uid": "maria"}}


def test_an_outcome_and_its_decision_are_one_request() -> None:
    decided = event(DecisionEntry(tool="refund", verdict="allow"))
    ended = event(OutcomeEntry(of=7, tool="refund", status="ok", result={"done": True}))
    assert decided["api"]["request"]["uid"] == ended["api"]["request"]["uid"] == "7"
    assert (ended["status_id"], ended["status_code"]) == (1, "ok")
    assert ended["api"]["response"] == {"data": {"done": True}}


def test_whoever_has_answered_is_the_actor() -> None:
    told = event(ApprovalEntry(**OF, id="a-1", event="rejected", by="dana", reason="no"))
    assert told["actor"]["user"] == {"name": "dana"}
    assert (told["unmapped"]["event"], told["activity_name"]) == ("rejected", "Update")
    assert (told["comment"], told["status_id"]) == ("no", 2)
    assert told["entity"]["uid"] == "a-1"


def test_a_grant_is_made_and_taken_away_under_its_own_id() -> None:
    made = event(ApprovalEntry(**OF, id="a-1", event="granted", by="dana", grant="g-1"))
    gone = event(ApprovalEntry(id="g-1", event="revoked", by="dana", grant="g-1"))
    assert [each["activity_name"] for each in (made, gone)] == ["Create", "Delete"]
    assert [each["entity"]["uid"] for each in (made, gone)] == ["g-1", "g-1"]
    assert made["unmapped"]["id"] == "a-1"


def test_an_answer_that_did_not_count_has_failed_and_one_for_all_stands_out() -> None:
    refused = event(ApprovalEntry(**OF, id="a-1", event="refused", by="vic", why="a viewer"))
    glass = event(ApprovalEntry(**OF, id="a-1", event="approved", by="dana", glass=True))
    usual = event(ApprovalEntry(**OF, id="a-1", event="approved", by="dana"))
    assert (refused["status_id"], refused["unmapped"]["why"]) == (2, "a viewer")
    assert glass["severity_id"] > usual["severity_id"]


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


def test_what_a_model_says_stays_within_its_line_and_in_ascii() -> None:
    said = 'a\nb\0c"\x1b[31m\x7f\x9b\u202e\u200b\ufeff\U000e0041ë'
    entry = ModelEntry(output=said, model=said, **OF)
    assert event(entry)["api"]["response"]["data"] == said
    made = ocsf.line(piece(entry), said, "0.1.0")
    assert made.isascii()
    assert not set(made[:-1]) & {*range(32), 0x7F}
