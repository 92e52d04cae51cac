"""A signing key that never comes here: a program holds it, and signs what it is given.

The program gets the text on its standard input and prints the 64 bytes of the signature in
base64. It is one that the configuration names, so it is trusted to be run and no further: how
long it takes and how much it says is bounded, and what it says is a signature only if the
public key that was named beside it says so.
"""

import base64
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from saferun.errors import StoreError
from saferun.ledger import Verifier, vkey_of
from saferun.ledger.note import exact_base64

MAX_SAID = 1_024
"""Bytes that a signer may print; a signature has 88 in base64."""

_SECRETS = ("SAFERUN_SIGNING_KEY", "SAFERUN_DIGEST_KEY")


class External:
    """A signer of notes outside of this process: see `ledger.Signs`."""

    def __init__(self, name: str, command: Sequence[str], public_key: str, patience: float) -> None:
        """Take a command into use under a key's name. Nothing is run yet.

        `patience` is how many seconds a signature may take.

        Raises:
            NoteError: the name may not be a key's, or the public key is none.

        """
        self._vkey = vkey_of(name, base64.b64decode(public_key))
        self._verifier = Verifier(self._vkey)
        self._command = tuple(command)
        self._patience = patience
        self.name = name
        self.key_id = self._verifier.key_id

    def vkey(self) -> str:
        return self._vkey

    def signature(self, text: bytes) -> bytes:
        """The signature over a text.

        Raises StoreError where the command does not give one that fits, in time.
        """
        said = self._said(text)
        try:
            signature = exact_base64(said.decode("ascii").strip())
        except UnicodeDecodeError:
            signature = None
        if signature is None or not self._verifier.accepts(text, signature):
            raise self._failed("gave no signature that fits `public_key`")
        return signature

    def _said(self, text: bytes) -> bytes:
        program, *arguments = self._command
        # Looked up here: a relative folder on PATH would mean whatever folder we stand in.
        path = shutil.which(program)
        if path is None or not Path(path).is_absolute():
            raise self._failed("is no program that can be run")
        with suppress(OSError):
            return self._answer(path, arguments, text)
        raise self._failed("could not be run")

    def _answer(self, path: str, arguments: Sequence[str], text: bytes) -> bytes:
        running = subprocess.Popen(  # noqa: S603 - a list of arguments from a file that is ours
            [path, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name not in _SECRETS},
            start_new_session=True,
        )
        try:
            assert running.stdin is not None
            # Shorter than a pipe holds, so this waits for nobody.
            with suppress(BrokenPipeError):
                running.stdin.write(text)
                running.stdin.close()
            until = time.monotonic() + self._patience
            said = self._read(running, until)
            try:
                code = running.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._failed(f"took longer than {self._patience:g} s") from None
            if code != 0:
                raise self._failed(f"ended with status {code}")
            return said
        finally:
            # All that it has started: what it left running would hold on to our pipes.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            assert running.stdout is not None
            running.stdout.close()
            if running.stdin is not None:
                with suppress(BrokenPipeError):
                    running.stdin.close()

    def _read(self, running: "subprocess.Popen[bytes]", until: float) -> bytes:
        assert running.stdout is not None
        fd, said = running.stdout.fileno(), b""
        watched = select.poll()
        watched.register(fd, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            if not watched.poll(left * 1000):
                continue
            more = os.read(fd, MAX_SAID + 1)
            said += more
            if len(said) > MAX_SAID:
                raise self._failed(f"said more than {MAX_SAID:,} bytes")
            if not more:
                return said
        raise self._failed(f"took longer than {self._patience:g} s")

    def _failed(self, what: str) -> StoreError:
        # Its name alone: arguments may name what is nobody's business, and so may what it said.
        return StoreError(
            f"The signer {Path(self._command[0]).name} {what}; nothing was signed. Try it by hand:"
            " it gets the text on its standard input and prints the signature in base64."
        )
