"""A signer outside of this process: trusted to be run, and no further."""

import base64
import os
import select
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.ledger import Signer, Verifier, open_checkpoint
from saferun.store import Append, Reader, Store, checkpoint
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.external import External

SEED = bytes(range(32))
PUBLIC = base64.b64encode(
    base64.b64decode(Signer("any", SEED).vkey().split("+", 2)[2])[1:]
).decode()
GOOD = f"""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    key = Ed25519PrivateKey.from_private_bytes({SEED!r})
    text = sys.stdin.buffer.read()
    print(base64.b64encode(key.sign(text)).decode())
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """A signer that does what a script says."""

    def written(script: str) -> tuple[str, ...]:
        path = tmp_path / "kms-sign.py"
        path.write_text(f"import base64, os, sys, time\n{textwrap.dedent(script)}", "utf-8")
        return (sys.executable, str(path))

    return written


def grow(store: Store) -> None:
    store.commit(Append(entries=[b'{"kind":"user","text":"hello"}'], boot=store.boot))


def test_a_ledger_is_founded_on_a_key_that_never_comes_here(
    open_store: Callable[..., Store], file: Path, program
) -> None:
    given = SigningTable(command=program(GOOD), public_key=PUBLIC)
    store = open_store(signing=given)
    grow(store)
    store.close()
    assert not (file.parent / "keys" / "default.signing.key").exists()
    with Reader(file) as reader:
        [note] = kept_checkpoints(reader)
        vkey = reader.named_keys().vkey
        assert vkey == Signer(reader.origin, SEED).vkey()
        assert open_checkpoint(note, [Verifier(vkey)]).size == 2
        assert reader.signer() is None
        signer = reader.signer(given=given)
        assert signer is not None
    assert checkpoint(file, signer) == note


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print(base64.b64encode(bytes(64)).decode())", "no signature that fits"),
        ("print('no base64 at all')", "no signature that fits"),
        ("sys.stdout.buffer.write(bytes([255]) * 80)", "no signature that fits"),
        ("", "no signature that fits"),
        ("sys.exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), 9)", "ended with status -9"),
        ("print('x' * 10_000_000)", "said more than 1,024 bytes"),
        ("time.sleep(600)", "took longer than 0.5 s"),
        ("os.close(1); time.sleep(600)", "took longer than 0.5 s"),
        ("os.close(0); time.sleep(600)", "took longer than 0.5 s"),
        # A child of its own keeps the pipe open after it has answered.
        ("os.fork() or time.sleep(600)", "took longer than 0.5 s"),
    ],
)
def test_a_signer_that_lies_crashes_or_hangs_signs_nothing(program, script: str, said: str) -> None:
    signer = External("name", program(script), PUBLIC, patience=0.5)
    # The interpreter itself takes its time to start.
    if "longer" not in said:
        signer = External("name", program(script), PUBLIC, patience=30)
    with pytest.raises(StoreError, match=said):
        signer.signature(b"text")


def test_a_signer_is_given_the_very_bytes_and_none_of_our_secrets(
    program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFERUN_SIGNING_KEY", "a secret")
    monkeypatch.setenv("SAFERUN_DIGEST_KEY", "another")
    monkeypatch.setenv("KMS_REGION", "here")
    # Where secrets of people lie is none.
    monkeypatch.delenv("SAFERUN_LOGIN")
    seen = tmp_path / "seen"
    script = f"""
    text = sys.stdin.buffer.read()
    about = [text.decode(), os.getcwd(), os.environ.get("KMS_REGION")]
    about += [name for name in os.environ if name.startswith("SAFERUN")]
    open({str(seen)!r}, "w").write(repr(about))
    """
    with pytest.raises(StoreError):
        External("name", program(script), PUBLIC, patience=30).signature(b"the text\n")
    assert seen.read_text("utf-8") == repr(["the text\n", "/", "here"])


def test_an_error_shows_neither_arguments_nor_what_was_said(program) -> None:
    command = (*program("print('top secret'); print('hidden', file=sys.stderr)"), "--pin=1234")
    with pytest.raises(StoreError) as caught:
        External("name", command, PUBLIC, patience=30).signature(b"text")
    for hidden in ("1234", "top secret", "hidden"):
        assert hidden not in str(caught.value)


def test_a_relative_folder_on_the_path_is_not_looked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kms-sign").write_text("#!/bin/sh\n", "utf-8")
    (tmp_path / "bin" / "kms-sign").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    with pytest.raises(StoreError, match="no program that can be run"):
        External("name", ("kms-sign",), PUBLIC, patience=1).signature(b"text")


def test_a_signer_that_fails_is_no_trouble_for_calls_nor_for_who_ends(
    open_store: Callable[..., Store], file: Path, program, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(signing=SigningTable(command=program("sys.exit(1)"), public_key=PUBLIC))
    grow(store)
    store.close()
    assert "no checkpoint" in caplog.text
    with Reader(file) as reader:
        assert (kept_checkpoints(reader), reader.head().size) == ([], 2)


def test_nothing_that_a_signer_has_started_is_left_running(program, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    script = f"""
    if os.fork() == 0:
        held = os.open({str(fifo)!r}, os.O_WRONLY)
        time.sleep(600)
    time.sleep(600)
    """
    with pytest.raises(StoreError, match="took longer"):
        External("name", program(script), PUBLIC, patience=1.5).signature(b"text")
    # Whoever held the other end is gone, or is about to be.
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        left = os.read(reading, 1)
    except BlockingIOError:
        select.select([reading], [], [], 30)
        left = os.read(reading, 1)
    os.close(reading)
    assert left == b""
