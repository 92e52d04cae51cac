"""Entries whose bytes lie elsewhere, and values that are sealed."""

from base64 import b64encode
from hashlib import sha256

import pytest

from ledger.book import ORIGIN, Book, head_of
from saferun.ledger import (
    Archival,
    ArchiveEntry,
    DecisionEntry,
    KeyEntry,
    Opening,
    OutcomeEntry,
    Signer,
    Since,
    UserEntry,
    Verifier,
    leaf_hash,
    sign_archival,
    sign_checkpoint,
    sign_rotation,
    verify,
)

KEY = Signer(ORIGIN, b"k" * 32)


def note_of(first, size, root, by=KEY):
    return sign_archival(Archival(by.name, first, size, root, bytes(32)), by).decode()


def archive(book, upto, **about):
    """The entry that says that the first `upto` entries lie elsewhere."""
    root = book.checkpoint(upto).root
    fields = {
        "first": 0,
        "size": upto,
        "root": b64encode(root).decode(),
        "note": note_of(0, upto, root),
        "by": "dana",
    }
    return book.write(ArchiveEntry(**(fields | about)))


def emptied(book, *seqs):
    return [(seq, b"" if seq in seqs else body, leaf) for seq, body, leaf in book.rows()]


def found(book, rows, **about):
    return verify(rows, book.head(), nodes=[book.nodes], **about)


def archived(size=5):
    book = Book(vkey=KEY.vkey()).calls(3)
    archive(book, size)
    return book


def test_bytes_that_a_later_archive_entry_took_away_are_not_called_verified():
    book = archived()
    # Whoever has the key by now can have put it there.
    report = found(
        book,
        emptied(book, 1, 2, 3, 4),
        external=sign_checkpoint(book.checkpoint(5), KEY),
        trusted=Verifier(KEY.vkey()),
    )
    assert (report.state, report.exit_code, report.anchored) == ("unanchored", 2, 5)
    assert "the bytes of 4 are not here, and only entry" in report.summary


def test_bytes_that_are_at_hand_are_verified_whatever_a_later_archive_entry_says():
    book = archived()
    external = sign_checkpoint(book.checkpoint(5), KEY)
    report = found(book, book.rows(), external=external, trusted=Verifier(KEY.vkey()))
    assert (report.state, report.archived) == ("verified", 0)


def test_archived_entries_count_in_the_tree_by_their_leaves():
    book = archived()
    report = found(
        book,
        emptied(book, 1, 2, 3, 4),
        external=sign_checkpoint(book.checkpoint(), KEY),
        trusted=Verifier(KEY.vkey()),
    )
    assert (report.state, report.entries, report.archived) == ("verified", 9, 4)


def test_the_beginning_is_never_archived():
    book = archived()
    # Without it nobody could tell by whose word the others may be missing.
    report = found(book, emptied(book, 0, 1, 2, 3, 4))
    assert (report.exit_code, report.problem.seq) == (1, 0)
    assert "the entry that begins a ledger never goes" in report.problem.sentence


def test_with_the_bytes_from_the_archive_everything_is_read():
    book = archived()
    assert found(book, book.rows()).archived == 0


def test_an_empty_entry_that_nobody_archived_is_found():
    for book in (Book(vkey=KEY.vkey()).calls(3), archived(3)):
        report = found(book, emptied(book, 4))
        assert (report.exit_code, report.problem.seq) == (1, 4)
        assert "no archive entry says where its bytes are" in report.problem.sentence


def test_the_first_entry_that_was_emptied_beyond_the_archive_is_named():
    book = archived(3)
    assert found(book, emptied(book, 1, 2, 3, 4)).problem.seq == 3


def test_an_archive_that_was_dropped_is_found_by_the_entries_that_lack():
    book = archived()
    rows = emptied(book, 1, 2, 3, 4)
    del rows[2]
    assert found(book, rows).problem.sentence == "Entry 2 is missing."


