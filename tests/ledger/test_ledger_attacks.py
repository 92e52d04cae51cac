"""What a forger does to a ledger, and what the verifier says.

Three forgers: one who edits the file and no more; one who edits it and makes leaves and
head fit; one who has the signing key as well. The first two entries in every test are the
beginning and a run; a call is at 2 and 3, at 4 and 5, and so on.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.book import ORIGIN, START, Book, head_of, rows_of, tree_of
from saferun.ledger import (
    Checkpoint,
    Head,
    LedgerEntry,
    NoteError,
    Signer,
    UserEntry,
    Verifier,
    encode,
    leaf_hash,
    open_checkpoint,
    seal,
    sign_checkpoint,
    verify,
)
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


# The forger who edits the file.


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


def test_a_repeated_entry_is_found():
    rows = BOOK.rows()
    rows.insert(5, rows[4])
    assert found(rows, BOOK.head()) == (4, "Entry 4 stands there twice, or after a later one.")


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


def test_a_cut_tail_is_found_by_the_head():
    assert found(BOOK.rows()[:-2], BOOK.head()) == (
        None,
        (
            "The head counts 10 entries, and the ledger has 8: "
            "entries were taken from its end or added to it."
        ),
    )


def test_an_added_tail_is_found_by_the_head():
    bodies = [*BOOK.bodies, seal(SIZE, 2 * START, encode(UserEntry(text="never said")))]
    assert found(rows_of(bodies), BOOK.head())[0] is None


def test_an_emptied_ledger_is_found_by_the_head():
    assert "head counts 10 entries, and the ledger has 0" in found([], BOOK.head())[1]


def test_a_replaced_head_is_found():
    other = head_of(replaced(4, RAISED))
    assert "The head is not that of these entries" in found(BOOK.rows(), other)[1]


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


def test_an_inner_node_does_not_pass_for_a_leaf():
    leaves = [leaf_hash(body) for body in BOOK.bodies[:2]]
    inside = node_hash(*leaves)
    assert Checkpoint(ORIGIN, 2, inside) == BOOK.checkpoint(2)
    shrunk = [(0, leaves[0] + leaves[1], inside)]
    assert found(shrunk, external=Checkpoint(ORIGIN, 1, inside))[0] == 0
    without_leaf = [(0, BOOK.bodies[0], None)]
    assert found(without_leaf, external=Checkpoint(ORIGIN, 1, inside))[0] is None


# The forger who makes leaves and head fit as well.


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


def test_a_call_taken_out_without_a_gap_is_found_by_the_external_checkpoint():
    bodies = renumbered([*BOOK.bodies[:2], *BOOK.bodies[4:]])
    assert verify(rows_of(bodies), head_of(bodies)).state == "unanchored"
    assert "its tail was cut off" in found(rows_of(bodies), head_of(bodies), external=EXTERNAL)[1]
    filled = [*bodies, *(seal(at, 2 * START, encode(UserEntry())) for at in range(8, SIZE))]
    assert "are not those" in found(rows_of(filled), head_of(filled), external=EXTERNAL)[1]


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


def test_a_ledger_begun_anew_is_found_by_the_external_checkpoint():
    fresh = Book()
    assert found(fresh.rows(), fresh.head(), external=EXTERNAL)[0] is None
    assert found([], None, external=EXTERNAL)[0] is None


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


def test_a_beginning_that_was_rewritten_is_found():
    bodies = replaced(0, seal(0, START, encode(UserEntry(text="hi"))))
    assert found(rows_of(bodies), head_of(bodies))[0] == 0


def test_an_entry_dated_back_is_found():
    bodies = replaced(4, BOOK.bodies[4].replace(b'"time":%d' % (START + 4000), b'"time":5'))
    assert found(rows_of(bodies), head_of(bodies)) == (
        4,
        "Entry 4 is dated before the entry that it follows.",
    )


# The forger who holds the signing key.

KEY = Signer(ORIGIN, b"k" * 32)
KNOWN = [Verifier(KEY.vkey())]


def test_a_checkpoint_signed_by_another_key_does_not_open():
    bodies = replaced(4, RAISED)
    forged = Checkpoint(ORIGIN, SIZE, tree_of(bodies).root())
    with pytest.raises(NoteError, match="No known key has signed this note"):
        open_checkpoint(sign_checkpoint(forged, Signer(ORIGIN, b"f" * 32)), KNOWN, ORIGIN)


def test_another_ledgers_signed_checkpoint_does_not_open():
    other = Signer("saferun.local/other", b"k" * 32)
    note = sign_checkpoint(Checkpoint("saferun.local/other", 3, bytes(32)), other)
    with pytest.raises(NoteError):
        open_checkpoint(note, [*KNOWN, Verifier(other.vkey())], ORIGIN)


def test_a_rewrite_with_new_signed_checkpoints_is_found_by_the_one_kept_elsewhere():
    kept = sign_checkpoint(EXTERNAL, KEY)
    bodies = replaced(4, RAISED)
    forged = sign_checkpoint(Checkpoint(ORIGIN, SIZE, tree_of(bodies).root()), KEY)
    local = [open_checkpoint(forged, KNOWN, ORIGIN)]
    assert verify(rows_of(bodies), head_of(bodies), local=local).state == "unanchored"
    external = open_checkpoint(kept, KNOWN, ORIGIN)
    assert found(rows_of(bodies), head_of(bodies), local=local, external=external)[0] is None


def test_what_came_after_the_external_checkpoint_can_be_cut_unseen_and_the_report_says_so():
    external = BOOK.checkpoint(6)
    whole = verify(BOOK.rows(), BOOK.head(), external=external)
    assert "the 4 after it are consistent but not anchored" in whole.summary
    bodies = BOOK.bodies[:6]
    cut = verify(rows_of(bodies), head_of(bodies), external=external)
    assert (cut.state, cut.unanchored) == ("verified", 0)


def test_an_old_checkpoint_vouches_only_up_to_its_size_and_the_report_says_so():
    bodies = replaced(8, BOOK.bodies[8].replace(b'"amount":4000', b'"amount":9000'))
    report = verify(rows_of(bodies), head_of(bodies), external=BOOK.checkpoint(6))
    assert (report.state, report.anchored, report.unanchored) == ("verified", 6, 4)


def test_what_is_anchored_stays_anchored_though_a_later_entry_is_wrong():
    rows = BOOK.rows()
    rows[8] = (8, rows[8][1] + b" ", rows[8][2])
    report = verify(rows, BOOK.head(), external=BOOK.checkpoint(6))
    assert (report.state, report.anchored, report.entries) == ("tampered", 6, 8)


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


def test_the_origin_in_the_beginning_cannot_be_changed_to_fit_a_foreign_checkpoint():
    other = Book("saferun.local/other").calls(CALLS).checkpoint(origin="saferun.local/other")
    renamed = LedgerEntry(
        name="default", origin="saferun.local/other", format=1, created_by="saferun-sdk 1"
    )
    bodies = replaced(0, seal(0, START, encode(renamed)))
    assert "are not those" in found(rows_of(bodies), head_of(bodies), external=other)[1]
