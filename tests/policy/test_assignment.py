"""Assignments: which act leads to which, what is written down, and what is not believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.errors import PolicyError
from saferun.ledger import Signer, Verifier
from saferun.policy import assignment
from saferun.policy.assignment import Assignment

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
WHO = {"by": "alice", "at": 1_763_942_400_000_000}
FIRST = assignment.published(None, ONE, name="shop", origin="o", **WHO)
SIGNER = Signer("policies", bytes(32))


def read(data: bytes, **about: object) -> Assignment:
    return assignment.read(data, **{"name": "shop", "origin": "o", **about})


def test_a_published_version_is_live() -> None:
    said = assignment.published(FIRST, TWO, **WHO)
    assert (said.serial, said.live, said.candidate) == (2, TWO, None)


def test_a_version_on_trial_leaves_the_live_one() -> None:
    said = assignment.published(FIRST, TWO, trial="canary", share=10, **WHO)
    assert (said.live, said.candidate, said.trial, said.share) == (ONE, TWO, "canary", 10)


def test_nothing_can_be_tried_beside_nothing() -> None:
    with pytest.raises(PolicyError, match="no live version yet"):
        assignment.published(None, ONE, trial="shadow", name="shop", origin="o", **WHO)


def test_a_promoted_candidate_is_live() -> None:
    tried = assignment.published(FIRST, TWO, trial="shadow", **WHO)
    said = assignment.promoted(tried, **WHO)
    assert (said.live, said.candidate, said.trial) == (TWO, None, None)
    with pytest.raises(PolicyError, match="has no candidate"):
        assignment.promoted(said, **WHO)


def test_a_rollback_takes_the_candidate_back_first_and_then_the_live_version() -> None:
    second = assignment.published(FIRST, TWO, **WHO)
    tried = assignment.published(second, THREE, trial="shadow", **WHO)
    third = assignment.rolled_back([FIRST, second, tried], **WHO)
    assert (third.live, third.candidate) == (TWO, None)
    fourth = assignment.rolled_back([FIRST, second, tried, third], **WHO)
    assert (fourth.live, fourth.serial) == (ONE, 5)


def test_there_is_nothing_before_the_first_to_go_back_to() -> None:
    with pytest.raises(PolicyError, match="no other live version"):
        assignment.rolled_back([FIRST], **WHO)


def test_an_urgent_act_stays_the_floor_of_those_after_it() -> None:
    urgent = assignment.published(FIRST, TWO, urgent=True, **WHO)
    later = assignment.published(urgent, THREE, **WHO)
    assert (urgent.urgent, later.urgent, later.floor) == (True, False, 2)


def test_what_is_written_is_read_back() -> None:
    verifier = Verifier(SIGNER.vkey())
    assert read(FIRST.sealed(None)) == FIRST
    assert read(FIRST.sealed(SIGNER)) == FIRST
    assert read(FIRST.sealed(SIGNER), verifier=verifier) == FIRST


def test_with_a_key_only_what_it_signed_is_believed() -> None:
    verifier = Verifier(SIGNER.vkey())
    forged = Signer("policies", bytes(range(32)))
    for note in (FIRST.sealed(None), FIRST.sealed(forged)):
        with pytest.raises(PolicyError, match="not signed"):
            read(note, verifier=verifier)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_a_signed_assignment_can_be_changed(at: int, change: int) -> None:
    note = bytearray(FIRST.sealed(SIGNER))
    note[at % len(note)] ^= change
    with pytest.raises(PolicyError):
        read(bytes(note), verifier=Verifier(SIGNER.vkey()))


@given(st.binary(max_size=300))
def test_what_is_no_assignment_is_told_in_a_sentence(data: bytes) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        read(data)


@pytest.mark.parametrize("about", [{"name": "other"}, {"origin": "elsewhere"}])
def test_an_assignment_holds_for_its_own_policy_and_store(about: dict[str, str]) -> None:
    with pytest.raises(PolicyError, match="another policy or another store"):
        read(FIRST.sealed(None), **about)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 99), st.integers(1, 99))
def test_while_its_share_grows_a_canary_keeps_its_runs(
    bucket: bytes, one: int, another: int
) -> None:
    small, large = (
        assignment.canary(
            assignment.published(FIRST, TWO, trial="canary", share=share, **WHO), bucket
        )
        for share in sorted((one, another))
    )
    assert large or not small


@given(st.binary(min_size=16, max_size=16))
def test_a_candidate_in_shadow_decides_for_no_run(bucket: bytes) -> None:
    said = assignment.published(FIRST, TWO, trial="shadow", share=99, **WHO)
    assert not assignment.canary(said, bucket)


def test_going_back_again_goes_further_back_and_never_forward() -> None:
    history = [FIRST]
    for version in (TWO, THREE):
        history.append(assignment.published(history[-1], version, **WHO))
    back = []
    for _ in range(2):
        history.append(assignment.rolled_back(history, **WHO))
        back.append(history[-1].live)
    assert back == [TWO, ONE]
    with pytest.raises(PolicyError, match="no other live version"):
        assignment.rolled_back(history, **WHO)
