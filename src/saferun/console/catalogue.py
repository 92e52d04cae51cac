"""The policies that a console can show: files of the folder, and versions that the store keeps.

A name in an address is looked up here and never made a path of.
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

from saferun.config import Config
from saferun.errors import PolicyError, StoreError
from saferun.ledger import NoteError, Verifier
from saferun.policy import Policy, load, restore
from saferun.policy.assignment import Assignment
from saferun.store import Reader
from saferun.store.versions import (
    Kept,
    history_of,
    kept_policies,
    kept_version,
    standing_of,
)
from saferun.suites.file import ENDING

MANY = 200
"""Policies that are shown."""

FILE = "file"
"""What stands for the file, where versions are named."""


class Source(NamedTuple):
    """One policy: its name, its file where there is one, and what the store knows of it.

    `policy` is what the file says; None where there is none, or it does not load, and then
    `wrong` says why. `doubt` is why what was published is not to be believed.
    """

    name: str
    file: Path | None
    policy: Policy | None
    wrong: str | None
    kept: tuple[Kept, ...]
    history: tuple[Assignment, ...]
    doubt: str | None

    @property
    def live(self) -> str | None:
        """The version that was published last as the one that decides."""
        return self.history[-1].live if self.history else None

    @property
    def newest(self) -> str | None:
        """The version that was first kept last, where nothing else says which one decides."""
        return self.kept[-1].version if self.kept else None


class Catalogue:
    """The policies of one store and one folder."""

    def __init__(self, path: Path, settings: Config) -> None:
        self._path = path
        self._settings = settings
        self._names: dict[Path, tuple[tuple[int, int], str]] = {}

    @property
    def published(self) -> bool:
        """Whether what was published decides, and files do not."""
        return self._settings.published

    def names(self) -> list[str]:
        """All policies that there are, in order, at most `MANY`. Raises StoreError."""
        with Reader(self._path) as reader:
            kept = kept_policies(reader)
        return sorted({*self._files(), *kept})[:MANY]

    def source(self, name: str) -> Source | None:
        """A policy, None where there is none of that name. Raises StoreError."""
        file = self._files().get(name)
        policy, wrong = None, None
        if file is not None:
            try:
                policy = load(file)
            except PolicyError as problem:
                wrong = f"{self.shown(file)}:{problem.line or 1}: {problem.message}"
        doubt, history = None, list[Assignment]()
        with Reader(self._path) as reader:
            try:
                history = history_of(reader, name, self._verifier())
            except (PolicyError, StoreError, NoteError) as problem:
                doubt = str(problem)
            kept = standing_of(reader, name, history)
        if file is None and not kept:
            return None
        return Source(name, file, policy, wrong, tuple(kept), tuple(history), doubt)

    def version(self, source: Source, version: str) -> Policy | None:
        """One version of a policy, or its file; None where there is none of that name.

        Raises PolicyError and StoreError where it is not what was kept.
        """
        if version == FILE:
            return source.policy
        if all(each.version != version for each in source.kept):
            return None
        with Reader(self._path) as reader:
            return restore(kept_version(reader, version))

    def shown(self, file: Path) -> str:
        """A file by its folder and name: more of a path is nobody's who looks at a page."""
        return f"{file.parent.name}/{file.name}"

    def _verifier(self) -> Verifier | None:
        key = self._settings.policy_key
        return None if key is None else Verifier(key)

    def _files(self) -> dict[str, Path]:
        """Each file in the folder, by the name of its policy: what it says, or else is called."""
        found: dict[str, Path] = {}
        folder = self._settings.policies
        files = sorted(each for each in folder.glob("*.yaml") if not each.name.endswith(ENDING))
        for file in files[:MANY]:
            found.setdefault(self._name(file), file)
        return found

    def _name(self, file: Path) -> str:
        with contextlib.suppress(OSError):
            about = file.stat()
            stamp = (about.st_mtime_ns, about.st_size)
            known = self._names.get(file)
            if known is None or known[0] != stamp:
                try:
                    name = load(file).name
                except PolicyError:
                    name = file.stem
                if len(self._names) > MANY:
                    self._names.clear()
                self._names[file] = known = stamp, name
            return known[1]
        return file.stem
