"""Who holds the ledger's signing key: the environment, a file elsewhere, a program, or we do.

A key of our own lies in `keys/LEDGER.signing.key`. It may be replaced, by a rotation or by a
restart under another name, and a kill may come at any moment of that. So the new key lies
complete in `LEDGER.signing.key.next` before the ledger names it, and the ledger decides which
of the two signs: the one whose verifier key it has named last. Only then is the old one
overwritten, by whoever opens the store next.

Whoever only decides on calls never comes here: loading what signs takes longer than opening a
store.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from saferun.config import SigningTable
from saferun.errors import StoreError
from saferun.files import move
from saferun.ledger import Signer, Signs
from saferun.store.keys import decoded, make, put, read

VARIABLE = "SAFERUN_SIGNING_KEY"

PATIENCE = 10.0
"""Seconds that a signature by a command may take."""

_OTHERWISE = f"by {VARIABLE}, or under [signing] in saferun.toml"


class Custody:
    """Where the signing key of one ledger is. Looks only when it is asked.

    `folder` is the folder of the store's keys, and `given` what the configuration says.
    """

    def __init__(
        self,
        folder: Path,
        ledger: str,
        given: SigningTable | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.key = folder / f"{ledger}.signing.key"
        self.next = self.key.with_name(self.key.name + ".next")
        self._given = given or SigningTable()
        self._environ = environ

    @property
    def elsewhere(self) -> str | None:
        """Who is to hold the key if not we, in a few words; None where we do."""
        if (os.environ if self._environ is None else self._environ).get(VARIABLE):
            return VARIABLE
        if self._given.command:
            return f"the command {Path(self._given.command[0]).name}"
        return self._given.file

    def made(self, origin: str) -> str:
        """The verifier key of a ledger that is being founded; its key is made if we hold it.

        Raises StoreError where the key that is given cannot be read.
        """
        if self.elsewhere is None:
            make(self.key)
        return next(self._held(origin)).vkey()

    def signer(self, origin: str, vkey: str | None, patience: float = PATIENCE) -> Signs | None:
        """Who signs as `vkey`, None where no key is in reach. Nothing is ever made here.

        A ledger from before format 4 does not say its key; then it is the first that is there.
        `patience` is how many seconds a signature by a command may take.

        Raises StoreError where a key cannot be read, or none that is in reach is the ledger's.
        """
        others = False
        # Twice: a key may take over while we look, and then neither name has the right one.
        for signer in chain(self._held(origin, patience), self._held(origin, patience)):
            if vkey is None or signer.vkey() == vkey:
                return signer
            others = True
        if others:
            raise StoreError(
                f"The signing key that is here is not that of the ledger {origin}; put the "
                f"original {self.key.name} back, or give it {_OTHERWISE}."
            )
        return None

    def missing(self) -> StoreError:
        """What to say where `signer` finds none."""
        return StoreError(
            f"The signing key {self.key} is missing; put the original {self.key.name} back, or "
            f"give it {_OTHERWISE}."
        )

    def _held(self, origin: str, patience: float = PATIENCE) -> Iterator[Signs]:
        """Every key in reach, the one that was given first."""
        given = (os.environ if self._environ is None else self._environ).get(VARIABLE)
        if given:
            yield Signer(origin, decoded(given, VARIABLE))
        if self._given.command:
            # Needed by few, and it brings along what starts processes.
            from saferun.store.external import External

            assert self._given.public_key is not None
            yield External(origin, self._given.command, self._given.public_key, patience)
        if self._given.file is not None:
            yield Signer(origin, read(Path(self._given.file), f"by {VARIABLE}"))
        for file in (self.key, self.next):
            if file.exists():
                yield Signer(origin, read(file, _OTHERWISE))

    # A key that takes over from another.

    def prepare(self, origin: str) -> Signer:
        """A new key, on disk and complete, that signs nothing until the ledger names it."""
        self.next.unlink(missing_ok=True)
        make(self.next)
        return Signer(origin, read(self.next, _OTHERWISE))

    def keep(self, origin: str) -> None:
        """Have the key of now under a name of its origin too, before another takes its place."""
        if self.key.exists():
            ledger = self.key.name.removesuffix(".signing.key")
            kept = self.key.with_name(f"{ledger}.{Path(origin).name}.signing.key")
            put(kept, self.key.read_bytes())

    def take_over(self, origin: str, vkey: str | None) -> None:
        """Finish what was begun: the next key replaces the one before, if the ledger names it.

        Nothing is done, and nothing read, where no next key lies there. Called under the store's
        write lock, with what the ledger says on disk.
        """
        if vkey is None or not self.next.exists():
            return
        if Signer(origin, read(self.next, _OTHERWISE)).vkey() == vkey:
            move(self.next, self.key)
