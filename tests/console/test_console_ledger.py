"""The ledger in the console: how it stands, what is found in it, and what is taken away."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from console.asking import Browser, enrolled
from recording import Script, tamper
from saferun import Gate, config
from saferun.anchor import go_round
from saferun.anchor.folder import FolderPlace
from saferun.anchor.place import slug_of
from saferun.console import Console, verification
from saferun.ledger import Checkpoint, Verifier, open_checkpoint, sign_checkpoint
from saferun.ledger.receipt import open_receipt
from saferun.store import Reader
from saferun.store.anchors import Anchored, keep_anchored

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    """Whoever may look may look at the ledger."""
    return Browser(console, enrolled(gate, "vera"))


def page(vera: Browser, path: str, status: int = 200) -> str:
    answer = vera.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def verified(vera: Browser) -> str:
    """The ledger's page, once it has been verified by its form."""
    answer = vera.post("/ledger", vera.form("/ledger"))
    assert answer.status_code == 303
    vera.console.verification.wait(30)
    return page(vera, "/ledger")


def told(gate: Gate) -> Script:
    script = Script(gate.store, prompt="Refund the duplicate.")
    script.model("Charged twice.")
    script.call("refund", {"amount": 4, "order_id": "A-1"})
    script.denied("refund", {"amount": 4_500})
    return script


def test_before_anybody_has_asked_it_is_said_to_be_unverified(gate: Gate, vera: Browser) -> None:
    told(gate)
    text = page(vera, "/ledger")
    assert "Not verified" in text
    assert "not verified since the console began, none held outside" in text


def test_a_sound_ledger_is_found_consistent_and_every_head_says_so(
    gate: Gate, vera: Browser
) -> None:
    told(gate)
    text = verified(vera)
    assert "! Consistent but not anchored" in text
    assert "Verified at" in text
    size = gate.store.size()
    for path in ("/", "/runs", "/ledger"):
        assert f"{size:,} found consistent just now" in page(vera, path)


