"""Changes of the key and restarts after a loss: who may vouch for what, and who may not."""

import pytest

from ledger.book import ORIGIN, Book, head_of, rows_of
from saferun.ledger import (
    KeyEntry,
    RestartEntry,
    Signer,
    Since,
    UserEntry,
    Verifier,
    sign,
    sign_checkpoint,
    verify,
)
from saferun.ledger.rotation import rotation_text

FIRST, SECOND, THIRD, STRANGER = (Signer(ORIGIN, seed * 32) for seed in (b"1", b"2", b"3", b"x"))
AFTER = "saferun.local/after"
ANEW = Signer(AFTER, b"a" * 32)


def known(signer):
    return Verifier(signer.vkey())


def changed_to(following, by, text=None):
    said = text or rotation_text(ORIGIN, following.vkey())
    return KeyEntry(vkey=following.vkey(), note=sign(said, by).decode(), by="dana")


def begun():
    return Book(vkey=FIRST.vkey()).calls(1)


def rotated():
    """A change of the key at entry 4, one more at 7, and 10 entries in all."""
    book = begun()
    book.write(changed_to(SECOND, FIRST))
    book.write(UserEntry(text="a"))
    book.write(UserEntry(text="b"))
    book.write(changed_to(THIRD, SECOND))
    book.write(UserEntry(text="c"))
    book.write(UserEntry(text="d"))
    return book


BOOK = rotated()


def note(size, signer, book=BOOK, origin=ORIGIN):
    return sign_checkpoint(book.checkpoint(size, origin), signer)


def found(book=BOOK, **about):
    return verify(book.rows(), book.head(), nodes=[book.nodes], **about)


def told(**about):
    report = found(**about)
    assert report.exit_code == 1
    return report.problem.sentence


@pytest.mark.parametrize("trusted", [FIRST, SECOND, THIRD])
def test_the_newest_key_is_trusted_through_any_key_before_it(trusted):
    report = found(external=note(10, THIRD), trusted=known(trusted))
    assert (report.state, report.anchored) == ("verified", 10)


@pytest.mark.parametrize(("size", "signer"), [(3, FIRST), (4, FIRST), (5, SECOND), (8, THIRD)])
def test_a_checkpoint_is_opened_by_the_key_of_its_time(size, signer):
    assert found(external=note(size, signer), trusted=known(FIRST)).anchored == size


@pytest.mark.parametrize(("size", "signer"), [(3, SECOND), (4, SECOND), (7, THIRD)])
def test_a_key_does_not_vouch_for_what_was_before_it(size, signer):
    said = told(external=note(size, signer), trusted=known(FIRST))
    assert "names this ledger and does not open" in said
    assert found(local=[note(size, signer)]).exit_code == 1


def test_a_key_before_keeps_its_word_on_what_came_later():
    assert found(external=note(9, FIRST), trusted=known(FIRST)).anchored == 9


def test_a_trusted_key_does_not_vouch_for_those_before_it():
    assert "does not open" in told(external=note(9, FIRST), trusted=known(SECOND))


def test_checkpoints_kept_with_the_ledger_are_opened_by_all_its_keys():
    local = [note(3, FIRST), note(6, SECOND), note(10, THIRD)]
    assert found(local=local, trusted=known(THIRD)).exit_code == 2
    assert found(local=local, beside=known(THIRD)).exit_code == 2


def test_a_change_that_the_key_before_has_not_signed_is_found():
    for entry in (
        changed_to(SECOND, STRANGER),
        changed_to(SECOND, SECOND),
        changed_to(SECOND, FIRST, rotation_text(ORIGIN, STRANGER.vkey())),
        changed_to(SECOND, FIRST, rotation_text("other", SECOND.vkey())),
        KeyEntry(vkey=SECOND.vkey(), note="none", by="mallory"),
        KeyEntry(vkey=SECOND.vkey(), note="", by="mallory"),
    ):
        book = begun()
        book.write(entry)
        report = found(book)
        assert report.problem.seq == 4
        assert "the key before it has not signed that" in report.problem.sentence


