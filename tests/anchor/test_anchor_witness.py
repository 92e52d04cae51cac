"""A witness takes what only grows, refuses all else, and is believed in nothing unverified."""

import time

import pytest

from anchor.offering import SIGNER, Tree, bodies, offered, take
from anchor.witnessing import WitnessServer, cosignature, vkey_of
from ledger.book import Book
from saferun.anchor import AnchorError, RefusedError
from saferun.anchor.http import target
from saferun.anchor.witness import SKEW, WitnessPlace
from saferun.errors import ConfigError
from saferun.ledger import Signer, Witness, cosignatures, open_checkpoint


def place(server: WitnessServer, **about: str) -> WitnessPlace:
    return WitnessPlace("w1", **{"url": server.url, "key": server.vkey, **about})


def test_a_checkpoint_comes_back_with_a_cosignature_that_verifies(server) -> None:
    what = offered(bodies(3))
    note = take(place(server), what)
    [said] = cosignatures(note, [Witness(server.vkey)])
    assert (said.witness.name, said.checkpoint) == (server.name, what.checkpoint)
    assert open_checkpoint(note, what.verifiers) == what.checkpoint
    assert note.startswith(what.note)


def test_a_ledger_that_has_grown_is_proven_to_have_only_grown(server) -> None:
    for calls in (1, 2, 3, 7, 8, 20, 33):
        what = offered(bodies(calls))
        assert cosignatures(take(place(server), what), [Witness(server.vkey)])
        assert server.seen[SIGNER.name][0] == what.checkpoint.size


def test_the_size_that_the_witness_has_is_remembered_and_costs_one_request(server) -> None:
    take(place(server), offered(bodies(3)))
    take(place(server), offered(bodies(5)), last=8)
    assert len(server.heard) == 2
    assert server.heard[1].startswith(b"old 8\n")


@pytest.mark.parametrize("last", [0, 3, 11, 12, 99])
def test_a_wrong_memory_of_what_the_witness_has_is_corrected_by_it(server, last) -> None:
    take(place(server), offered(bodies(3)))
    take(place(server), offered(bodies(5)), last=last)
    assert server.seen[SIGNER.name][0] == 12


def test_an_unchanged_ledger_is_cosigned_again(server) -> None:
    what = offered(bodies(3))
    take(place(server), what)
    assert cosignatures(take(place(server), what, last=8), [Witness(server.vkey)])


# What somebody does who owns the host, the database and the ledger's key.


def test_a_cut_tail_is_refused_by_a_witness_with_the_key_stolen(server) -> None:
    take(place(server), offered(bodies(5)))
    with pytest.raises(RefusedError, match="It has seen 12 entries, and this ledger has 8"):
        take(place(server), offered(bodies(3)), last=12)
    assert server.seen[SIGNER.name][0] == 12


def test_a_rollback_is_refused_by_a_witness_although_nobody_remembers_it(server) -> None:
    take(place(server), offered(bodies(5)))
    with pytest.raises(RefusedError, match="an older copy was put back"):
        take(place(server), offered(bodies(3)), last=8)


def rewritten(calls: int) -> list[bytes]:
    book = Book()
    book.bodies[0] = book.bodies[0].replace(b"saferun-sdk 0", b"saferun-sdk 9")
    return book.calls(calls).bodies


def test_a_rewrite_of_the_same_size_is_refused_by_a_witness(server) -> None:
    take(place(server), offered(bodies(5)))
    with pytest.raises(RefusedError, match=r"12 entries that are not the first 12 .* rewritten"):
        take(place(server), offered(rewritten(5)), last=12)


def test_a_rewrite_that_has_grown_is_refused_by_a_witness(server) -> None:
    take(place(server), offered(bodies(5)))
    with pytest.raises(RefusedError, match=r"12 entries that are not the first 12 .* rewritten"):
        take(place(server), offered(rewritten(9)), last=12)


def test_a_rewrite_with_the_proof_of_the_true_ledger_is_refused_by_a_witness(server) -> None:
    take(place(server), offered(bodies(5)))
    with pytest.raises(RefusedError):
        take(place(server), offered(rewritten(9), history=Tree(bodies(9))), last=12)
    assert server.seen[SIGNER.name][0] == 12