def test_a_changed_entry_is_named_and_every_head_says_so(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    seq = script.call("refund", {"amount": 7})
    tamper(gate.store.path, seq, b'"amount":7', b'"amount":9')
    text = verified(vera)
    assert "✕ Tampered" in text
    assert f'<a href="/ledger/entries/{seq}">See entry {seq}</a>' in text
    for path in ("/", "/runs", "/grants"):
        assert f"✕ tampered with: entry {seq}" in page(vera, path)


def test_the_first_bad_entry_leads_to_its_frame(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    seq = script.call("refund", {"amount": 7})
    tamper(gate.store.path, seq, b'"amount":7', b'"amount":9')
    answer = vera.get(f"/ledger/entries/{seq}/frame")
    assert (answer.status_code, answer.headers["location"]) == (303, "/run?id=r-1&frame=4")
    text = page(vera, f"/ledger/entries/{seq}")
    assert "! Changed since it was written" in text
    assert "There is none for what was changed." in text


def test_a_head_that_no_store_writes_is_told_and_breaks_no_page(gate: Gate, vera: Browser) -> None:
    told(gate)
    gate.store.flush()
    with contextlib.closing(sqlite3.connect(gate.store.path)) as connection, connection:
        connection.execute("UPDATE head SET frontier = 7 WHERE seq = -1")
    text = page(vera, "/ledger")
    assert "tampered with" in text
    assert "It cannot be read whole" in text
    assert "✕ Tampered" in verified(vera)


def test_only_a_form_of_the_console_has_it_verified(gate: Gate, vera: Browser) -> None:
    told(gate)
    assert vera.post("/ledger", {"csrf": "wrong"}).status_code == 403
    page(vera, "/ledger")
    page(vera, "/ledger/state")
    assert vera.console.verification.found is None
    assert vera.console.verification.going is None


def test_no_page_waits_for_a_verification(
    gate: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    begun, go_on = threading.Event(), threading.Event()
    real = verification.examine

    def slow(reader: Any, *, own: Any, external: Any, progress: Any) -> Any:
        progress(3)
        begun.set()
        assert go_on.wait(30)
        return real(reader, own=own, external=external, progress=progress)

    monkeypatch.setattr(verification, "examine", slow)
    told(gate)
    form = vera.form("/ledger")
    vera.post("/ledger", form)
    assert begun.wait(30)
    text = page(vera, "/ledger")
    size = gate.store.size()
    assert f"3 of {size:,} entries are read" in text
    assert "data-going" in text
    vera.post("/ledger", form)
    assert "It is being verified already." in page(vera, "/ledger")
    go_on.set()
    vera.console.verification.wait(30)
    assert "data-going" not in page(vera, "/ledger/state")


def test_a_verification_that_cannot_be_made_says_why(
    gate: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(HOSTILE)

    monkeypatch.setattr(verification, "examine", broken)
    text = verified(vera)
    assert "Could not be verified" in text
    assert "RuntimeError" in text
    assert "alert(1)" not in text


def test_a_console_that_ends_lets_go_of_its_verification(
    gate: Gate, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    begun = threading.Event()

    def endless(reader: Any, *, own: Any, external: Any, progress: Any) -> Any:
        begun.set()
        while True:
            progress(1)

    monkeypatch.setattr(verification, "examine", endless)
    assert console.verification.begin()
    assert begun.wait(30)
    console.close()
    console.verification.wait(30)
    assert console.verification.going is None
    assert not console.verification.begin()


def test_a_long_ledger_is_not_verified_unasked(
    gate: Gate, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(gate)
    monkeypatch.setattr(verification, "LONG", gate.store.size())
    console.verification.begin_short()
    console.verification.wait(30)
    assert console.verification.found is None
    monkeypatch.setattr(verification, "LONG", gate.store.size() + 1)
    console.verification.begin_short()
    console.verification.wait(30)
    assert console.verification.found is not None


def test_it_says_what_places_have_it_and_what_none_of_them_has(gate: Gate, vera: Browser) -> None:
    told(gate)
    size = gate.store.size()
    places = [
        Anchored("vault", size - 2, 1_000_000, b"note", 2_000_000, None, against=False),
        Anchored("witness", 1, 1_000_000, b"", 2_000_000, HOSTILE, against=True),
    ]
    keep_anchored(gate.store.path, places)
    text = page(vera, "/ledger")
    assert f"{size - 2:,} entries, as far as this store remembers." in text
    assert "<b>2</b> are covered by no checkpoint outside." in text
    assert "✕ speaks against it" in text
    assert f"{size - 2:,} held outside" in text
    assert "<script>alert" not in text


def anchoring(console: Console, vera: Browser, folder: Path) -> Browser:
    """The console of a configuration that has a folder elsewhere for checkpoints."""
    Path("saferun.toml").write_text(
        Path("saferun.toml").read_text() + f'\n[anchors.folder.vault]\npath = "{folder}"\n'
    )
    other = Browser(Console(console.store, config.load(), sessions=console.sessions))
    other.client.cookies = vera.client.cookies
    return other


def test_a_ledger_is_verified_against_what_lies_in_a_folder_elsewhere(
    gate: Gate, console: Console, vera: Browser, tmp_path: Path
) -> None:
    told(gate)
    go_round(gate.store.path, [FolderPlace("vault", tmp_path)])
    other = anchoring(console, vera, tmp_path)
    text = verified(other)
    assert "✓ Verified" in text
    assert f"{gate.store.size():,} verified against that" in page(other, "/runs")


def test_what_its_own_key_has_written_anew_is_found_by_what_lies_in_a_folder_elsewhere(
    gate: Gate, console: Console, vera: Browser, tmp_path: Path
) -> None:
    told(gate)
    gate.store.checkpoint()
    with Reader(gate.store.path) as reader:
        signer, origin = reader.signer(), reader.origin
    assert signer is not None
    # What was taken there before: entries that this ledger has no more.
    before = sign_checkpoint(Checkpoint(origin, 3, b"o" * 32), signer)
    (tmp_path / f"{slug_of(origin)}.{3:018}.checkpoint").write_bytes(before)
    assert "Consistent but not anchored" in verified(vera)
    other = anchoring(console, vera, tmp_path)
    assert "✕ Tampered" in verified(other)
    assert "tampered with" in page(other, "/runs")


def test_a_place_that_was_never_reached_is_said(
    gate: Gate, console: Console, vera: Browser, tmp_path: Path
) -> None:
    text = page(anchoring(console, vera, tmp_path), "/ledger")
    assert "folder vault" in text
    assert "! never reached" in text


def test_the_key_and_the_newest_checkpoint_are_downloaded(gate: Gate, vera: Browser) -> None:
    told(gate)
    note = gate.store.checkpoint()
    vkey = gate.store.ledger().vkey
    assert vkey is not None
    text = page(vera, "/ledger")
    assert f'readonly value="{vkey.replace("+", "&#43;")}"' in text or vkey in text
    answer = vera.get("/ledger/checkpoint")
    assert answer.content == note
    assert answer.headers["content-disposition"] == 'attachment; filename="checkpoint.txt"'
    keys = [Verifier(line) for line in vera.get("/ledger/vkey").text.split()]
    assert open_checkpoint(answer.content, keys).size == gate.store.size()


def test_where_there_is_no_checkpoint_the_command_is_named(gate: Gate, vera: Browser) -> None:
    told(gate)
    assert "saferun ledger checkpoint</code> makes one" in page(vera, "/ledger")
    assert "makes one" in page(vera, "/ledger/checkpoint", 404)


def test_a_receipt_is_what_the_command_writes(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    seq = script.call("refund", {"amount": 7})
    assert f"saferun ledger prove {seq}" in page(vera, f"/ledger/entries/{seq}")
    assert f"saferun ledger prove {seq} makes one" in page(
        vera, f"/ledger/entries/{seq}/receipt", 409
    )
    gate.store.checkpoint()
    assert "Download a receipt" in page(vera, f"/ledger/entries/{seq}")
    vkey = gate.store.ledger().vkey
    assert vkey is not None
    answer = vera.get(f"/ledger/entries/{seq}/receipt")
    entry, checkpoint = open_receipt(answer.content, Verifier(vkey))
    assert (entry.seq, checkpoint.size) == (seq, gate.store.size())


def test_nothing_that_is_looked_at_writes_to_the_ledger(gate: Gate, vera: Browser) -> None:
    seq = told(gate).call("refund", {"amount": 7})
    size = gate.store.size()
    for path in ("", "/state", "/entries", f"/entries/{seq}", f"/entries/{seq}.txt"):
        page(vera, f"/ledger{path}")
    for path in ("/checkpoint", "/vkey", f"/entries/{seq}/receipt", f"/entries/{seq}/frame"):
        vera.get(f"/ledger{path}")
    assert gate.store.size() == size
    assert "makes one" in page(vera, "/ledger/checkpoint", 404)


def test_entries_are_found_by_words_facets_and_times(gate: Gate, vera: Browser) -> None:
    script = told(gate)
    denied = script.denied("send", {"to": "lead"})
    link = f'<a href="/ledger/entries/{denied}">'
    for query in ("text=lead", "tool=send&verdict=deny", "since=1h&tool=send", "kind=decision"):
        text = page(vera, f"/ledger/entries?{query}")
        assert link in text, query
        assert "✕ denied" in text
    for query in ("text=nowhere", "tool=none", "until=2001-01-01", "tool=send&verdict=allow"):
        text = page(vera, f"/ledger/entries?{query}")
        assert link not in text, query
        assert "No entry is like that" in text


def test_what_is_no_time_is_refused_with_a_sentence(vera: Browser) -> None:
    text = page(vera, "/ledger/entries?since=<b>soon", 422)
    assert "is no time" in text
    assert "<b>soon" not in text
    assert "no word" in page(vera, "/ledger/entries?text=!!", 422)


def test_more_entries_than_a_page_has_are_a_link_away_in_both_orders(
    gate: Gate, vera: Browser
) -> None:
    import re

    script = Script(gate.store)
    for number in range(60):
        script.model(f"step {number}")
    for order in ("", "&order=oldest"):
        path, seen = f"/ledger/entries?kind=model{order}", list[int]()
        while path:
            text = page(vera, path)
            seen += map(int, re.findall(r'<a href="/ledger/entries/(\d+)">', text))
            further = re.search(r'<a href="([^"]*from=[^"]*)"', text)
            path = further[1].replace("&amp;", "&") if further else ""
        assert len(seen) == len(set(seen)) == 60
        assert seen == sorted(seen, reverse=not order)


def test_an_entry_has_a_page_with_what_it_says_and_how_it_stands(gate: Gate, vera: Browser) -> None:
    seq = told(gate).call("refund", {"amount": 7})
    text = page(vera, f"/ledger/entries/{seq}")
    assert "In the ledger&#39;s tree, not signed yet" in text
    assert '<a href="/run?id=r-1"><code>r-1</code></a>' in text
    assert "✓ allowed" in text
    assert f'<a href="/ledger/entries/{seq}">entry {seq}</a>' in page(
        vera, f"/ledger/entries/{seq + 1}"
    )
    gate.store.checkpoint()
    assert "Vouched for by a signed checkpoint" in page(vera, f"/ledger/entries/{seq}")
    body = vera.get(f"/ledger/entries/{seq}.txt")
    assert body.headers["content-type"].startswith("text/plain")
    assert body.text.startswith(f'{{"seq":{seq},')


@pytest.mark.parametrize("seq", ["999999", "-1", "x", "²", "9" * 40])
def test_an_entry_that_is_not_there_is_not_found(vera: Browser, seq: str) -> None:
    for path in ("", ".txt", "/receipt", "/frame"):
        assert vera.get(f"/ledger/entries/{seq}{path}").status_code == 404


def test_hostile_entries_are_shown_and_do_nothing(gate: Gate, vera: Browser) -> None:
    script = Script(gate.store, run="r-1", prompt=HOSTILE, agent="a")
    seq = script.call(HOSTILE, {HOSTILE: HOSTILE}, result=HOSTILE)
    script.model("x" * 30_000)
    for path in ("/ledger/entries", f"/ledger/entries/{seq}", f"/ledger/entries/{seq + 1}"):
        text = page(vera, path)
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
    assert "26,000 characters more" in page(vera, f"/ledger/entries/{seq + 2}")


def test_whoever_is_not_logged_in_sees_nothing_and_is_led_back(
    gate: Gate, console: Console
) -> None:
    told(gate)
    stranger = Browser(console)
    for path in ("/ledger", "/ledger/entries", "/ledger/entries/1"):
        answer = stranger.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/login?next={path}"
    assert stranger.post("/ledger", {}).status_code == 303
    for path in ("state", "checkpoint", "vkey", "entries/1/receipt", "entries/1.txt"):
        assert stranger.get(f"/ledger/{path}").status_code == 303
