"""A receipt proves one entry to whoever has the key, and nothing once it was changed."""

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales import tlog

from ledger.book import ORIGIN, Book
from saferun.ledger import Checkpoint, KeyEntry, Signer, Verifier, sign, sign_checkpoint
from saferun.ledger.proof import inclusion
from saferun.ledger.receipt import (
    MAX_KEYS,
    MAX_RECEIPT,
    Receipt,
    ReceiptError,
    open_receipt,
)
from saferun.ledger.rotation import rotation_text

KEY = Signer(ORIGIN, b"k" * 32)
KNOWN = Verifier(KEY.vkey())
BOOK = Book(vkey=KEY.vkey()).calls(6)


def receipt_for(seq, book=BOOK, size=None, signer=KEY, keys=()):
    size = len(book.bodies) if size is None else size
    note = sign_checkpoint(book.checkpoint(size), signer)
    hashes = tuple(inclusion(seq, size, book.nodes))
    return Receipt(book.bodies[seq], seq, hashes, note, tuple(keys))


RECEIPT = receipt_for(4)
DATA = RECEIPT.encode()


@pytest.mark.parametrize("seq", range(len(BOOK.bodies)))
def test_a_receipt_proves_its_entry(seq):
    proven = open_receipt(receipt_for(seq).encode(), KNOWN)
    assert (proven.entry.seq, proven.checkpoint) == (seq, BOOK.checkpoint())


def test_a_receipt_has_the_form_of_a_c2sp_tlog_proof():
    proof, _, note = DATA.partition(b"\n\n")
    title, extra, index, *hashes = proof.decode().split("\n")
    assert title == "c2sp.org/tlog-proof@v1"
    assert b64decode(extra.removeprefix("extra ")) == BOOK.bodies[4]
    assert index == "index 4"
    assert tuple(map(b64decode, hashes)) == RECEIPT.hashes
    assert note == RECEIPT.note


def test_tlog_scales_accepts_what_a_receipt_holds():
    proof, _, note = DATA.partition(b"\n\n")
    _, extra, index, *hashes = proof.decode().split("\n")
    _, size, root, *_ = note.decode().split("\n")
    leaf = sha256(b"\0" + b64decode(extra.removeprefix("extra "))).digest()
    path = [b64decode(each) for each in hashes]
    number = int(index.removeprefix("index "))
    tlog.InclusionProof(number, int(size), path).check(leaf, b64decode(root))


def test_a_receipt_comes_back_from_its_file():
    assert Receipt.parse(DATA) == RECEIPT


def test_cosignatures_of_others_below_the_checkpoint_change_nothing():
    witness = Signer("witness.example", b"w" * 32)
    line = sign(BOOK.checkpoint().text(), witness).rpartition(b"\n\n")[2]
    assert open_receipt(DATA + line, KNOWN).entry.seq == 4


def refused(data, verifier=KNOWN):
    with pytest.raises(ReceiptError) as told:
        open_receipt(data, verifier)
    return str(told.value)


def rewritten(**about):
    fields = {name: getattr(RECEIPT, name) for name in RECEIPT.__struct_fields__}
    return Receipt(**{**fields, **about}).encode()


def test_an_entry_that_was_changed_is_not_proven():
    body = RECEIPT.body.replace(b'"amount":4000', b'"amount":9000')
    assert body != RECEIPT.body
    assert "does not lead from the entry to the checkpoint" in refused(rewritten(body=body))


def test_another_place_is_not_proven():
    assert "does not lead" in refused(rewritten(index=5))


def test_a_checkpoint_that_the_key_has_not_signed_proves_nothing():
    forged = sign_checkpoint(BOOK.checkpoint(), Signer(ORIGIN, b"f" * 32))
    assert "No known key has signed" in refused(rewritten(note=forged))


def test_a_checkpoint_of_another_ledger_proves_nothing():
    other = Signer("saferun.local/other", b"k" * 32)
    note = sign_checkpoint(BOOK.checkpoint(origin="saferun.local/other"), other)
    assert "does not open" in refused(rewritten(note=note))


