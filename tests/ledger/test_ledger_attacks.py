"""What a forger does to a ledger, and what the verifier says.

    python -m pytest tests/ledger/test_ledger_attacks.py

The attacks, one section each: cut the tail, rewrite one field, rewrite all with the key in
hand, drop an archive, fork, reorder, pass an inner node off as a leaf, replay an old
checkpoint, swap ledgers, edit a sealed value; then any change at all; and, last, what
nothing finds.

Three forgers do it: one who edits the file and no more; one who edits it and makes leaves and
head fit ("thorough"); one who has the signing key as well. The first two entries in most
tests are the beginning and a run; a call is at 2 and 3, at 4 and 5, and so on.
"""

import json
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.book import ORIGIN, START, Book, head_of, rows_of, tree_of
from saferun.ledger import (
    Archival,
    ArchiveEntry,
    Checkpoint,
    DecisionEntry,
    Head,
    KeyEntry,
    LedgerEntry,
    NoteError,
    Opening,
    Signer,
    Since,
    UserEntry,
    Verifier,
    encode,
    leaf_hash,
    open_checkpoint,
    seal,
    sign,
    sign_archival,
    sign_checkpoint,
    verify,
)
from saferun.ledger.proof import consistency, inclusion, proves_consistency
from saferun.ledger.receipt import Receipt, ReceiptError, open_receipt
from saferun.ledger.rotation import rotation_text
from saferun.ledger.tree import node_hash

CALLS = 4
SIZE = 2 + 2 * CALLS
BOOK = Book().calls(CALLS)
EXTERNAL = BOOK.checkpoint()

RAISED = BOOK.bodies[4].replace(b'"amount":4000', b'"amount":9000')


def replaced(at, body):
    return [*BOOK.bodies[:at], body, *BOOK.bodies[at + 1 :]]


def renumbered(bodies):
    """The same entries under consecutive numbers, as a thorough forger leaves them."""
    fixed = []
    for seq, body in enumerate(bodies):
        entry = json.loads(body)
        moved = {"of": entry["of"] - 2} if "of" in entry else {}
        rest = json.dumps(
            {name: entry[name] for name in entry if name not in ("seq", "time")} | moved,
            separators=(",", ":"),
        )
        fixed.append(seal(seq, entry["time"], rest.encode()))
    return fixed


def found(rows, head=None, **more):
    """The entry to blame and the sentence; fails where the forgery passes."""
    report = verify(rows, head, **more)
    assert (report.state, report.exit_code) == ("tampered", 1)
    assert report.summary == f"Tampered: {report.problem.sentence}"
    return report.problem.seq, report.problem.sentence


RAISED_LAST = BOOK.bodies[8].replace(b'"amount":4000', b'"amount":9000')

KEY = Signer(ORIGIN, b"k" * 32)
KNOWN = Verifier(KEY.vkey())
KEPT = sign_checkpoint(EXTERNAL, KEY)


def signed(bodies):
    """The checkpoint that the key's holder can sign of anything."""
    return sign_checkpoint(Checkpoint(ORIGIN, len(bodies), tree_of(bodies).root()), KEY)


def archived(by=KEY):
    """A ledger whose entries 1 to 4 lie elsewhere, as the last entry says, and its rows."""
    book = Book(vkey=KEY.vkey()).calls(CALLS)
    root = book.checkpoint(5).root
    book.write(
        ArchiveEntry(
            first=0,
            size=5,
            root=b64encode(root).decode(),
            note=sign_archival(Archival(ORIGIN, 0, 5, root, bytes(32)), by).decode(),
            by="dana",
        )
    )
    return book, [
        (seq, b"" if 1 <= seq < 5 else body, leaf_hash(body))
        for seq, body in enumerate(book.bodies)
    ]


SALT, PATH, VALUE = bytes(range(16)), "args.email", b'"maria@example.com"'
COMMITMENT = sha256(b"\x03" + SALT + PATH.encode() + b"\0" + VALUE).digest()


