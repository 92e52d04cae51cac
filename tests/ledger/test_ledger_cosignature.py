"""Cosignatures, against C2SP's example, an independent implementation, and what goes wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import signing, tlog

from anchor.witnessing import cosignature, vkey_of
from ledger.book import ORIGIN, Book
from saferun.ledger import (
    Checkpoint,
    NoteError,
    Signer,
    Verifier,
    Witness,
    cosignatures,
    cosigned,
    open_checkpoint,
    quorum,
    sign_checkpoint,
)
from saferun.ledger.cosignature import MAX_ANSWER
from saferun.ledger.note import signatures

SIGNER = Signer(ORIGIN, b"s" * 32)
BOOK = Book().calls(6)
CHECKPOINT = BOOK.checkpoint()
NOTE = sign_checkpoint(CHECKPOINT, SIGNER)
TEXT = CHECKPOINT.text().encode()
AT = 1_763_942_400

NAMES = [f"witness.test/w{number}" for number in range(4)]
SEEDS = [bytes([65 + number]) * 32 for number in range(4)]
WITNESSES = [Witness(vkey_of(name, seed)) for name, seed in zip(NAMES, SEEDS, strict=True)]

# The example in C2SP tlog-cosignature. It comes without the witness's key.
PUBLISHED = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv"
    "2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2"
    "oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


class Taking:
    """A key that takes every signature in its name, and keeps what it was asked."""

    name = "witness.example.com/w1"
    key_id = bytes.fromhex("8d66cf3f")

    def accepts(self, text: bytes, signature: bytes) -> bool:
        self.text, self.signature = text, signature
        return True


def line(number: int, text: bytes = TEXT, at: int = AT) -> bytes:
    return cosignature(NAMES[number], SEEDS[number], text, at)


def note(*numbers: int, of: Checkpoint = CHECKPOINT, at: int = AT) -> bytes:
    text = of.text().encode()
    return sign_checkpoint(of, SIGNER) + b"".join(line(each, text, at) for each in numbers)


def test_the_published_example_is_read_as_the_specification_says() -> None:
    taking = Taking()
    text, [(_, found)] = signatures(PUBLISHED, [taking])
    assert (len(found.signature), taking.signature) == (72, found.signature)
    # "time 1679315147" stands in the message that the specification shows.
    assert int.from_bytes(found.signature[:8], "big") == 1_679_315_147
    assert Checkpoint.parse(text).size == 20_852_163


def test_a_witnesss_key_is_written_with_0x04_and_gives_the_id_of_others() -> None:
    theirs = signing.Vkey.from_string(vkey_of(NAMES[0], SEEDS[0]))
    assert WITNESSES[0].key_id == theirs.key_id.to_bytes(4, "big")
    assert WITNESSES[0].key_id != Verifier(vkey_of(NAMES[0], SEEDS[0], kind=1)).key_id


@given(st.integers(0, (1 << 63) - 1), st.integers(1, 13))
def test_what_an_independent_implementation_accepts_is_accepted(at: int, size: int) -> None:
    of = BOOK.checkpoint(size)
    made = note(0, of=of, at=at)
    theirs = tlog.Checkpoint.from_text(made.decode())
    vkey = signing.Vkey.from_string(vkey_of(NAMES[0], SEEDS[0]))
    assert signing.VkeySet(vkey).verify(theirs.signatures, theirs)
    [said] = cosignatures(made, WITNESSES)
    assert (said.checkpoint, said.time) == (of, at)


@given(st.integers(0, 71), st.integers(1, 255))
def test_no_byte_of_a_cosignature_can_be_changed(at: int, by: int) -> None:
    _, [(witness, found)] = signatures(note(0), WITNESSES[:1])
    changed = bytearray(found.signature)
    changed[at] ^= by
    assert witness.accepts(TEXT, found.signature)
    assert not witness.accepts(TEXT, bytes(changed))


@pytest.mark.parametrize("signature", [b"", b"x" * 64, b"x" * 71, b"x" * 73, b"\xff" * 72])
def test_what_is_no_cosignature_is_not_accepted(signature: bytes) -> None:
    assert not WITNESSES[0].accepts(TEXT, signature)


def test_a_plain_signature_by_a_witnesss_key_is_no_cosignature() -> None:
    plain = Signer("x", SEEDS[0]).signature(TEXT)
    assert not WITNESSES[0].accepts(TEXT, AT.to_bytes(8, "big") + plain)


def test_a_note_with_cosignatures_opens_as_before_for_whoever_knows_only_the_ledger() -> None:
    assert open_checkpoint(note(0, 1), [Verifier(SIGNER.vkey())]) == CHECKPOINT


def test_extension_lines_are_cosigned_with_the_rest() -> None:
    text = TEXT + b"an extension\n"
    made = text + b"\n" + cosignature(NAMES[0], SEEDS[0], text, AT)
    assert [said.checkpoint for said in cosignatures(made, WITNESSES)] == [CHECKPOINT]
    with pytest.raises(NoteError, match="does not fit"):
        cosignatures(text + b"\n" + line(0), WITNESSES)


def test_unknown_witnesses_are_passed_over() -> None:
    assert [said.witness.name for said in cosignatures(note(0, 1, 2), WITNESSES[1:2])] == NAMES[1:2]


def test_a_known_witnesss_line_that_does_not_fit_spoils_the_note() -> None:
    with pytest.raises(NoteError, match="does not fit"):
        cosignatures(NOTE + line(0, b"something else\n"), WITNESSES)


def test_a_witness_counts_once_however_many_lines_it_has() -> None:
    found = cosignatures(note(0) + line(0, at=AT + 5) + line(0, at=AT + 3), WITNESSES)
    assert [said.time for said in found] == [AT + 5]


def test_one_key_under_two_names_is_one_witness() -> None:
    twin = Witness(vkey_of("witness.test/twin", SEEDS[0]))
    made = note(0) + cosignature("witness.test/twin", SEEDS[0], TEXT, AT)
    assert len(cosignatures(made, [*WITNESSES, twin])) == 1
    assert quorum([made], [*WITNESSES, twin], 2, ORIGIN).checkpoint is None


def test_a_newer_cosignature_takes_the_place_of_the_older() -> None:
    kept, at = cosigned(note(1, 0), line(0, at=AT + 60), WITNESSES[0])
    assert at == AT + 60
    assert kept == note(1) + line(0, at=AT + 60)


@pytest.mark.parametrize("answer", [b"\n", b"x" * MAX_ANSWER + b"\n", b"text\n\n" + line(0)])
def test_an_answer_that_is_not_lines_alone_is_refused(answer: bytes) -> None:
    with pytest.raises(NoteError):
        cosigned(NOTE, answer, WITNESSES[0])


# How far a quorum vouches.


def sizes(*kept: tuple[int, int]) -> list[bytes]:
    """Notes, each by a witness over that many entries."""
    return [note(number, of=BOOK.checkpoint(size)) for number, size in kept]


@pytest.mark.parametrize(
    ("kept", "need", "size", "beyond"),
    [
        ([(0, 12), (1, 12)], 2, 12, [12]),
        ([(0, 12), (1, 9)], 2, 9, [12]),
        ([(0, 12), (1, 9), (2, 5)], 1, 12, []),
        ([(0, 12), (1, 9), (2, 5)], 3, 5, [12, 9]),
        ([(0, 5), (0, 12)], 1, 12, []),
        ([(0, 12)], 2, None, [12]),
        ([], 1, None, []),
    ],
)
def test_a_quorum_vouches_for_what_its_shortest_member_has_seen(kept, need, size, beyond) -> None:
    found = quorum(sizes(*kept), WITNESSES, need, ORIGIN)
    assert (None if found.checkpoint is None else found.checkpoint.size) == size
    assert [checkpoint.size for checkpoint in found.beyond] == beyond


def test_the_same_witness_over_two_sizes_is_no_quorum_of_two() -> None:
    assert quorum(sizes((0, 5), (0, 12)), WITNESSES, 2, ORIGIN).checkpoint is None


def test_a_witnesss_word_on_another_ledger_is_no_word_on_this_one() -> None:
    assert quorum([note(0)], WITNESSES, 1, "another") == (None, [], [])
