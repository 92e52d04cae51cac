"""Verification of honest ledgers, and of stories that cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.book import ORIGIN, START, Book
from saferun.ledger import (
    FORMAT,
    CallEntry,
    Checkpoint,
    ControlEntry,
    DecisionEntry,
    Frontier,
    Head,
    LedgerEntry,
    OutcomeEntry,
    RecoveryEntry,
    UserEntry,
    blob_hash,
    placeholder,
    verify,
)
from saferun.ledger.kind import READABLE

INTENT = DecisionEntry(tool="refund", verdict="allow")


def settled(of, status="ok"):
    return OutcomeEntry(of=of, status=status)


def recovered(of):
    return RecoveryEntry(of=of, status="unknown")


def told(*entries):
    """A ledger of these entries after its first, verified."""
    book = Book()
    for entry in entries:
        book.write(entry)
    return verify(book.rows(), book.head())


def test_a_ledger_with_no_external_checkpoint_is_consistent_but_unanchored():
    book = Book().calls(3)
    report = verify(book.rows(), book.head())
    assert (report.state, report.exit_code) == ("unanchored", 2)
    assert (report.entries, report.anchored, report.unanchored) == (8, 0, 8)
    assert report.root == book.checkpoint().root
    assert report.summary == (
        "Consistent but not anchored: no external checkpoint vouches for the 8 entries, "
        "so whoever holds the ledger and its keys could have rewritten all of it."
    )


def test_a_ledger_that_its_external_checkpoint_covers_is_verified():
    book = Book().calls(3)
    report = verify(book.rows(), book.head(), external=book.checkpoint())
    assert (report.state, report.exit_code, report.unanchored) == ("verified", 0, 0)
    assert report.summary == (
        "Verified: the 8 entries are those that the external checkpoint vouches for."
    )


def test_an_older_external_checkpoint_leaves_a_number_of_entries_unanchored():
    book = Book().calls(3)
    report = verify(book.rows(), book.head(), external=book.checkpoint(5))
    assert (report.state, report.anchored, report.unanchored) == ("verified", 5, 3)
    assert report.summary == (
        "Verified: of 8 entries, the first 5 are those that the external checkpoint "
        "vouches for; the 3 after it are consistent but not anchored."
    )


def test_an_external_checkpoint_of_an_empty_ledger_anchors_nothing():
    book = Book()
    report = verify(book.rows(), book.head(), external=book.checkpoint(0))
    assert (report.state, report.anchored) == ("unanchored", 0)
    assert "the 1 entry," in report.summary


def test_local_checkpoints_anchor_nothing():
    book = Book().calls(3)
    report = verify(book.rows(), book.head(), local=[book.checkpoint(3), book.checkpoint(8)])
    assert (report.state, report.anchored) == ("unanchored", 0)


def test_an_empty_ledger_is_consistent():
    report = verify([], Head(0, Frontier().encode()))
    assert (report.state, report.entries, report.problem) == ("unanchored", 0, None)


def test_an_export_without_leaves_and_head_verifies_by_its_checkpoint_alone():
    book = Book().calls(3)
    rows = [(seq, body, None) for seq, body in enumerate(book.bodies)]
    assert verify(rows, external=book.checkpoint()).state == "verified"


@given(st.integers(0, 12), st.data())
def test_every_checkpoint_of_the_same_tree_holds(calls, data):
    book = Book().calls(calls)
    sizes = st.integers(0, len(book.bodies))
    local = [book.checkpoint(size) for size in data.draw(st.lists(sizes, max_size=6))]
    external = book.checkpoint(data.draw(sizes))
    report = verify(book.rows(), book.head(), external=external, local=local)
    assert (report.problem, report.anchored) == (None, external.size)


def test_rows_are_taken_one_by_one_as_they_come():
    book = Book().calls(3)
    assert verify(iter(book.rows()), book.head()).entries == 8


def test_progress_is_told_every_few_thousand_entries():
    book = Book()
    for _ in range(9000):
        book.write(UserEntry(text="hi"))
    told = []
    verify(book.rows(), progress=told.append)
    assert told == [4096, 8192]


def test_an_intent_without_an_outcome_is_dangling():
    report = told(INTENT, INTENT, settled(1))
    assert (report.problem, report.dangling, report.unknown) == (None, 1, 0)


@pytest.mark.parametrize("mode", ["shadow", "observe"])
def test_whatever_was_only_watched_may_have_started_and_waits_for_its_outcome(mode):
    watched = DecisionEntry(tool="refund", verdict="deny", mode=mode)
    assert told(watched).dangling == 1
    assert told(watched, settled(1)).dangling == 0


@pytest.mark.parametrize("verdict", ["ask", "deny", "defer"])
def test_what_was_not_let_through_has_no_outcome(verdict):
    stopped = DecisionEntry(tool="refund", verdict=verdict)
    assert told(stopped).dangling == 0
    assert told(stopped, settled(1)).problem.seq == 2


def test_a_recovered_intent_is_unknown_and_no_longer_dangling():
    report = told(INTENT, recovered(1))
    assert (report.problem, report.dangling, report.unknown) == (None, 0, 1)


def test_an_outcome_may_be_unknown_as_well():
    report = told(INTENT, settled(1, "unknown"))
    assert (report.problem, report.dangling, report.unknown) == (None, 0, 1)


def test_what_was_unknown_may_be_found_out_later():
    report = told(INTENT, recovered(1), settled(1))
    assert (report.problem, report.dangling, report.unknown) == (None, 0, 0)


@pytest.mark.parametrize(
    "story",
    [
        [INTENT, settled(2)],
        [INTENT, settled(0)],
        [UserEntry(text="hi"), settled(1)],
        [INTENT, settled(99)],
        [INTENT, settled(-1)],
        [INTENT, settled(1), settled(1)],
        [INTENT, settled(1), recovered(1)],
        [INTENT, recovered(1), recovered(1)],
        [INTENT, recovered(1), settled(1, "unknown")],
        [INTENT, recovered(1), settled(1), settled(1)],
        [recovered(1)],
    ],
)
def test_an_outcome_that_settles_no_open_intent_is_found(story):
    report = told(*story)
    assert (report.state, report.problem.seq) == ("tampered", len(story))
    assert "is not a decision that waits for an outcome" in report.problem.sentence


def test_time_that_goes_back_is_found_at_the_entry_where_it_does():
    book = Book()
    book.write(UserEntry(text="a"), START + 10)
    book.write(UserEntry(text="b"), START + 9)
    book.write(UserEntry(text="c"), START + 8)
    assert verify(book.rows(), book.head()).problem.seq == 2


def test_time_may_stand_still():
    book = Book()
    book.write(UserEntry(text="a"), START)
    assert verify(book.rows(), book.head()).problem is None


def test_a_second_beginning_is_found():
    again = LedgerEntry(name="default", origin=ORIGIN, format=1, created_by="x")
    assert told(again).problem.sentence == "Entry 1 begins a ledger, which only entry 0 may."


@pytest.mark.parametrize("known", READABLE)
def test_a_ledger_of_every_format_so_far_is_read(known):
    book = Book()
    book.bodies.clear()
    book.write(LedgerEntry(name="default", origin=ORIGIN, format=known, created_by="x"))
    assert verify(book.rows(), book.head()).problem is None


def test_a_call_that_was_brought_in_is_neither_an_intent_nor_an_outcome():
    book = Book()
    book.write(CallEntry(run="import/0a/r", tool="refund", args={}, status="ok"))
    report = verify(book.rows(), book.head())
    assert (report.problem, report.dangling, report.unknown) == (None, 0, 0)


def test_a_ledger_that_was_begun_in_an_earlier_format_goes_on_in_the_newest():
    for begun in READABLE:
        book = Book()
        book.bodies.clear()
        book.write(LedgerEntry(name="default", origin=ORIGIN, format=begun, created_by="x"))
        book.write(ControlEntry(event="stopped", scope="all", by="dana"))
        report = verify(book.rows(), book.head())
        assert (report.problem, report.dangling, report.unknown) == (None, 0, 0)


def test_no_control_settles_a_call():
    book = Book()
    book.write(INTENT)
    book.write(ControlEntry(event="stopped", scope="tool", value="refund", by="dana"))
    assert verify(book.rows(), book.head()).dangling == 1


@pytest.mark.parametrize(("verdict", "dangling"), [("allow", 1), ("defer", 0), ("deny", 0)])
def test_what_was_put_off_is_no_intent(verdict, dangling):
    book = Book()
    book.write(DecisionEntry(tool="refund", verdict=verdict))
    assert verify(book.rows(), book.head()).dangling == dangling


def test_a_format_that_is_not_known_is_not_vouched_for():
    book = Book()
    book.bodies.clear()
    book.write(LedgerEntry(name="default", origin=ORIGIN, format=FORMAT + 1, created_by="later"))
    report = verify(book.rows(), book.head(), external=book.checkpoint())
    assert (report.exit_code, report.problem.seq) == (1, 0)
    assert "verify with the version that wrote it" in report.problem.sentence


def large(data=b'"' + b"x" * 40_000 + b'"', salt=bytes(16)):
    """A ledger whose entry 2 holds a large value by hash, and its hash."""
    blob = blob_hash(salt, data)
    book = Book()
    book.write(INTENT)
    book.write(
        OutcomeEntry(
            of=1,
            status="ok",
            result=placeholder(blob, len(data)),
            blobs={blob.hex(): len(data)},
        )
    )
    return book, blob, salt, data


def test_a_large_value_that_fits_its_hash_is_right():
    book, blob, salt, data = large()
    asked = []

    def blobs(wanted):
        asked.append(wanted)
        return salt, data

    report = verify(book.rows(), blobs=blobs)
    assert (report.problem, report.blobs_missing, asked) == (None, 0, [blob])


def test_a_large_value_that_many_entries_name_is_read_once():
    book, blob, salt, data = large()
    for _ in range(3):
        book.write(
            UserEntry(text=placeholder(blob, len(data)), blobs={blob.hex(): len(data)}),
        )
    asked = []

    def blobs(wanted):
        asked.append(wanted)
        return salt, data

    assert (verify(book.rows(), blobs=blobs).problem, asked) == (None, [blob])
    # Once read, it is still held against what each of them says of it.
    book.write(UserEntry(text="hi", blobs={blob.hex(): len(data) + 1}))
    report = verify(book.rows(), blobs=blobs)
    assert (report.state, report.problem.seq) == ("tampered", 6)


def test_a_large_value_that_is_no_longer_held_is_counted_and_is_no_tampering():
    book, *_ = large()
    report = verify(book.rows(), book.head(), blobs=lambda blob: None, external=book.checkpoint())
    assert (report.state, report.blobs_missing) == ("verified", 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda salt, data: (salt, data.replace(b"x", b"y", 1)),
        lambda salt, data: (salt, data[:-1]),
        lambda salt, data: (b"\1" * 16, data),
        lambda salt, data: (salt + data[:1], data[1:]),
        lambda salt, data: (b"", salt + data),
        lambda salt, data: (salt, data.decode()),
        lambda salt, data: (salt.decode(), data),
    ],
    ids=["value", "length", "salt", "border", "no salt", "text for value", "text for salt"],
)
def test_a_large_value_that_was_changed_is_found_at_its_entry(change):
    book, _, salt, data = large()
    report = verify(book.rows(), blobs=lambda blob: change(salt, data))
    assert (report.state, report.problem.seq) == ("tampered", 2)
    assert "does not fit its hash" in report.problem.sentence


def test_what_a_model_says_in_the_form_of_a_placeholder_is_not_looked_up():
    book = Book()
    book.write(UserEntry(text=placeholder(bytes(32), 40_000)))
    asked = []
    verify(book.rows(), blobs=asked.append)
    assert asked == []


def test_a_large_value_that_is_named_by_no_hash_is_found():
    book = Book()
    book.write(UserEntry(text="hi", blobs={"no hash": 1}))
    assert verify(book.rows(), blobs=lambda blob: None).problem.seq == 1


def test_large_values_are_left_alone_where_nobody_can_find_them():
    book, *_ = large()
    report = verify(book.rows())
    assert (report.problem, report.blobs_missing) == (None, 0)


def test_a_checkpoint_of_nothing_must_have_the_root_of_nothing():
    book = Book()
    report = verify(book.rows(), book.head(), external=Checkpoint(ORIGIN, 0, bytes(32)))
    assert report.state == "tampered"
