"""`saferun login`: a person's own secret, which publishing and the like ask for.

It lies in a file that its owner alone can read, and never in the project, the configuration,
the store or an output. The store knows it by a keyed digest.
"""

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saferun.cli.options import CannotError, StoreOption, settings
from saferun.cli.screen import ALLOWED, screen

if TYPE_CHECKING:
    from saferun.store import Store

MAX_SECRET = 200


def login(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Your name.")],
    new: Annotated[
        bool, typer.Option("--new", help="Make a secret, where the store knows none of yours.")
    ] = False,
    store: StoreOption = None,
) -> int:
    """Log in with a secret of your own, kept where only you can read it.

    Without --new, the secret is asked for where this machine has none, and held against the store.
    """
    from rich.text import Text

    from saferun.store import Store

    chosen = settings(store)
    # Where it has lost its end too: somebody has to settle that, and under their own name.
    opened = Store(
        chosen.store,
        ledger=chosen.ledger,
        durability=chosen.durability,
        signing=chosen.signing,
        behind=True,
    )
    with contextlib.closing(opened):
        path = _known(opened, person, new=new)
    console = screen()
    console.print(Text(f"{ALLOWED.icon} {person} is known here; the secret is in {path}"))
    return 0


def _known(opened: "Store", person: str, *, new: bool) -> Path:
    """Have the store and this machine know a person by one secret; the file that holds it."""
    from saferun.store import Enrol, Reader, Vouch
    from saferun.store.versions import is_enrolled

    path = _file(person)
    with Reader(opened.path) as reader:
        known = is_enrolled(reader, person)
    here = path.exists()
    if known and new and not here:
        raise CannotError(f"{person} has a secret already; run saferun login {person} with it.")
    if not known and not new:
        raise CannotError(f"The store does not know {person}; run saferun login {person} --new.")
    secret = _read(path) if here else secrets.token_urlsafe(32) if new else _asked(person)
    credential = opened.credential(person, secret)
    # On disk first: a secret that the store knows and nobody has would shut its owner out.
    if known:
        opened.commit(Vouch(person, credential))
    if not here:
        _write(path, secret)
    opened.commit(Enrol(person, credential))
    return path


def credential(person: str | None, store: "Store") -> tuple[str, bytes]:
    """Who acts, and the digest that the store knows them by.

    Without a name it is the one person who is logged in. Raises CannotError where nobody is.
    """
    if person is None:
        found = sorted(path.stem for path in _folder().glob("*.secret"))
        if not found:
            raise CannotError(
                "It takes a person's secret, and nobody is logged in here; run"
                " saferun login NAME --new with your own name first."
            )
        if len(found) != 1:
            who = f"{' and '.join(found)} are"
            raise CannotError(f"Say who you are with --as PERSON: {who} logged in here.")
        [person] = found
    path = _file(person)
    if not path.exists():
        raise CannotError(
            f"{person} is not logged in here; run saferun login {person}, with --new where the"
            " store does not know you yet."
        )
    return person, store.credential(person, _read(path))


def _folder() -> Path:
    named = os.environ.get("SAFERUN_LOGIN")
    return Path(named) if named else Path.home() / ".config" / "saferun"


def _file(person: str) -> Path:
    # It becomes the name of a file.
    if not (0 < len(person) <= 64 and person.isascii() and person.replace("-", "").isalnum()):
        raise CannotError(f"{person!r} is no name: use up to 64 letters, digits and dashes.")
    return _folder() / f"{person}.secret"


def _read(path: Path) -> str:
    try:
        found = path.stat()
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.getuid():
            raise CannotError(f"{path} can be read by others than you; run chmod 600 {path}.")
        return path.read_text(encoding="ascii").strip()[:MAX_SECRET]
    except (OSError, UnicodeDecodeError) as problem:
        raise CannotError(f"{path} cannot be read: {problem}.") from None


def _write(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(file.fileno())


def _asked(person: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(MAX_SECRET).strip()
    from getpass import getpass

    return getpass(f"{person}'s secret: ").strip()