def sealed():
    """A ledger whose entry 1 holds a sealed value, and what opens it."""
    book = Book()
    held = {"email": {"$sealed": {"sha256": COMMITMENT.hex()}}}
    named = {COMMITMENT.hex(): PATH}
    book.write(DecisionEntry(tool="mail", verdict="deny", args=held, sealed=named))
    return book, (SALT, PATH, VALUE)


# Cut the tail.


def test_a_cut_tail_is_found_by_the_head():
    assert found(BOOK.rows()[:-2], BOOK.head()) == (
        None,
        (
            "The head counts 10 entries, and the ledger has 8: "
            "entries were taken from its end or added to it."
        ),
    )


def test_an_emptied_ledger_is_found_by_the_head():
    assert "head counts 10 entries, and the ledger has 0" in found([], BOOK.head())[1]


def test_a_thorough_cut_is_found_by_the_external_checkpoint():
    bodies = BOOK.bodies[:-2]
    assert found(rows_of(bodies), head_of(bodies), external=EXTERNAL) == (
        None,
        (
            "The external checkpoint vouches for 10 entries, and the ledger has 8: "
            "its tail was cut off."
        ),
    )


def test_a_thorough_cut_is_found_by_a_local_checkpoint_that_was_left():
    bodies = BOOK.bodies[:-2]
    local = [BOOK.checkpoint(5), EXTERNAL]
    assert (
        "local checkpoint vouches for 10 entries"
        in found(rows_of(bodies), head_of(bodies), local=local)[1]
    )


def test_a_cut_with_a_new_signed_checkpoint_is_found_by_the_one_kept_elsewhere():
    bodies = BOOK.bodies[:-2]
    local = [signed(bodies)]
    assert verify(rows_of(bodies), head_of(bodies), local=local, beside=KNOWN).exit_code == 2
    sentence = found(rows_of(bodies), head_of(bodies), local=local, external=KEPT, trusted=KNOWN)[1]
    assert "vouches for 10 entries, and the ledger has 8: its tail was cut off" in sentence


def test_an_added_tail_is_found_by_the_head():
    bodies = [*BOOK.bodies, seal(SIZE, 2 * START, encode(UserEntry(text="never said")))]
    assert found(rows_of(bodies), BOOK.head())[0] is None


# Rewrite one field.


def test_a_rewritten_field_is_found_at_its_entry():
    rows = BOOK.rows()
    rows[4] = (4, RAISED, rows[4][2])
    assert found(rows, BOOK.head()) == (
        4,
        "Entry 4 was changed: its bytes do not give the leaf stored beside them.",
    )


def test_a_rewritten_leaf_is_found_at_its_entry():
    rows = BOOK.rows()
    rows[4] = (4, BOOK.bodies[4], leaf_hash(b"other"))
    assert found(rows, BOOK.head())[0] == 4


def test_the_first_of_several_changes_is_named():
    rows = BOOK.rows()
    for at in (7, 5, 3):
        rows[at] = (at, rows[at][1] + b" ", rows[at][2])
    assert found(rows, BOOK.head())[0] == 3


def test_a_thorough_rewrite_is_found_by_the_external_checkpoint():
    bodies = replaced(4, RAISED)
    assert found(rows_of(bodies), head_of(bodies), external=EXTERNAL) == (
        None,
        "The first 10 entries are not those that the external checkpoint of that size vouches for.",
    )


def test_a_thorough_rewrite_is_found_by_a_local_checkpoint_that_was_left():
    bodies = replaced(4, RAISED)
    local = [BOOK.checkpoint(3), BOOK.checkpoint(6), BOOK.checkpoint()]
    assert found(rows_of(bodies), head_of(bodies), local=local) == (
        None,
        (
            "The first 6 entries are not those that the local checkpoint of that size vouches for, "
            "though the first 3 are."
        ),
    )


def test_a_replaced_head_is_found():
    other = head_of(replaced(4, RAISED))
    assert "The head is not that of these entries" in found(BOOK.rows(), other)[1]