def test_a_key_that_was_skipped_is_found():
    book = begun()
    book.write(changed_to(SECOND, FIRST))
    book.write(changed_to(THIRD, FIRST))
    assert found(book).problem.seq == 5


def test_a_change_to_what_is_no_key_or_anothers_is_found():
    for vkey in ("none", Signer("other", b"o" * 32).vkey()):
        book = begun()
        book.write(KeyEntry(vkey=vkey, note="", by="mallory"))
        assert found(book).problem.seq == 4


def test_a_ledger_begun_anew_under_another_key_is_found_by_the_key_alone():
    assert "The key that was given is none of those that the ledger states" in told(
        trusted=known(STRANGER)
    )


def test_a_key_that_was_replaced_beside_the_ledger_is_found():
    assert "The signing key beside the ledger is none" in told(beside=known(STRANGER))


def test_a_checkpoint_by_a_stranger_is_found():
    assert "does not open" in told(external=note(10, STRANGER), trusted=known(FIRST))
    assert "does not open" in told(local=[note(10, STRANGER)])


# A ledger from before entry 0 said its key.


def early():
    book = Book().calls(1)
    book.write(changed_to(SECOND, FIRST))
    book.write(UserEntry(text="a"))
    return book


@pytest.mark.parametrize(("trusted", "size", "signer"), [(FIRST, 6, SECOND), (SECOND, 6, SECOND)])
def test_an_early_ledger_is_verified_by_any_of_its_keys(trusted, size, signer):
    book = early()
    local = [note(3, FIRST, book), note(6, SECOND, book)]
    kept = note(size, signer, book)
    assert found(book, external=kept, local=local, trusted=known(trusted)).exit_code == 0
    assert found(book, local=local, beside=known(trusted)).exit_code == 2


def test_a_stranger_does_not_vouch_for_an_early_ledger():
    book = early()
    about = {"trusted": known(SECOND)}
    assert found(book, external=note(6, STRANGER, book), **about).exit_code == 1


# A restart after a loss.


def restarted(lost=3, **about):
    """4 entries of the ledger that was, whose checkpoint vouches for 3 more, and 6 in all."""
    whole = begun()
    for text in "abc":
        whole.write(UserEntry(text=text))
    book = begun()
    fields = {
        "origin": AFTER,
        "vkey": ANEW.vkey(),
        "was": ORIGIN,
        "lost": lost,
        "note": sign_checkpoint(whole.checkpoint(), FIRST).decode(),
        "by": "dana",
    }
    book.write(RestartEntry(**(fields | about)))
    book.write(UserEntry(text="on"))
    return book, whole


def test_a_ledger_that_went_on_after_a_loss_is_verified_under_its_new_name():
    book, _ = restarted()
    kept = note(6, ANEW, book, AFTER)
    report = found(book, external=kept, trusted=known(ANEW))
    assert (report.state, report.anchored, report.lost, report.origin) == ("verified", 6, 3, AFTER)


def test_a_restart_after_a_fork_loses_none_in_number_and_is_verified():
    fork = Book(vkey=FIRST.vkey())
    fork.write(UserEntry(text="another history"))
    fork.write(UserEntry(text="under the same name"))
    book, _ = restarted(lost=0, note=note(3, FIRST, fork).decode())
    report = found(book, external=note(6, ANEW, book, AFTER), trusted=known(ANEW))
    assert (report.state, report.lost) == ("verified", 0)
    # And whoever holds a checkpoint of the other branch still finds it.
    assert found(book, external=note(3, FIRST, fork), trusted=known(FIRST)).exit_code == 1


def test_a_checkpoint_from_before_the_loss_holds_for_what_is_left():
    book, _ = restarted()
    report = found(book, external=note(4, FIRST, book), trusted=known(FIRST))
    assert (report.state, report.anchored, report.unanchored) == ("verified", 4, 2)