# What a witness may do wrong.


def test_a_witness_that_does_not_know_the_ledger_is_no_evidence_against_it(server) -> None:
    server.logs.clear()
    with pytest.raises(AnchorError, match="does not know this ledger") as told:
        take(place(server), offered(bodies(1)))
    assert not isinstance(told.value, RefusedError)


def test_a_key_that_the_witness_does_not_know_is_no_evidence_against_the_ledger(server) -> None:
    with pytest.raises(AnchorError, match="does not know the key") as told:
        take(place(server), offered(bodies(1), Signer(SIGNER.name, b"x" * 32)))
    assert not isinstance(told.value, RefusedError)


def text_of(body: bytes) -> bytes:
    note = body.partition(b"\n\n")[2]
    return note[: note.index(b"\n\n") + 1]


def lines(server: WitnessServer, body: bytes) -> dict[str, bytes]:
    """Answers that are no cosignature of the witness's key over that checkpoint, by what is odd."""
    name, seed, text, now = server.name, server.seed, text_of(body), int(time.time())
    good = cosignature(name, seed, text, now)
    return {
        "another key": cosignature(name, b"o" * 32, text, now),
        "another name": cosignature("witness.test/other", seed, text, now),
        "another key under its id": cosignature(name, seed, text, now).replace(b"A", b"B"),
        "another checkpoint": cosignature(name, seed, text.replace(b"4", b"5"), now),
        "empty": b"",
        "no newline": good[:-1],
        "no line": b"thank you\n",
        "an empty line before": b"\n" + good,
        "an empty line between": good + b"\n" + good,
        "a note of its own": text + b"\n" + good,
        "a wrong line after a good one": good + cosignature(name, seed, b"else", now),
        "binary": b"\xff\xfe\n",
        "200 lines": good * 200,
        "time past 2^63": cosignature(name, seed, text, (1 << 63) + 1),
    }


ODD = (
    *("another key", "another name", "another key under its id", "another checkpoint", "empty"),
    *("no newline", "no line", "an empty line before", "an empty line between"),
    *("a note of its own", "a wrong line after a good one", "binary", "200 lines"),
    "time past 2^63",
)


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_does_not_verify_is_not_kept(server, odd) -> None:
    server.lie = lambda handler, body: handler.answer(200, lines(server, body)[odd])
    with pytest.raises(AnchorError, match=r"no cosignature|no signature lines") as told:
        take(place(server), offered(bodies(1)))
    assert not isinstance(told.value, RefusedError)


def test_lines_by_others_in_an_answer_are_passed_over(server) -> None:
    def more(handler, body) -> None:
        now, text = int(time.time()), text_of(body)
        other = cosignature("witness.test/other", b"o" * 32, text, now)
        handler.answer(200, other + cosignature(server.name, server.seed, text, now))

    server.lie = more
    what = offered(bodies(1))
    note = take(place(server), what)
    assert b"witness.test/other" not in note
    assert len(note.split(b"\n")) == len(what.note.split(b"\n")) + 1


@pytest.mark.parametrize(("apart", "said"), [(SKEW + 60, "ahead of"), (-SKEW - 60, "behind")])
def test_a_witness_whose_clock_is_wrong_is_not_believed(server, apart, said) -> None:
    server.lie = lambda handler, body: handler.answer(
        200, cosignature(server.name, server.seed, text_of(body), int(time.time()) + apart)
    )
    with pytest.raises(AnchorError, match=f"clock is .* {said} this machine's"):
        take(place(server), offered(bodies(1)))


