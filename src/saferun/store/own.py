"""The files that are a store's own: the database, what lies beside it under its name, its keys."""

from pathlib import Path

from saferun.errors import StoreError
from saferun.store.signing import folder_of


def spare(path: Path, file: Path) -> None:
    """Raises StoreError where `file`, which is about to be written, is the own of the store `path`.

    It need not be there yet: what is put under the name of a store's log, say, is its log.
    """
    real, wanted = path.resolve(), file.resolve()
    # A file of the store's own begins with its name.
    beside = wanted.parent == real.parent and wanted.name.startswith(real.name)
    same = wanted.exists() and real.exists() and wanted.samefile(real)
    if beside or same or wanted.is_relative_to(folder_of(real)):
        raise StoreError(f"{file} is the store's own; name a file elsewhere, best on another disk.")