def test_an_archived_entry_whose_leaf_was_changed_is_found():
    book = archived()
    rows = emptied(book, 1, 2, 3, 4)
    rows[2] = (2, b"", leaf_hash(b"other"))
    assert found(book, rows).exit_code == 1


@pytest.mark.parametrize("leaf", [None, b"", "text", b"x" * 31])
def test_an_archived_entry_without_a_leaf_is_found(leaf):
    book = archived()
    rows = emptied(book, 1, 2, 3, 4)
    rows[2] = (2, b"", leaf)
    report = found(book, rows)
    assert (report.problem.seq, "no leaf of it was kept" in report.problem.sentence) == (2, True)


def test_an_archive_entry_whose_root_is_not_that_of_the_tree_is_found():
    book = Book(vkey=KEY.vkey()).calls(3)
    archive(book, 5, root=b64encode(bytes(32)).decode(), note=note_of(0, 5, bytes(32)))
    report = found(book, emptied(book, 1, 2, 3, 4))
    assert report.problem.seq == 8
    assert "is not that of the first 5 entries" in report.problem.sentence


@pytest.mark.parametrize(
    "about",
    [
        {"root": "none"},
        {"note": "none"},
        {"first": 5},
        {"first": -1},
        {"size": 4},
        {"root": b64encode(bytes(32)).decode()},
    ],
)
def test_an_archive_entry_that_contradicts_its_checkpoint_is_found(about):
    book = Book(vkey=KEY.vkey()).calls(3)
    archive(book, 5, **about)
    assert found(book, book.rows()).problem.seq == 8


def test_an_archive_entry_that_the_ledgers_key_has_not_signed_is_found():
    book = Book(vkey=KEY.vkey()).calls(3)
    stranger = Signer(ORIGIN, b"x" * 32)
    archive(book, 5, note=note_of(0, 5, book.checkpoint(5).root, stranger))
    assert found(book, emptied(book, 1, 2, 3, 4)).problem.seq == 8


def test_a_checkpoint_that_is_known_to_all_lets_no_body_go():
    book = Book(vkey=KEY.vkey()).calls(3)
    archive(book, 5, note=sign_checkpoint(book.checkpoint(5), KEY).decode())
    report = found(book, emptied(book, 1, 2, 3, 4), external=book.checkpoint(5))
    assert (report.exit_code, report.problem.seq) == (1, 8)
    assert "is not signed by the ledger's key" in report.problem.sentence


def test_the_archival_of_another_ledger_lets_no_body_go():
    other = Signer("saferun.local/other", b"k" * 32)
    book = Book(vkey=KEY.vkey()).calls(3)
    archive(book, 5, note=note_of(0, 5, book.checkpoint(5).root, other))
    assert found(book, emptied(book, 1, 2, 3, 4)).problem.seq == 8


def test_a_key_that_was_replaced_lets_no_body_go_any_more():
    new = Signer(ORIGIN, b"n" * 32)
    book = Book(vkey=KEY.vkey()).calls(3)
    note = sign_rotation(KEY, new.vkey()).decode()
    book.write(KeyEntry(vkey=new.vkey(), note=note, by="dana"))
    at = archive(book, 5)
    assert found(book, emptied(book, 1, 2, 3, 4)).problem.seq == at
    book.bodies.pop()
    archive(book, 5, note=note_of(0, 5, book.checkpoint(5).root, new))
    assert found(book, emptied(book, 1, 2, 3, 4)).problem is None


def test_what_a_trusted_checkpoint_covers_does_not_hide_an_archive_entry_without_signature():
    book = Book(vkey=KEY.vkey()).calls(3)
    since = Since(book.checkpoint(5), Verifier(KEY.vkey()))
    archive(book, 7, note=sign_checkpoint(book.checkpoint(7), KEY).decode())
    report = found(book, book.rows()[5:], since=since)
    assert (report.exit_code, report.problem.seq) == (1, 8)