def test_an_entry_dated_back_is_found():
    bodies = replaced(4, BOOK.bodies[4].replace(b'"time":%d' % (START + 4000), b'"time":5'))
    assert found(rows_of(bodies), head_of(bodies)) == (
        4,
        "Entry 4 is dated before the entry that it follows.",
    )


def test_a_beginning_that_was_rewritten_is_found():
    bodies = replaced(0, seal(0, START, encode(UserEntry(text="hi"))))
    assert found(rows_of(bodies), head_of(bodies))[0] == 0


@pytest.mark.parametrize("body", ["text", None, 7, memoryview(b"{}")])
def test_a_body_that_is_not_stored_as_bytes_is_found(body):
    rows = BOOK.rows()
    rows[4] = (4, body, rows[4][2])
    assert found(rows, BOOK.head())[0] == 4


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"not JSON", BOOK.bodies[4][:-1], b"x" * 70_000, BOOK.bodies[4] + b"\xff"],
)
def test_a_body_that_is_no_entry_is_found_even_where_all_hashes_fit(body):
    bodies = replaced(4, body)
    seq, sentence = found(rows_of(bodies), head_of(bodies))
    assert seq == 4
    assert sentence.startswith("Entry 4 ")


def test_what_is_anchored_stays_anchored_though_a_later_entry_is_wrong():
    rows = BOOK.rows()
    rows[8] = (8, rows[8][1] + b" ", rows[8][2])
    report = verify(rows, BOOK.head(), external=BOOK.checkpoint(6))
    assert (report.state, report.anchored, report.entries) == ("tampered", 6, 8)


def test_an_entry_that_was_emptied_is_found():
    rows = BOOK.rows()
    rows[4] = (4, b"", rows[4][2])
    assert found(rows, BOOK.head()) == (
        4,
        "Entry 4 is empty, and no archive entry says where its bytes are.",
    )


# Rewrite all, with the key in hand.


def test_a_rewrite_with_new_signed_checkpoints_is_found_by_the_one_kept_elsewhere():
    kept = sign_checkpoint(EXTERNAL, KEY)
    bodies = replaced(4, RAISED)
    forged = sign_checkpoint(Checkpoint(ORIGIN, SIZE, tree_of(bodies).root()), KEY)
    local = [open_checkpoint(forged, [KNOWN], ORIGIN)]
    assert verify(rows_of(bodies), head_of(bodies), local=local).state == "unanchored"
    external = open_checkpoint(kept, [KNOWN], ORIGIN)
    assert found(rows_of(bodies), head_of(bodies), local=local, external=external)[0] is None


def test_a_checkpoint_signed_by_another_key_does_not_open():
    bodies = replaced(4, RAISED)
    forged = Checkpoint(ORIGIN, SIZE, tree_of(bodies).root())
    with pytest.raises(NoteError, match="No known key has signed this note"):
        open_checkpoint(sign_checkpoint(forged, Signer(ORIGIN, b"f" * 32)), [KNOWN], ORIGIN)


def test_a_ledger_begun_anew_is_found_by_the_external_checkpoint():
    fresh = Book()
    assert found(fresh.rows(), fresh.head(), external=EXTERNAL)[0] is None
    assert found([], None, external=EXTERNAL)[0] is None


def test_a_ledger_begun_anew_under_a_key_of_the_forgers_is_found_by_the_trusted_key_alone():
    forger = Signer(ORIGIN, b"f" * 32)
    fresh = Book(vkey=forger.vkey()).calls(CALLS)
    assert found(fresh.rows(), fresh.head(), trusted=KNOWN) == (
        None,
        (
            "The key that was given is none of those that the ledger states as its own: "
            "the ledger was replaced, or the key is another's."
        ),
    )


