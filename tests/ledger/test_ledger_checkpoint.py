"""Checkpoints: one form each, signed by the ledger's own key and by no other."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import signing, tlog

from saferun.ledger import (
    Checkpoint,
    NoteError,
    Signer,
    Verifier,
    open_checkpoint,
    sign,
    sign_checkpoint,
)
from saferun.ledger.checkpoint import MAX_EXTENSIONS

ORIGIN = "example.com/log"
SIGNER = Signer(ORIGIN, b"s" * 32)
VERIFIER = Verifier(SIGNER.vkey())
ROOT = bytes(range(32))
CODED = b64encode(ROOT).decode()
CHECKPOINT = Checkpoint(ORIGIN, 42, ROOT)
TEXT = f"{ORIGIN}\n42\n{CODED}\n"

# The example in C2SP tlog-checkpoint.
PUBLISHED = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

checkpoints = st.builds(
    Checkpoint, st.just(ORIGIN), st.integers(0, 10**18 - 1), st.binary(min_size=32, max_size=32)
)


def test_a_checkpoint_is_three_lines():
    assert CHECKPOINT.text() == TEXT


def test_the_published_example_is_read_and_written_the_same():
    checkpoint = Checkpoint.parse(PUBLISHED)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text() == PUBLISHED


@given(checkpoints)
def test_a_checkpoint_comes_back_from_its_text(checkpoint):
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(checkpoints)
def test_a_checkpoint_comes_back_from_its_note(checkpoint):
    note = sign_checkpoint(checkpoint, SIGNER)
    assert open_checkpoint(note, [VERIFIER], ORIGIN) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n42\n",
        f"{ORIGIN}\n42\n{CODED}",
        f"{ORIGIN}\n42\n{CODED}\n\n",
        f"\n42\n{CODED}\n",
        f"{ORIGIN}\n\n{CODED}\n",
        f"two words\n42\n{CODED}\n",
        f"a+b\n42\n{CODED}\n",
        f"nul\0\n42\n{CODED}\n",
        *(
            f"{ORIGIN}\n{size}\n{CODED}\n"
            for size in (
                *("042", "00", "+42", "-1", "-0", "4_2", "4.0", "0x2a", " 42", "42 ", "forty"),
                *("\N{ARABIC-INDIC DIGIT FOUR}", "1" + "0" * 18, "9" * 5000),
            )
        ),
        f"{ORIGIN}\n42\n{CODED[:-1]}\n",
        f"{ORIGIN}\n42\n{CODED[:-2]}9=\n",
        f"{ORIGIN}\n42\n{CODED} \n",
        f"{ORIGIN}\n42\n{b64encode(ROOT[:31]).decode()}\n",
        f"{ORIGIN}\n42\n{b64encode(ROOT + b'x').decode()}\n",
        f"{ORIGIN}\n42\n{ROOT.hex()}\n",
    ],
)
def test_a_text_that_is_not_exactly_a_checkpoint_is_refused(text):
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_an_empty_ledger_has_a_checkpoint_of_size_0():
    assert Checkpoint.parse(f"{ORIGIN}\n0\n{CODED}\n").size == 0


def test_extension_lines_are_read_over_and_not_kept():
    assert Checkpoint.parse(TEXT + "extension\n" * MAX_EXTENSIONS) == CHECKPOINT


def test_more_extension_lines_than_the_bound_are_refused():
    with pytest.raises(NoteError, match="at most 16 extension lines"):
        Checkpoint.parse(TEXT + "extension\n" * (MAX_EXTENSIONS + 1))


def test_a_key_of_another_name_may_not_sign():
    with pytest.raises(NoteError, match="a ledger's key bears its origin as its name"):
        sign_checkpoint(CHECKPOINT, Signer("example.com/other", b"s" * 32))


@pytest.mark.parametrize(
    "checkpoint", [Checkpoint(ORIGIN, -1, ROOT), Checkpoint(ORIGIN, 1, ROOT[:31])]
)
def test_what_could_not_be_read_back_is_not_signed(checkpoint):
    with pytest.raises(NoteError):
        sign_checkpoint(checkpoint, SIGNER)


def test_the_checkpoint_of_another_ledger_is_refused_where_one_is_expected():
    with pytest.raises(NoteError, match=r"of the ledger 'example\.com/log', and not of 'mine'"):
        open_checkpoint(sign_checkpoint(CHECKPOINT, SIGNER), [VERIFIER], "mine")


def test_the_word_of_another_ledgers_key_does_not_count():
    other = Signer("example.com/other", b"o" * 32)
    with pytest.raises(NoteError, match="signed by another name's key"):
        open_checkpoint(sign(TEXT, other), [Verifier(other.vkey())])
    with pytest.raises(NoteError, match="No known key"):
        open_checkpoint(sign(TEXT, other), [Verifier(other.vkey()), VERIFIER])


def test_the_signature_of_an_older_key_of_the_same_name_is_unknown():
    stolen = Signer(ORIGIN, b"t" * 32)
    with pytest.raises(NoteError, match="No known key"):
        open_checkpoint(sign_checkpoint(CHECKPOINT, stolen), [VERIFIER])


def test_a_signed_text_that_is_no_checkpoint_is_refused():
    with pytest.raises(NoteError, match="This is no checkpoint"):
        open_checkpoint(sign("hello\n", SIGNER), [VERIFIER])


def test_an_independent_reader_accepts_what_is_signed_here():
    theirs = tlog.Checkpoint.from_text(sign_checkpoint(CHECKPOINT, SIGNER).decode())
    theirs.verify(signing.Vkey.from_string(SIGNER.vkey()))
    assert (theirs.origin, theirs.size, theirs.root_hash) == (ORIGIN, 42, ROOT)


def test_what_an_independent_signer_signs_is_accepted_here():
    signer = signing.PlainEd25519Signer(ORIGIN, b"s" * 32)
    theirs = tlog.Checkpoint.make_signed(ORIGIN, 42, ROOT, [signer])
    assert open_checkpoint(theirs.serialize().encode(), [VERIFIER]) == CHECKPOINT