def test_the_ledgers_own_key_is_no_witness(server) -> None:
    own = WitnessPlace("w1", server.url, vkey_of("witness.test/w1", b"s" * 32))
    with pytest.raises(AnchorError, match="the ledger's own key"):
        take(own, offered(bodies(1)))
    assert server.heard == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(server, status) -> None:
    server.lie = lambda handler, body: handler.answer(
        status, b"", Location=f"{server.url}/add-checkpoint"
    )
    with pytest.raises(AnchorError, match="leads elsewhere"):
        take(place(server), offered(bodies(1)))
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [400, 429, 500, 503, 201, 204])
def test_other_statuses_are_outages_and_no_evidence(server, status) -> None:
    server.lie = lambda handler, body: handler.answer(status, b"")
    with pytest.raises(AnchorError) as told:
        take(place(server), offered(bodies(1)))
    assert not isinstance(told.value, RefusedError)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "text/x.tlog.size"),
        (b"5", "text/x.tlog.size"),
        (b"05\n", "text/x.tlog.size"),
        (b"-5\n", "text/x.tlog.size"),
        (b"5 entries\n", "text/x.tlog.size"),
        ("٥\n".encode(), "text/x.tlog.size"),
        (b"9" * 60_000 + b"\n", "text/x.tlog.size"),
        (b"5\n", "text/html"),
    ],
)
def test_a_conflict_that_names_no_size_is_no_evidence(server, body, kind) -> None:
    server.lie = lambda handler, _: handler.answer(409, body, Content_Type=kind)
    with pytest.raises(AnchorError, match="and not which") as told:
        take(place(server), offered(bodies(5)))
    assert not isinstance(told.value, RefusedError)


def test_a_witness_that_names_another_size_each_time_is_not_asked_for_ever(server) -> None:
    server.lie = lambda handler, _: handler.answer(409, b"%d\n" % len(server.heard))
    with pytest.raises(AnchorError, match="changed each time"):
        take(place(server), offered(bodies(5)))
    assert len(server.heard) == 3


def test_a_huge_answer_is_read_no_further_than_its_bound(server) -> None:
    def huge(handler, _) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.over.is_set():
            handler.wfile.write(b"x" * 65_536)

    server.lie = huge
    with pytest.raises(AnchorError, match="more than 65,536 bytes"):
        take(place(server), offered(bodies(1)))


@pytest.mark.parametrize("drip", [b"", b"x", b"HTTP/1.1 200 OK\r\nX: y\r\n"])
def test_a_witness_that_hangs_or_drips_is_given_up_on(server, drip) -> None:
    def hang(handler, _) -> None:
        while not server.over.wait(0.02):
            handler.wfile.write(drip)
            handler.wfile.flush()

    server.lie = hang
    with pytest.raises(AnchorError, match=r"not answered within|no HTTP"):
        take(place(server), offered(bodies(1)), seconds=0.4)


def test_a_body_that_never_ends_is_given_up_on(server) -> None:
    def drip(handler, _) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not server.over.wait(0.02):
            handler.wfile.write(b"x")

    server.lie = drip
    with pytest.raises(AnchorError, match="not answered within"):
        take(place(server), offered(bodies(1)), seconds=0.4)


def test_a_dead_witness_is_told(server) -> None:
    server.server_close()
    with pytest.raises(AnchorError, match="could not be reached"):
        take(place(server), offered(bodies(1)))


def test_plain_http_to_a_witness_that_wants_tls_and_back_is_told(server) -> None:
    encrypted = server.url.replace("http://", "https://")
    with pytest.raises(AnchorError, match="could not be reached"):
        take(place(server, url=encrypted), offered(bodies(1)), seconds=5)


@pytest.mark.parametrize(
    "url",
    [
        "http://witness.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://witness.example.com",
        "file:///etc/passwd",
        "witness.example.com",
        "https://",
        "https://user:secret@witness.example.com",
        "https://witness.example.com/?a=b",
        "https://witness.example.com/#a",
        "https://witness.example.com/a b",
        "https://witness.example.com/\r\nX: y",
        "https://witness.example.com:99999",
        "https://[::1",
        "",
    ],
)
def test_an_address_that_is_not_fit_for_a_witness_is_refused(url) -> None:
    with pytest.raises(ConfigError, match="url is"):
        target(url)


@pytest.mark.parametrize("url", ["http://localhost:8080/w/", "http://[::1]/w", "https://a.test/w"])
def test_an_address_on_this_machine_or_by_https_is_taken(url) -> None:
    assert target(url).path == "/w"


@pytest.mark.parametrize(
    "key",
    ["", "none", vkey_of("w", b"w" * 32, kind=1), vkey_of("w", b"w" * 32).replace("w+", "v+")],
)
def test_a_key_that_is_no_witnesss_is_refused(server, key) -> None:
    with pytest.raises(ConfigError, match="key: "):
        place(server, key=key)
