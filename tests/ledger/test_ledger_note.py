"""Signed notes, against the example that C2SP and Go publish and against what goes wrong."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.errors import SafeRunError
from saferun.ledger import NoteError, Signer, Verifier, open_note, sign
from saferun.ledger.note import MAX_NOTE, MAX_SIGNATURES

# From the documentation of golang.org/x/mod/sumdb/note: keys, text and signature.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpR"
    "Zb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{LINE}".encode()

KNOWN = Signer("example.com/known", b"k" * 32)
OTHER = Signer("example.com/other", b"o" * 32)
VERIFIER = Verifier(KNOWN.vkey())

texts = st.text(
    st.characters(codec="utf-8", exclude_characters=[chr(c) for c in range(32) if c != 10])
).map(lambda text: text + "\n")


def line(signer, text):
    """The signature line alone."""
    return sign(text, signer).decode().rpartition("\n\n")[2]


def test_the_published_note_opens_with_the_published_key():
    assert open_note(NOTE, [Verifier(VKEY)]) == TEXT


def test_the_published_seed_gives_the_published_key():
    assert Signer("PeterNeumann", SEED).vkey() == VKEY


def test_the_published_seed_makes_the_published_note_to_the_byte():
    assert sign(TEXT, Signer("PeterNeumann", SEED)) == NOTE


@given(texts)
def test_what_was_signed_comes_back(text):
    assert open_note(sign(text, KNOWN), [VERIFIER]) == text


@given(texts, st.data())
def test_no_single_byte_of_a_note_can_be_changed(text, data):
    note = bytearray(sign(text, KNOWN))
    at = data.draw(st.integers(0, len(note) - 1))
    note[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NoteError):
        open_note(bytes(note), [VERIFIER])


def test_signatures_of_unknown_keys_are_passed_over():
    text = "text\n"
    note = sign(text, OTHER) + line(KNOWN, text).encode() + line(OTHER, text).encode()
    assert open_note(note, [VERIFIER]) == text


def test_a_note_that_only_unknown_keys_have_signed_is_refused():
    with pytest.raises(NoteError, match="No known key has signed this note"):
        open_note(sign("text\n", OTHER), [VERIFIER])


def test_a_key_of_the_same_name_is_another_key():
    impostor = Signer(KNOWN.name, b"i" * 32)
    with pytest.raises(NoteError, match="No known key"):
        open_note(sign("text\n", impostor), [VERIFIER])


def test_one_bad_signature_in_a_known_name_spoils_the_note():
    text = "text\n"
    note = sign(text, OTHER) + line(KNOWN, "another\n").encode()
    with pytest.raises(NoteError, match=r"signature of 'example\.com/known' does not fit"):
        open_note(note, [VERIFIER, Verifier(OTHER.vkey())])


@pytest.mark.parametrize("length", [1, 63, 65, 3000])
def test_a_signature_of_another_length_does_not_fit(length):
    coded = b64encode(KNOWN.key_id + bytes(length)).decode()
    with pytest.raises(NoteError, match="does not fit"):
        open_note(f"text\n\n— {KNOWN.name} {coded}\n".encode(), [VERIFIER])


def test_a_text_may_have_empty_lines_and_lines_like_signatures():
    text = f"one\n\n\n{LINE}\n\n"
    assert open_note(sign(text, KNOWN), [VERIFIER]) == text


def test_only_newlines_end_a_line():
    text = "one\N{LINE SEPARATOR}two\N{NEXT LINE}three\n"
    assert open_note(sign(text, KNOWN), [VERIFIER]) == text


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (b"", "no signature lines"),
        (b"text\n", "no signature lines"),
        (TEXT.encode() + LINE.encode(), "no signature lines"),
        (NOTE[:-1], "no signature lines"),
        (TEXT.encode() + b"\n", "not a signature line"),
        (NOTE.replace("— ".encode(), b"- "), "not a signature line"),
        (NOTE.replace(b"nAM=", b"nAM"), "not a signature line"),
        (NOTE.replace(b"nAM=", b"nAN="), "not a signature line"),
        (NOTE.replace(b" x08g", b" x0 8g"), "not a signature line"),
        (NOTE + b"\n", "not a signature line"),
        (TEXT.encode() + "\n— PeterNeumann x08gow==\n".encode(), "not a signature line"),
        (NOTE.replace(b"Neumann x", b"+Neumann x"), "cannot name a key"),
        (NOTE.replace(b"PeterNeumann x", b" x"), "cannot name a key"),
        (NOTE.replace(b"think", b"th\0nk"), "control character"),
        (NOTE.replace(b"\n", b"\r\n"), "control character"),
        (NOTE.replace(b"think", b"th\xffnk"), "not UTF-8"),
    ],
)
def test_a_malformed_note_is_refused_with_a_sentence_that_says_why(note, said):
    with pytest.raises(NoteError, match=said):
        open_note(note, [Verifier(VKEY)])


def test_a_note_of_more_than_a_mebibyte_is_refused_unread():
    with pytest.raises(NoteError, match="at most 1048576 bytes"):
        open_note(b"x" * (MAX_NOTE + 1), [VERIFIER])


def test_as_many_signatures_as_the_bound_are_read():
    text = "text\n"
    note = sign(text, KNOWN) + line(OTHER, text).encode() * (MAX_SIGNATURES - 1)
    assert open_note(note, [VERIFIER]) == text


def test_one_signature_more_than_the_bound_is_refused():
    text = "text\n"
    note = sign(text, KNOWN) + line(OTHER, text).encode() * MAX_SIGNATURES
    with pytest.raises(NoteError, match="at most 100 signatures; this one has 101"):
        open_note(note, [VERIFIER])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "end in a newline"),
        ("no end", "end in a newline"),
        ("a\tb\n", "control character"),
        ("\ud800\n", "surrogate"),
    ],
)
def test_a_text_that_no_note_may_hold_is_not_signed(text, said):
    with pytest.raises(NoteError, match=said):
        sign(text, KNOWN)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\N{NO-BREAK SPACE}b", "a\0b", "\ud800"]
)
def test_a_name_that_no_key_may_have_is_refused(name):
    with pytest.raises(NoteError):
        Signer(name, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length):
    with pytest.raises(NoteError, match=f"32 bytes, not {length}"):
        Signer("example.com", bytes(length))


@given(st.integers(0, len(VKEY)), st.integers(0, len(VKEY)))
def test_no_part_of_a_verifier_key_is_one(start, end):
    if VKEY[start:end] != VKEY:
        with pytest.raises(NoteError):
            Verifier(VKEY[start:end])


@given(st.integers(0, len(VKEY) - 1), st.characters(codec="utf-8"))
def test_a_verifier_key_with_one_character_changed_is_none(at, character):
    changed = VKEY[:at] + character + VKEY[at + 1 :]
    if changed != VKEY:
        with pytest.raises(NoteError):
            Verifier(changed)


def test_a_verifier_key_for_another_algorithm_is_refused():
    public = b"\x02" + bytes(32)
    with pytest.raises(NoteError, match="not an Ed25519 key"):
        Verifier(f"example.com+00000000+{b64encode(public).decode()}")


def test_a_verifier_key_whose_id_is_not_its_own_is_called_damaged():
    with pytest.raises(NoteError, match="damaged: its id should be c74f20a3"):
        Verifier(VKEY.replace("c74f20a3", "c74f20a4"))


def test_the_printed_form_of_a_signer_does_not_hold_its_key():
    signer = Signer("example.com", SEED)
    assert SEED.hex() not in repr(signer)
    assert b64encode(SEED).decode() not in repr(signer)


def test_all_of_these_errors_are_safe_run_errors():
    assert issubclass(NoteError, SafeRunError)