def test_a_checkpoint_of_what_was_lost_says_that_the_tail_was_cut_and_that_the_ledger_says_so():
    book, whole = restarted()
    report = found(book, external=note(7, FIRST, whole), trusted=known(FIRST))
    assert report.exit_code == 1
    assert report.problem.sentence == (
        "The external checkpoint vouches for 7 entries, and only the first 4 of them are there: "
        "the tail was cut off, and the ledger itself records the loss at entry 4."
    )


def test_trust_does_not_reach_across_a_restart():
    book, _ = restarted()
    report = found(book, external=note(6, ANEW, book, AFTER), trusted=known(FIRST))
    assert "does not open" in report.problem.sentence


def test_the_key_of_before_does_not_sign_for_the_name_of_after():
    book, _ = restarted()
    report = found(book, external=note(6, FIRST, book, ORIGIN), trusted=known(FIRST))
    assert "the ledger itself records the loss" in report.problem.sentence


@pytest.mark.parametrize(
    "about",
    [
        {"lost": 2},
        {"lost": 0},
        {"was": "other"},
        {"origin": ORIGIN, "vkey": SECOND.vkey()},
        {"note": "none"},
        {"vkey": SECOND.vkey()},
        {"vkey": "none"},
    ],
)
def test_a_restart_that_contradicts_itself_is_found(about):
    book, _ = restarted(**about)
    assert found(book).problem.seq == 4


def test_a_restart_that_was_made_up_to_hide_a_cut_hides_nothing():
    whole = rotated()
    book = Book(vkey=FIRST.vkey())
    book.bodies = whole.bodies[:4]
    book.write(
        RestartEntry(
            origin=AFTER,
            vkey=ANEW.vkey(),
            was=ORIGIN,
            lost=6,
            note=note(10, THIRD, whole).decode(),
            by="mallory",
        )
    )
    report = verify(
        rows_of(book.bodies),
        head_of(book.bodies),
        external=note(10, THIRD, whole),
        trusted=known(FIRST),
    )
    assert (report.exit_code, "tail was cut off" in report.problem.sentence) == (1, True)


# Since a trusted checkpoint.


def since(size, signer):
    rows = BOOK.rows()[size:]
    begun = Since(BOOK.checkpoint(size), known(signer))
    return rows, begun


def test_what_came_after_a_trusted_checkpoint_is_read_with_the_keys_that_follow():
    rows, begun = since(6, SECOND)
    report = verify(
        rows,
        BOOK.head(),
        since=begun,
        external=note(10, THIRD),
        trusted=known(FIRST),
        nodes=[BOOK.nodes],
    )
    assert (report.state, report.anchored, report.entries, report.since) == ("verified", 10, 10, 6)
    assert report.summary.endswith("and the entries themselves were not read again.")


def test_leaves_that_do_not_give_the_trusted_root_are_found():
    rows, begun = since(6, SECOND)
    other = Book().calls(5)
    for nodes in ([], [other.nodes], [other.nodes, other.nodes]):
        report = verify(rows, BOOK.head(), since=begun, nodes=nodes)
        assert "do not give the root" in report.problem.sentence
    assert verify(rows, BOOK.head(), since=begun, nodes=[other.nodes, BOOK.nodes]).exit_code == 0


def test_a_checkpoint_before_the_trusted_one_is_held_against_it():
    rows, begun = since(6, SECOND)
    about = {"since": begun, "nodes": [BOOK.nodes], "trusted": known(FIRST)}
    earlier = sign_checkpoint(BOOK.checkpoint(3), SECOND)
    assert verify(rows, BOOK.head(), external=earlier, **about).exit_code == 0
    other = Book().calls(5).checkpoint(3)
    forged = sign_checkpoint(other, SECOND)
    report = verify(rows, BOOK.head(), external=forged, **about)
    assert "The first 3 entries are not those" in report.problem.sentence


def test_an_outcome_of_a_decision_that_was_not_read_again_is_right():
    book = Book().calls(2)
    begun = Since(book.checkpoint(3), known(FIRST))
    report = verify(book.rows()[3:], book.head(), since=begun, nodes=[book.nodes])
    assert (report.problem, report.dangling) == (None, 0)