def test_a_checkpoint_of_another_size_does_not_prove_by_this_proof():
    note = sign_checkpoint(BOOK.checkpoint(9), KEY)
    assert "does not lead" in refused(rewritten(note=note))


def test_an_inner_node_is_no_entry():
    left, right = BOOK.nodes(0, 0), BOOK.nodes(0, 1)
    checkpoint = Checkpoint(ORIGIN, 1, BOOK.nodes(1, 0))
    forged = Receipt(b"\x01" + left + right, 0, (), sign_checkpoint(checkpoint, KEY))
    assert "does not lead" in refused(forged.encode())


def test_what_is_proven_and_is_no_entry_is_refused():
    book = Book()
    book.bodies.append(b"{}")
    assert "does not begin with its seq, time and kind" in refused(receipt_for(1, book).encode())


def test_an_entry_that_says_another_number_is_refused():
    book = Book().calls(1)
    book.bodies[2], book.bodies[3] = book.bodies[3], book.bodies[2]
    assert "says that it is number 3" in refused(receipt_for(2, book).encode())


@settings(max_examples=300)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused_or_changes_nothing_that_is_proven(at, change):
    data = bytearray(DATA)
    data[at] ^= change
    try:
        proven = open_receipt(bytes(data), KNOWN)
    except ReceiptError:
        return
    # A signature line that names another key is passed over, as long as one is left.
    assert proven == open_receipt(DATA, KNOWN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v2\nextra eA==\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eA==\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eB==\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra \xff\nindex 0\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eA==\nindex 00\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eA==\nindex -1\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eA==\nindex 0\neA==\n\nnote",
        b"c2sp.org/tlog-proof@v1\nextra eA==\nindex 0\n\nnote",
        b"x" * (MAX_RECEIPT + 1),
    ],
)
def test_what_is_no_receipt_is_refused_in_a_sentence(data):
    assert refused(data).endswith(".")


def test_a_proof_of_too_many_hashes_is_refused():
    assert "at most 64 hashes" in refused(rewritten(hashes=(bytes(32),) * 65))


def test_too_many_changes_of_the_key_are_refused():
    assert "changes of the key" in refused(rewritten(keys=(b"{}",) * (MAX_KEYS + 1)))


# A receipt under a key that came later.

SECOND, THIRD = Signer(ORIGIN, b"2" * 32), Signer(ORIGIN, b"3" * 32)


def changed_to(following, by, origin=ORIGIN):
    note = sign(rotation_text(origin, following.vkey()), by).decode()
    return KeyEntry(vkey=following.vkey(), note=note, by="dana")


def rotated():
    book = Book(vkey=KEY.vkey()).calls(1)
    book.write(changed_to(SECOND, KEY))
    book.write(changed_to(THIRD, SECOND))
    return book


def test_whoever_has_an_earlier_key_follows_the_changes_in_the_receipt():
    book = rotated()
    data = receipt_for(2, book, signer=THIRD, keys=book.bodies[4:6]).encode()
    for key in (KEY, SECOND, THIRD):
        assert open_receipt(data, Verifier(key.vkey())).entry.seq == 2


def test_without_the_changes_an_earlier_key_proves_nothing():
    book = rotated()
    data = receipt_for(2, book, signer=THIRD).encode()
    assert "No known key has signed" in refused(data)
    assert open_receipt(data, Verifier(THIRD.vkey())).entry.seq == 2


def test_a_change_that_the_key_before_has_not_signed_is_not_followed():
    book = Book(vkey=KEY.vkey()).calls(1)
    book.write(changed_to(SECOND, SECOND))
    data = receipt_for(2, book, signer=SECOND, keys=book.bodies[4:5]).encode()
    assert "No known key has signed" in refused(data)


def test_what_stands_in_extra_is_not_believed_by_itself():
    data = rewritten(keys=(b"junk", BOOK.bodies[2]))
    assert open_receipt(data, KNOWN).entry.seq == 4
    coded = b64encode(BOOK.bodies[5])
    proof, border, note = DATA.partition(b"\n\n")
    title, _, *rest = proof.split(b"\n")
    assert "does not lead" in refused(b"\n".join((title, b"extra " + coded, *rest)) + border + note)
