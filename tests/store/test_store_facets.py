"""What an entry can be found by."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.call import PolicyRef, Reason
from saferun.ledger import (
    AnyEntry,
    ApprovalEntry,
    ControlEntry,
    DecisionEntry,
    Entry,
    ModelEntry,
    Other,
    OutcomeEntry,
    PolicyEntry,
    RunEntry,
    encode,
    read,
    seal,
    stamp,
)
from saferun.store.facets import MAX_VALUE, MAX_WORDS, TURN, facets, words

REASON = Reason(id="big-refund", effect="ask", source="rule", message="Finance has to agree.")
OF = {"run": "r-1", "agent": "support", "user": "maria", "tenant": "acme"}


def entry(made: AnyEntry) -> Entry:
    return read(seal(7, 1_000, encode(made), stamp("host-1", "b" * 16)))


def decision(**about: Any) -> Entry:
    return entry(DecisionEntry(**{"tool": "refund", "verdict": "deny", **OF, **about}))


def test_a_decision_is_found_by_who_what_and_why() -> None:
    found = facets(
        decision(
            policy=PolicyRef(name="shop", version="v" * 64),
            reasons=(REASON,),
            shadow=(msgspec.structs.replace(REASON, id="tried-out"),),
            other=Other(
                policy=PolicyRef(name="shop", version="w" * 64), verdict="allow", rules=("new",)
            ),
        )
    )
    assert found == {
        *(("kind", "decision"), ("tool", "refund"), ("verdict", "deny"), ("host", "host-1")),
        *(("run", "r-1"), ("agent", "support"), ("user", "maria"), ("tenant", "acme")),
        *(("rule", "big-refund"), ("rule", "tried-out"), ("rule", "new")),
        *(("shadow", "tried-out"), ("shadow", "new")),
        *(("policy", "shop"), ("policy", "v" * 64), ("policy", "w" * 64)),
    }


def test_an_outcome_has_the_verdict_of_its_decision() -> None:
    outcome = entry(OutcomeEntry(of=3, tool="refund", status="ok", **OF))
    assert {("verdict", "allow"), ("status", "ok")} <= facets(outcome, "allow")


def test_a_run_is_found_by_the_id_of_its_user() -> None:
    run = entry(RunEntry(event="start", run="r-1", user={"id": "maria", "plan": "gold"}))
    assert {("user", "maria"), ("status", "start")} <= facets(run)


def test_what_people_did_is_found_by_their_names() -> None:
    approval = entry(ApprovalEntry(id="a-1", event="approved", by="dana", reasons=(REASON,)))
    assert {("person", "dana"), ("status", "approved"), ("rule", "big-refund")} <= facets(approval)
    policy = entry(
        PolicyEntry(name="shop", serial=1, act="publish", live="v" * 64, by="dana", note="")
    )
    assert {("person", "dana"), ("policy", "shop"), ("policy", "v" * 64)} <= facets(policy)


def test_what_was_stopped_is_found_by_what_it_is() -> None:
    stop = entry(ControlEntry(event="stopped", scope="agent", value="support", by="dana"))
    assert {("agent", "support"), ("status", "stopped"), TURN} <= facets(stop)
    of_run = ControlEntry(event="stopped", scope="run", value="r-1", run="r-1", by="dana")
    assert ("run", "r-1") in facets(entry(of_run))
    assert TURN not in facets(entry(of_run))


def test_long_values_are_kept_apart_and_short() -> None:
    one, other = (facets(decision(run="r" * 5_000 + end)) for end in "ab")
    assert one != other
    assert max(len(value) for _, value in one) <= MAX_VALUE


def test_words_are_those_of_people_models_and_tools() -> None:
    said = words(
        decision(
            args={"note": "as agreed", "deep": [{"more": ["inside", 4711, True, None]}]},
            reasons=(REASON,),
            digest="d" * 32,
            sign="s" * 32,
        )
    )
    for word in ("as agreed", "inside", "4711", "Finance has to agree.", "refund", "support"):
        assert word in said
    for word in ("d" * 32, "s" * 32, "True", "host-1"):
        assert word not in said
    assert "I will" in words(entry(ModelEntry(output="I will", **OF)))


@pytest.mark.parametrize("name", ["$sealed", "$blob"])
def test_what_stands_for_a_value_that_is_not_here_has_no_words(name: str) -> None:
    digest = "ab" * 32
    value = {name: {"sha256": digest, "bytes": 40_000}}
    owned = {"sealed": {digest: "args.email"}} if name == "$sealed" else {"blobs": {digest: 40_000}}
    assert digest not in words(decision(args={"email": value}, **owned))
    # One that the entry does not name is what somebody said, and no placeholder.
    assert digest in words(decision(args={"email": value}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(JSON)
def test_whatever_a_tool_said_its_words_are_bounded_text_without_nul(value: Any) -> None:
    said = words(entry(OutcomeEntry(of=3, status="ok", result=value)))
    assert len(said) <= MAX_WORDS
    assert "\0" not in said
    said.encode()


def test_of_one_that_says_very_much_the_beginning_is_searched() -> None:
    said = words(entry(OutcomeEntry(of=3, status="ok", result=["first", "x" * 40_000, "last"])))
    assert len(said) <= MAX_WORDS
    assert "first" in said
    assert "last" not in said
