"""The places that a configuration names."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from saferun.anchor.command import CommandPlace
from saferun.anchor.folder import FolderPlace
from saferun.anchor.place import Place
from saferun.anchor.witness import WitnessPlace
from saferun.config import Config
from saferun.errors import ConfigError


def places(config: Config) -> list[Place]:
    """All places under `[anchors]`, in their order there.

    Raises ConfigError, with the file and the table, where one cannot be what it is called.
    """
    file, table = config.file, config.anchors
    # Nothing but a file can name a place.
    if file is None:
        return []
    found: list[Place] = []
    for name, witness in table.witness.items():
        with _told(file, f"anchors.witness.{name}"):
            found.append(WitnessPlace(name, witness.url, witness.key))
    found.extend(FolderPlace(name, Path(folder.path)) for name, folder in table.folder.items())
    for name, command in table.command.items():
        found.append(CommandPlace(name, command.command, command.timeout, file))
    return found


@contextlib.contextmanager
def _told(file: Path, table: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as problem:
        raise ConfigError(f"{file}: [{table}] {problem}") from None