def test_a_key_that_the_forger_put_in_by_an_entry_of_its_own_is_found():
    forger = Signer(ORIGIN, b"f" * 32)
    book = Book(vkey=KEY.vkey()).calls(CALLS)
    note = sign(rotation_text(ORIGIN, forger.vkey()), forger).decode()
    at = book.write(KeyEntry(vkey=forger.vkey(), note=note, by="mallory"))
    assert found(book.rows(), book.head(), trusted=KNOWN) == (
        at,
        f"Entry {at} changes the ledger's key, and the key before it has not signed that.",
    )


# Drop an archive, or an entry.


def test_an_archive_that_was_dropped_with_its_entry_is_found():
    book, rows = archived()
    cut = rows[:-1]
    sentence = found(cut, head_of(book.bodies[:-1]))[1]
    assert sentence == "Entry 1 is empty, and no archive entry says where its bytes are."


def test_archived_entries_that_were_dropped_are_found_as_missing():
    book, rows = archived()
    del rows[1:4]
    assert found(rows, book.head()) == (1, "Entries 1 to 3 are missing.")


def test_an_archive_of_other_entries_in_the_place_of_the_real_one_is_found():
    book, rows = archived()
    rows[3] = (3, RAISED, rows[3][2])
    assert found(rows, book.head())[0] == 3
    rows[3] = (3, b"", leaf_hash(RAISED))
    assert "The head is not that of these entries" in found(rows, book.head())[1]


def test_entries_that_are_called_archived_without_the_key_are_found():
    book, _ = archived(by=Signer(ORIGIN, b"f" * 32))
    assert found(book.rows(), book.head())[0] == SIZE


def test_a_dropped_entry_is_found_as_missing():
    rows = BOOK.rows()
    del rows[4]
    assert found(rows, BOOK.head()) == (4, "Entry 4 is missing.")


def test_several_dropped_entries_are_found_as_missing():
    rows = BOOK.rows()
    del rows[4:7]
    assert found(rows, BOOK.head()) == (4, "Entries 4 to 6 are missing.")


def test_a_ledger_without_its_beginning_is_found():
    assert found(BOOK.rows()[2:], BOOK.head()) == (0, "Entries 0 to 1 are missing.")


def test_a_call_taken_out_without_a_gap_is_found_by_the_external_checkpoint():
    bodies = renumbered([*BOOK.bodies[:2], *BOOK.bodies[4:]])
    assert verify(rows_of(bodies), head_of(bodies)).state == "unanchored"
    assert "its tail was cut off" in found(rows_of(bodies), head_of(bodies), external=EXTERNAL)[1]
    filled = [*bodies, *(seal(at, 2 * START, encode(UserEntry())) for at in range(8, SIZE))]
    assert "are not those" in found(rows_of(filled), head_of(filled), external=EXTERNAL)[1]


# Fork: show one history to some, and another to others.


def test_a_fork_is_found_by_whoever_holds_a_checkpoint_of_the_other_branch():
    fork = replaced(8, RAISED_LAST)
    assert signed(fork) != KEPT
    # Each branch is sound by itself, and each contradicts the checkpoint of the other.
    for bodies, other in ((fork, KEPT), (BOOK.bodies, signed(fork))):
        rows, head = rows_of(bodies), head_of(bodies)
        assert verify(rows, head, external=signed(bodies), trusted=KNOWN).exit_code == 0
        assert "are not those" in found(rows, head, external=other, trusted=KNOWN)[1]


def test_no_proof_leads_from_one_branch_of_a_fork_to_the_other():
    fork = Book()
    fork.bodies = [*replaced(5, RAISED), b"more", b"and more"]
    hashes = consistency(SIZE, SIZE + 2, fork.nodes)
    old, new = tree_of(BOOK.bodies).root(), tree_of(fork.bodies).root()
    assert proves_consistency(hashes, SIZE, SIZE + 2, tree_of(fork.bodies[:SIZE]).root(), new)
    assert not proves_consistency(hashes, SIZE, SIZE + 2, old, new)


