"""A ledger that is read in parts is found to be what one pass finds it to be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.book import ORIGIN, START, Book
from saferun.ledger import (
    DecisionEntry,
    Head,
    KeyEntry,
    Known,
    OutcomeEntry,
    Part,
    RecoveryEntry,
    Signer,
    UserEntry,
    Verifier,
    examine_part,
    leaf_hash,
    sign,
    sign_checkpoint,
    verify,
    verify_parts,
)
from saferun.ledger.rotation import rotation_text

KEY, SECOND = Signer(ORIGIN, b"k" * 32), Signer(ORIGIN, b"2" * 32)
WIDTH = 8


def told():
    """Calls that overlap, some unknown and settled late, a change of the key, and idle talk."""
    book = Book(vkey=KEY.vkey())
    waiting = []
    for number in range(40):
        waiting.append(book.write(DecisionEntry(tool="refund", verdict="allow")))
        if number % 3 == 0:
            book.write(RecoveryEntry(of=waiting[-1], status="unknown"))
        if number % 5 == 0:
            book.write(UserEntry(text="go on"))
        if number == 20:
            note = sign(rotation_text(ORIGIN, SECOND.vkey()), KEY).decode()
            book.write(KeyEntry(vkey=SECOND.vkey(), note=note, by="dana"))
        if number % 2 and len(waiting) > 4:
            book.write(OutcomeEntry(of=waiting.pop(0), status="ok"))
    return book


BOOK = told()
SIZE = len(BOOK.bodies)
TURN = next(seq for seq, body in enumerate(BOOK.bodies) if b'"kind":"key"' in body)


def note(size):
    return sign_checkpoint(BOOK.checkpoint(size), KEY if size <= TURN else SECOND)


KNOWN = Known(
    external=(note(50),),
    local=tuple(note(size) for size in (3, 8, 20, 24, 33, SIZE)),
    trusted=(Verifier(KEY.vkey()),),
)


def in_parts(rows, head=None, known=KNOWN, width=WIDTH, *, spoil=()):
    """Verified by parts; those whose index is in `spoil` are lost on the way."""
    sizes = known.sizes()

    def between(first, stop):
        after = first - 1 if first else -(1 << 63)
        return [row for row in rows if after < row[0] and (stop is None or row[0] < stop)]

    parts = []
    for at, first in enumerate(range(0, SIZE - width + 1, width)):
        stop = first + width
        within = [size for size in sizes if first < size <= stop]
        inside = [row for row in between(first, stop) if row[0] >= first]
        lost = Part(first=first, stop=stop)
        parts.append(lost if at in spoil else examine_part(inside, first, stop, within))
    return verify_parts(parts, between, head, known)


def in_one(rows, head=None, known=KNOWN):
    return verify(rows, head, external=known.external, local=known.local, trusted=known.trusted)


@given(st.sampled_from([1, 2, 4, 8, 16, 32, 64]), st.sets(st.integers(0, 12)))
def test_a_sound_ledger_is_sound_in_parts(width, spoil):
    whole = in_one(BOOK.rows(), BOOK.head())
    assert (whole.state, whole.anchored) == ("verified", 50)
    assert in_parts(BOOK.rows(), BOOK.head(), width=width, spoil=spoil) == whole


def test_most_parts_of_a_sound_ledger_are_not_read_again():
    read = []

    def rows(first, stop):
        read.append((first, stop))
        return [row for row in BOOK.rows() if row[0] >= first and (not stop or row[0] < stop)]

    parts = [
        examine_part(
            BOOK.rows()[first : first + WIDTH],
            first,
            first + WIDTH,
            [size for size in KNOWN.sizes() if first < size <= first + WIDTH],
        )
        for first in range(0, SIZE - WIDTH + 1, WIDTH)
    ]
    assert verify_parts(parts, rows, BOOK.head(), KNOWN).exit_code == 0
    # The beginning, the change of the key, and what is left over at the end.
    turn = TURN // WIDTH * WIDTH
    assert read == [(0, WIDTH), (turn, turn + WIDTH), (SIZE // WIDTH * WIDTH, None)]


def change(rows, kind, at, other):
    """What an attacker does to row `at`."""
    seq, body, leaf = rows[at]
    forged = body.replace(b"refund", b"refuse") if b"refund" in body else body + b" "
    if kind == "body":
        rows[at] = (seq, forged, leaf)
    elif kind == "body and leaf":
        rows[at] = (seq, forged, leaf_hash(forged))
    elif kind == "leaf":
        rows[at] = (seq, body, leaf_hash(b"other"))
    elif kind == "drop":
        del rows[at]
    elif kind == "cut":
        del rows[at:]
    elif kind == "empty":
        rows[at] = (seq, b"", leaf)
    elif kind == "swap":
        rows[at], rows[other] = (seq, *rows[other][1:]), (other, body, leaf)
    elif kind == "time":
        dated = body.replace(b'"time":%d' % (START + 1000 * seq), b'"time":%d' % START)
        rows[at] = (seq, dated, leaf_hash(dated))
    elif kind == "below":
        rows.insert(0, (-1, body, leaf))
    elif kind == "after":
        rows.append((SIZE + at, body, leaf))


KINDS = [
    *("body", "body and leaf", "leaf", "drop", "cut", "empty", "swap", "time", "below", "after")
]
places = st.integers(0, SIZE - 1)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), places, places), min_size=1, max_size=3),
    st.sampled_from([4, 8, 32]),
    st.booleans(),
)
def test_the_first_thing_that_is_wrong_is_the_same_in_parts(changes, width, with_head):
    rows = list(BOOK.rows())
    for kind, at, other in changes:
        if at < len(rows) and other < len(rows):
            change(rows, kind, at, other)
    head = BOOK.head() if with_head else None
    for known in (KNOWN, Known()):
        assert in_parts(rows, head, known, width) == in_one(rows, head, known)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, SIZE), st.sampled_from([KEY, SECOND]), st.booleans(), st.booleans())
def test_the_same_checkpoints_hold_in_parts(size, signer, honest, outside):
    checkpoint = BOOK.checkpoint(size)
    if not honest:
        checkpoint = Book().calls(60).checkpoint(size)
    made = (sign_checkpoint(checkpoint, signer),)
    kept = {"external": made} if outside else {"local": made}
    known = KNOWN._replace(**kept)
    assert in_parts(BOOK.rows(), BOOK.head(), known) == in_one(BOOK.rows(), BOOK.head(), known)


def test_another_head_is_found_in_parts():
    head = Head(SIZE + 1, BOOK.head().frontier)
    assert in_parts(BOOK.rows(), head) == in_one(BOOK.rows(), head)
