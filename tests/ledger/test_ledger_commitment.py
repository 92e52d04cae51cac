"""Commitments to sensitive values: what they bind, and that they give nothing away."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.ledger import Opening, commit, filled, opened, opens, sealed

SALT = bytes(range(16))


@pytest.mark.parametrize(
    ("path", "value", "commitment"),
    [
        (
            "args.email",
            b'"maria@example.com"',
            "fe0a171341c5c2f1983c91e8526786fd2c0a17928447ecfd1659c76b9f9b6982",
        ),
        (
            "result.größe",
            b"172",
            "dc7a1529a60ca2b1b6d1929be3d46b9634926efd5c2821503f359a8aac92cdfd",
        ),
    ],
)
def test_a_commitment_is_the_one_that_the_format_states(path, value, commitment):
    assert commit(SALT, path, value).hex() == commitment


def test_a_commitment_can_be_worked_out_with_nothing_but_a_hash():
    by_hand = sha256(b"\x03" + SALT + b"args.email" + b"\0" + b"null").digest()
    assert commit(SALT, "args.email", b"null") == by_hand


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
openings = st.builds(Opening, st.binary(min_size=16, max_size=16), texts, st.binary())


@given(openings, openings)
def test_a_commitment_opens_as_what_was_committed_to_and_as_nothing_else(one, other):
    commitment = commit(*one)
    assert opens(commitment, one)
    assert opens(commitment, other) is (one == other)


@pytest.mark.parametrize("salt", [b"", bytes(15), bytes(17)])
def test_a_salt_of_another_length_is_refused(salt):
    with pytest.raises(ValueError, match="16 bytes"):
        commit(salt, "args.email", b"1")


def test_a_path_with_a_nul_in_it_is_refused():
    with pytest.raises(ValueError, match="NUL"):
        commit(SALT, "args.a\0b", b"1")


@pytest.mark.parametrize(
    "changed",
    [Opening(SALT[:8], "a", b"1"), Opening(SALT, "a\0", b"1"), Opening("text", "a", b"1"), (1, 2)],
)
def test_what_could_be_no_opening_opens_nothing(changed):
    assert not opens(commit(SALT, "a", b"1"), changed)


def test_a_placeholder_counts_only_where_the_entry_names_it():
    commitment = commit(SALT, "result.a", b"1")
    value = {"a": sealed(commitment), "b": [sealed(bytes(32))]}
    found = opened(value, {commitment.hex(): "result.a"}, lambda _: Opening(SALT, "result.a", b"1"))
    assert found == {"a": 1, "b": [sealed(bytes(32))]}


@pytest.mark.parametrize(
    "kept",
    [
        None,
        Opening(SALT, "result.a", b"2"),
        Opening(SALT, "result.b", b"1"),
        Opening(bytes(16), "result.a", b"1"),
    ],
)
def test_a_placeholder_stays_where_nothing_opens_it(kept):
    commitment = commit(SALT, "result.a", b"1")
    value = {"a": sealed(commitment)}
    assert opened(value, {commitment.hex(): "result.a"}, lambda _: kept) == value


def test_a_commitment_to_another_path_is_no_opening_here():
    """Whoever can write openings could else show one value in the place of another."""
    commitment = commit(SALT, "result.b", b"1")
    value = {"a": sealed(commitment)}
    kept = Opening(SALT, "result.b", b"1")
    assert opened(value, {commitment.hex(): "result.a"}, lambda _: kept) == value


def test_what_was_given_is_not_changed():
    commitment = commit(SALT, "result", b"1")
    value = [sealed(commitment)]
    assert filled(value, {commitment.hex(): "result"}, lambda _: "word") == ["word"]
    assert value == [sealed(commitment)]