def test_a_receipt_from_one_branch_is_not_proven_by_a_checkpoint_of_the_other():
    fork = Book()
    fork.bodies = replaced(8, RAISED_LAST)
    hashes = tuple(inclusion(8, SIZE, fork.nodes))
    own = Receipt(fork.bodies[8], 8, hashes, signed(fork.bodies))
    assert open_receipt(own.encode(), KNOWN).entry.seq == 8
    with pytest.raises(ReceiptError, match="does not lead from the entry to the checkpoint"):
        open_receipt(Receipt(fork.bodies[8], 8, hashes, KEPT).encode(), KNOWN)


# Reorder.


def test_rows_out_of_order_are_found():
    rows = BOOK.rows()
    rows[4], rows[5] = rows[5], rows[4]
    assert found(rows, BOOK.head())[0] == 4


def test_entries_that_changed_places_are_found_by_the_number_inside_them():
    bodies = list(BOOK.bodies)
    bodies[4], bodies[6] = bodies[6], bodies[4]
    assert found(rows_of(bodies), head_of(bodies)) == (
        4,
        "Entry 4 was put there from elsewhere: it says 6.",
    )


def test_a_repeated_entry_is_found():
    rows = BOOK.rows()
    rows.insert(5, rows[4])
    assert found(rows, BOOK.head()) == (4, "Entry 4 stands there twice, or after a later one.")


def test_entries_that_changed_places_and_numbers_are_found_by_the_external_checkpoint():
    # The call at 6 and 7 comes before the one at 4 and 5 now, under their numbers and times.
    bodies = list(BOOK.bodies)
    for seq, source, of in ((4, 6, None), (5, 7, 4), (6, 4, None), (7, 5, 6)):
        rest = BOOK.bodies[source].partition(b'"kind"')[2].replace(b'"of":%d' % (source - 1), b"OF")
        rest = rest.replace(b"OF", b'"of":%d' % (of or 0))
        bodies[seq] = b'{"seq":%d,"time":%d,"kind"' % (seq, START + 1000 * seq) + rest
    assert verify(rows_of(bodies), head_of(bodies)).exit_code == 2
    assert "are not those" in found(rows_of(bodies), head_of(bodies), external=EXTERNAL)[1]


# An inner node as a leaf.


def test_an_inner_node_does_not_pass_for_a_leaf():
    leaves = [leaf_hash(body) for body in BOOK.bodies[:2]]
    inside = node_hash(*leaves)
    assert Checkpoint(ORIGIN, 2, inside) == BOOK.checkpoint(2)
    shrunk = [(0, leaves[0] + leaves[1], inside)]
    assert found(shrunk, external=Checkpoint(ORIGIN, 1, inside))[0] == 0
    without_leaf = [(0, BOOK.bodies[0], None)]
    assert found(without_leaf, external=Checkpoint(ORIGIN, 1, inside))[0] is None


def test_an_inner_node_does_not_pass_for_an_entry_in_a_receipt():
    left, right = BOOK.nodes(0, 0), BOOK.nodes(0, 1)
    for body in (left + right, b"\x01" + left + right):
        hashes = tuple(inclusion(0, SIZE, BOOK.nodes))[1:]
        with pytest.raises(ReceiptError, match="does not lead"):
            open_receipt(Receipt(body, 0, hashes, KEPT).encode(), KNOWN)


# Replay an old checkpoint.


def test_an_old_checkpoint_vouches_only_up_to_its_size_and_the_report_says_so():
    bodies = replaced(8, BOOK.bodies[8].replace(b'"amount":4000', b'"amount":9000'))
    report = verify(rows_of(bodies), head_of(bodies), external=BOOK.checkpoint(6))
    assert (report.state, report.anchored, report.unanchored) == ("verified", 6, 4)