def test_an_archive_of_what_is_not_there_yet_is_found():
    book = Book(vkey=KEY.vkey()).calls(3)
    whole = Book(vkey=KEY.vkey()).calls(9)
    root = whole.checkpoint(12).root
    archive(book, 5, size=12, root=b64encode(root).decode(), note=note_of(0, 12, root))
    assert found(book, book.rows()).problem.seq == 8


def test_the_newest_of_several_archives_counts():
    book = Book(vkey=KEY.vkey()).calls(3)
    first = archive(book, 3)
    book.write(UserEntry(text="on"))
    archive(book, 7)
    assert found(book, emptied(book, *range(1, 7))).problem is None
    assert found(book, emptied(book, *range(1, 8))).problem.seq == 7
    archive(book, 10)
    assert found(book, emptied(book, *range(1, first), first)).problem is None


def test_an_outcome_of_a_decision_that_was_archived_is_right():
    book = Book(vkey=KEY.vkey())
    decision = book.write(DecisionEntry(tool="refund", verdict="allow"))
    archive(book, 2)
    book.write(OutcomeEntry(of=decision, status="ok"))
    report = found(book, emptied(book, decision))
    assert (report.problem, report.dangling) == (None, 0)
    # One that was read does not wait for a second outcome.
    book.write(OutcomeEntry(of=decision, status="ok"))
    assert found(book, book.rows()).problem.seq == 4


# Sealed values.

SALT, PATH, VALUE = bytes(range(16)), "args.email", b'"maria@example.com"'
COMMITMENT = sha256(b"\x03" + SALT + PATH.encode() + b"\0" + VALUE).digest()


def sealed(named=None):
    book = Book()
    held = {"email": {"$sealed": {"sha256": COMMITMENT.hex()}}}
    names = {COMMITMENT.hex(): PATH} if named is None else named
    book.write(DecisionEntry(tool="mail", verdict="deny", args=held, sealed=names))
    return book


def opened(opening, named=None):
    book = sealed(named)
    return verify(book.rows(), book.head(), openings=lambda _: opening and Opening(*opening))


def test_an_opening_that_fits_its_commitment_is_right():
    report = opened((SALT, PATH, VALUE))
    assert (report.problem, report.sealed_missing) == (None, 0)


def test_a_value_that_was_erased_is_counted_and_is_no_tampering():
    report = opened(None)
    assert (report.problem, report.sealed_missing) == (None, 1)


@pytest.mark.parametrize(
    "opening",
    [
        (SALT, PATH, VALUE.replace(b"maria", b"mario")),
        (bytes(16), PATH, VALUE),
        (SALT, "args.phone", VALUE),
        (SALT + b"a", PATH[1:], VALUE),
        (SALT[:-1], PATH, VALUE),
        (SALT, PATH, VALUE.decode()),
        (SALT.decode("latin-1"), PATH, VALUE),
    ],
)
def test_an_opening_that_does_not_fit_is_found_at_its_entry(opening):
    report = opened(opening)
    assert report.problem.seq == 1
    assert "its opening does not fit the commitment" in report.problem.sentence


def test_a_sealed_value_that_is_named_by_no_hash_is_found():
    assert opened(None, {"none": PATH}).problem.seq == 1


def test_a_commitment_that_was_edited_is_found_by_the_leaf():
    book = sealed()
    other = book.bodies[1].replace(COMMITMENT.hex().encode(), bytes(32).hex().encode())
    rows = book.rows()
    rows[1] = (1, other, rows[1][2])
    assert verify(rows, book.head()).problem.seq == 1
    rows[1] = (1, other, leaf_hash(other))
    assert verify(rows, book.head()).exit_code == 1
    assert verify(rows, head_of([book.bodies[0], other]), external=book.checkpoint()).exit_code == 1


def test_sealed_values_are_left_alone_where_nobody_can_open_them():
    book = sealed()
    report = verify(book.rows(), book.head())
    assert (report.problem, report.sealed_missing) == (None, 0)
