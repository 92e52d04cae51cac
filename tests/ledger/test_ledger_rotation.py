"""Rotation: only who held a ledger's key can name the next one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.ledger import (
    NoteError,
    Signer,
    Verifier,
    open_note,
    open_rotation,
    rotation_text,
    sign,
    sign_rotation,
    vkey_of,
)

ORIGIN = "saferun/default/0123456789abcdef"
OLD, NEW = Signer(ORIGIN, bytes(32)), Signer(ORIGIN, bytes(31) + b"\1")
TRUSTED = Verifier(OLD.vkey())


def test_the_old_key_names_the_new_one() -> None:
    note = sign_rotation(OLD, NEW.vkey())
    after = open_rotation(note, TRUSTED)
    assert (after.name, after.key_id) == (NEW.name, NEW.key_id)


def test_the_text_is_the_one_that_the_format_says() -> None:
    note = sign_rotation(OLD, NEW.vkey())
    assert open_note(note, [TRUSTED]) == f"saferun key rotation\n{ORIGIN}\n{NEW.vkey()}\n"


def test_a_rotation_that_the_new_key_signs_itself_is_none() -> None:
    with pytest.raises(NoteError, match="No known key"):
        open_rotation(sign(rotation_text(ORIGIN, NEW.vkey()), NEW), TRUSTED)


@pytest.mark.parametrize(
    "text",
    [
        rotation_text("another", NEW.vkey()),
        rotation_text(ORIGIN, Signer("another", bytes(32)).vkey()),
        rotation_text(ORIGIN, "no key"),
        rotation_text(ORIGIN, NEW.vkey()) + "more\n",
        f"saferun key rotation\n{ORIGIN}\n",
        f"another title\n{ORIGIN}\n{NEW.vkey()}\n",
        f"{ORIGIN}\n7\n{'A' * 43}=\n",
    ],
)
def test_whatever_else_the_old_key_has_signed_names_no_key(text: str) -> None:
    with pytest.raises(NoteError):
        open_rotation(sign(text, OLD), TRUSTED)


@pytest.mark.parametrize("vkey", [OLD.vkey(), Signer("another", bytes(32)).vkey(), "", "a+b+c"])
def test_a_key_that_cannot_follow_is_not_signed(vkey: str) -> None:
    with pytest.raises(NoteError):
        sign_rotation(OLD, vkey)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=6, unique=True))
def test_a_chain_of_rotations_leads_from_the_first_key_to_the_last(seeds: list[bytes]) -> None:
    signers = [Signer(ORIGIN, seed) for seed in seeds]
    known = Verifier(signers[0].vkey())
    for before, after in pairwise(signers):
        known = open_rotation(sign_rotation(before, after.vkey()), known)
    assert known.key_id == signers[-1].key_id


@given(st.binary(min_size=32, max_size=32))
def test_a_public_key_alone_gives_the_same_verifier_key_as_its_signer(seed: bytes) -> None:
    signer = Signer(ORIGIN, seed)
    assert vkey_of(ORIGIN, signer._public) == signer.vkey()


@pytest.mark.parametrize(("name", "public"), [("a b", bytes(32)), ("", bytes(32)), ("a", b"")])
def test_what_cannot_be_a_key_has_no_verifier_key(name: str, public: bytes) -> None:
    with pytest.raises(NoteError):
        vkey_of(name, public)