def test_an_old_checkpoint_in_the_place_of_the_newest_is_found_by_whoever_kept_the_newest():
    bodies = BOOK.bodies[:6]
    rows, head = rows_of(bodies), head_of(bodies)
    # To whoever is given the old one it is a sound ledger, and to whoever has the newest a cut one.
    assert verify(rows, head, external=signed(bodies), trusted=KNOWN).exit_code == 0
    assert "its tail was cut off" in found(rows, head, external=KEPT, trusted=KNOWN)[1]


def test_an_old_checkpoint_with_a_larger_size_written_into_it_does_not_open():
    note = signed(BOOK.bodies[:6]).replace(b"\n6\n", b"\n10\n")
    assert "does not open" in found(BOOK.rows(), BOOK.head(), external=note, trusted=KNOWN)[1]


# Swap ledgers.


def test_another_ledger_in_the_place_of_this_one_is_found_by_its_name():
    other = Book("saferun.local/other").calls(CALLS)
    assert found(other.rows(), other.head(), external=EXTERNAL) == (
        None,
        (
            "The external checkpoint is of the ledger 'saferun.local/default', "
            "and this one calls itself 'saferun.local/other'."
        ),
    )


def test_another_ledgers_local_checkpoint_is_found_by_its_name():
    other = Book("saferun.local/other").calls(CALLS).checkpoint(origin="saferun.local/other")
    assert "local checkpoint is of the ledger" in found(BOOK.rows(), local=[other])[1]


def test_another_ledgers_signed_checkpoint_does_not_open():
    other = Signer("saferun.local/other", b"k" * 32)
    note = sign_checkpoint(Checkpoint("saferun.local/other", 3, bytes(32)), other)
    with pytest.raises(NoteError):
        open_checkpoint(note, [KNOWN, Verifier(other.vkey())], ORIGIN)


def test_the_origin_in_the_beginning_cannot_be_changed_to_fit_a_foreign_checkpoint():
    other = Book("saferun.local/other").calls(CALLS).checkpoint(origin="saferun.local/other")
    renamed = LedgerEntry(
        name="default", origin="saferun.local/other", format=1, created_by="saferun-sdk 1"
    )
    bodies = replaced(0, seal(0, START, encode(renamed)))
    assert "are not those" in found(rows_of(bodies), head_of(bodies), external=other)[1]


# Edit the commitment of a value that is sealed, or what opens it.


def test_a_commitment_that_was_edited_is_found_at_its_entry():
    book, _ = sealed()
    edited = book.bodies[1].replace(COMMITMENT.hex().encode(), b"0" * 64)
    rows = book.rows()
    rows[1] = (1, edited, rows[1][2])
    assert found(rows, book.head())[0] == 1


def test_a_commitment_that_was_edited_thoroughly_is_found_by_the_external_checkpoint():
    book, _ = sealed()
    bodies = [book.bodies[0], book.bodies[1].replace(COMMITMENT.hex().encode(), b"0" * 64)]
    kept = book.checkpoint()
    assert "are not those" in found(rows_of(bodies), head_of(bodies), external=kept)[1]


def test_another_value_behind_a_commitment_is_found_at_its_entry():
    book, (salt, path, _) = sealed()
    opened = (salt, path, b'"eve@example.com"')
    seq, sentence = found(book.rows(), book.head(), openings=lambda commitment: Opening(*opened))
    assert seq == 1
    assert "its opening does not fit the commitment in the entry" in sentence


def test_a_value_that_was_erased_is_no_attack_and_is_counted():
    book, _ = sealed()
    report = verify(book.rows(), book.head(), openings=lambda commitment: None)
    assert (report.problem, report.sealed_missing) == (None, 1)


# Any change at all.


@st.composite
def one_byte_changed(draw):
    at = draw(st.integers(0, SIZE - 1))
    body = bytearray(BOOK.bodies[at])
    body[draw(st.integers(0, len(body) - 1))] ^= draw(st.integers(1, 255))
    return at, bytes(body)


@settings(max_examples=400)
@given(one_byte_changed())
def test_any_changed_byte_is_found_at_its_entry_by_the_leaves(change):
    at, body = change
    rows = BOOK.rows()
    rows[at] = (at, body, rows[at][2])
    assert found(rows, BOOK.head())[0] == at


@settings(max_examples=400)
@given(one_byte_changed())
def test_any_changed_byte_is_found_by_the_head_where_leaves_were_made_to_fit(change):
    found(rows_of(replaced(*change)), BOOK.head())


@settings(max_examples=400)
@given(one_byte_changed())
def test_any_changed_byte_is_found_by_an_external_checkpoint_alone(change):
    rows = [(seq, body, None) for seq, body in enumerate(replaced(*change))]
    found(rows, external=EXTERNAL)


@given(st.lists(st.sampled_from(range(SIZE)), max_size=SIZE + 2))
def test_any_other_choice_of_entries_is_found_by_an_external_checkpoint_alone(choice):
    if choice != list(range(SIZE)):
        found([(seq, BOOK.bodies[seq], None) for seq in choice], external=EXTERNAL)


@given(st.integers(0, 40), st.binary(min_size=1, max_size=40))
def test_any_other_head_is_found(size, frontier):
    found(BOOK.rows(), Head(size, BOOK.head().frontier if size != SIZE else frontier))


# What nothing finds. These tests say so, that the docs can.


def test_what_came_after_the_external_checkpoint_can_be_cut_unseen_and_the_report_says_so():
    external = BOOK.checkpoint(6)
    whole = verify(BOOK.rows(), BOOK.head(), external=external)
    assert "the 4 after it are consistent but not anchored" in whole.summary
    bodies = BOOK.bodies[:6]
    cut = verify(rows_of(bodies), head_of(bodies), external=external)
    assert (cut.state, cut.unanchored) == ("verified", 0)


def test_what_came_after_the_external_checkpoint_can_be_rewritten_by_the_keys_holder_unseen():
    external = signed(BOOK.bodies[:6])
    bodies = replaced(8, RAISED_LAST)
    report = verify(
        rows_of(bodies),
        head_of(bodies),
        external=external,
        local=[external, signed(bodies)],
        trusted=KNOWN,
    )
    assert (report.exit_code, report.anchored, report.unanchored) == (0, 6, 4)
    assert "the 4 after it are consistent but not anchored" in report.summary


def test_a_ledger_that_nothing_outside_vouches_for_can_be_rewritten_whole_by_the_keys_holder():
    book = Book(vkey=KEY.vkey()).calls(1)
    report = verify(book.rows(), book.head(), local=[signed(book.bodies)], trusted=KNOWN)
    assert (report.exit_code, report.unanchored) == (2, 4)
    assert "could have rewritten all of it" in report.summary


def test_one_branch_of_a_fork_is_sound_to_whoever_never_sees_the_other():
    fork = replaced(8, RAISED_LAST)
    external = signed(fork)
    assert verify(rows_of(fork), head_of(fork), external=external, trusted=KNOWN).exit_code == 0


def test_what_was_never_written_leaves_no_trace():
    book = Book()
    book.write(UserEntry(text="before"))
    # Here the agent called a tool that nobody had guarded.
    book.write(UserEntry(text="after"))
    assert verify(book.rows(), book.head(), external=book.checkpoint()).exit_code == 0


def test_a_clock_that_was_wrong_when_it_happened_is_believed():
    book = Book()
    book.write(UserEntry(text="dated a year ahead"), START + 365 * 86_400_000_000)
    book.write(UserEntry(text="so is what follows"), START + 365 * 86_400_000_000)
    assert verify(book.rows(), book.head(), external=book.checkpoint()).exit_code == 0


def test_the_bytes_of_an_entry_are_not_looked_at_since_a_checkpoint_that_is_trusted():
    begun = Since(BOOK.checkpoint(6), KNOWN)
    report = verify(BOOK.rows()[6:], BOOK.head(), since=begun, nodes=[BOOK.nodes])
    assert (report.exit_code, report.since) == (0, 6)
    assert "the entries themselves were not read again" in report.summary
