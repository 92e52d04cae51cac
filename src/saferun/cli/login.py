"""`saferun login`: a person's own secret, which publishing and the like ask for.

It lies in a file that its owner alone can read, and never in the project, the configuration,
the store or an output. The store knows it by a keyed digest. The first who enrol are those who
can write the store anyway, and once an admin is among them, nobody does whom an admin has not
invited.
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
from saferun.cli.screen import ALLOWED, screen, told

if TYPE_CHECKING:
    from saferun.config import Config
    from saferun.store import Store

CHANNEL = "command line"
"""What stands in the ledger for what was done here."""

MAX_SECRET = 200


def login(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Your name.")],
    new: Annotated[
        bool, typer.Option("--new", help="Make a secret, where the store knows none of yours.")
    ] = False,
    invite: Annotated[
        bool, typer.Option("--invite", help="As an admin: print a code that lets PERSON do --new.")
    ] = False,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Withdraw the secret: it is of no use any more.")
    ] = False,
    as_: Annotated[
        str | None,
        typer.Option("--as", metavar="ADMIN", help="With --invite and --revoke: who does it."),
    ] = None,
    store: StoreOption = None,
) -> int:
    """Log in with a secret of your own, kept where only you can read it.

    Without --new, the secret is asked for where this machine has none, and held against the store.
    """
    from rich.text import Text

    from saferun.store import Store

    if new + invite + revoke > 1 or (as_ is not None and not (invite or revoke)):
        raise CannotError(
            "--new, --invite and --revoke go one at a time, and --as goes with the last two."
        )
    chosen = settings(store)
    # Where it has lost its end too: somebody has to settle that, and under their own name.
    opened = Store(
        chosen.store,
        ledger=chosen.ledger,
        durability=chosen.durability,
        signing=chosen.signing,
        behind=True,
    )
    admins = frozenset(name for name, each in chosen.people.items() if each.role == "admin")
    console = screen()
    with contextlib.closing(opened):
        if revoke:
            return _withdrawn(opened, chosen, person, as_)
        if invite:
            code = _invited(opened, person, as_, admins)
            console.print(Text(f"{ALLOWED.icon} {person} may enrol once, within a day, by"))
            console.print(Text(f"  saferun login {person} --new"), soft_wrap=True)
            console.print(Text(f"  {code}"), soft_wrap=True)
            return 0
        path = _known(opened, person, admins, new=new)
    console.print(Text(f"{ALLOWED.icon} {person} is known here; the secret is in {path}"))
    return 0


def _invited(opened: "Store", person: str, by: str | None, admins: frozenset[str]) -> str:
    """A code for somebody to enrol by, which an admin has made."""
    from saferun.ledger import ApprovalEntry
    from saferun.store import Invite

    _file(person)
    who, secret = credential(by, opened)
    code = secrets.token_urlsafe(24)
    opened.commit(
        Invite(
            person=person,
            invitation=_digest(opened, person, code),
            by=who,
            credential=secret,
            admins=admins,
            entry=ApprovalEntry(id="", event="invited", by=who, channel=CHANNEL, person=person),
        )
    )
    return code


def _digest(opened: "Store", person: str, code: str) -> bytes:
    return opened.keys.digest(b"\0".join((b"invited", person.encode(), code.encode())))


def _known(opened: "Store", person: str, admins: frozenset[str], *, new: bool) -> Path:
    """Have the store and this machine know a person by one secret; the file that holds it."""
    from saferun.ledger import ApprovalEntry
    from saferun.store import Enrol, NotInvitedError, Reader, Vouch, WrongSecretError
    from saferun.store.versions import is_enrolled

    path = _file(person)
    with Reader(opened.path) as reader:
        known = is_enrolled(reader, person)
        closed = any(is_enrolled(reader, name) for name in admins)
    here = path.exists()
    if known and new and not here:
        raise CannotError(f"{person} has a secret already; run saferun login {person} with it.")
    if not known and not new:
        raise CannotError(f"The store does not know {person}; run saferun login {person} --new.")
    if not known and not closed and opened.path.parent.stat().st_uid != os.getuid():
        raise CannotError(
            f"While no admin has enrolled, who owns {opened.path.parent} enrols people; run"
            " saferun login as that user."
        )
    invitation = None
    if not known and closed:
        invitation = _digest(opened, person, _asked(f"{person}'s invitation"))
    secret = (
        _read(path) if here else secrets.token_urlsafe(32) if new else _asked(f"{person}'s secret")
    )
    credential = opened.credential(person, secret)
    if known:
        try:
            opened.commit(Vouch(person, credential))
        except WrongSecretError:
            _note(opened, f"{person}'s secret was another")
            raise
    # On disk first: a secret that the store knows and nobody has would shut its owner out.
    if not here:
        _write(path, secret)
    entry = ApprovalEntry(id="", event="enrolled", channel=CHANNEL, person=person)
    try:
        # A ledger that has lost its end goes on once that is settled, and not before.
        behind = opened.is_behind()
        opened.commit(Enrol(person, credential, admins, invitation, None if behind else entry))
    except NotInvitedError:
        if not here:
            path.unlink()
        _note(opened, f"{person} is not invited")
        raise
    return path


def _note(opened: "Store", why: str) -> None:
    """Have the ledger know that somebody was refused, unless it has lost its end."""
    from saferun.ledger import ApprovalEntry
    from saferun.store import Note

    if not opened.is_behind():
        opened.commit(Note(ApprovalEntry(id="", event="refused", channel=CHANNEL, why=why)))


def _withdrawn(opened: "Store", chosen: "Config", person: str, by: str | None) -> int:
    """Have the secret of a person be of no use: by themselves, or by an admin."""
    from saferun.store import Withdraw, WrongSecretError

    who, secret = credential(by or person, opened)
    known = chosen.people.get(who)
    if who != person and (known is None or known.role != "admin"):
        raise CannotError(f"{who} withdraws no secret but their own; that takes an admin.")
    try:
        had = opened.commit(Withdraw(person, who, secret))
    except WrongSecretError as problem:
        told(str(problem))
        return 1
    if not had:
        told(f"The store knows {person} by no secret.")
        return 1
    # It is of no use, and would stand in the way of a new one.
    _file(person).unlink(missing_ok=True)
    screen().print(
        f"{ALLOWED.icon} The secret of {person} is withdrawn, and what it had opened ends"
    )
    return 0


def credential(person: str | None, store: "Store") -> tuple[str, bytes]:
    """Who acts, and the digest that the store knows them by.

    Without a name it is the one person who is logged in. Raises CannotError where nobody is. What
    a wrong secret is refused for, the store says; that one was tried is noted here.
    """
    from saferun.store import Vouch, WrongSecretError

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
    secret = store.credential(person, _read(path))
    try:
        store.commit(Vouch(person, secret))
    except WrongSecretError:
        _note(store, f"{person}'s secret was another")
    return person, secret


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


def _asked(what: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(MAX_SECRET).strip()
    from getpass import getpass

    return getpass(f"{what}: ").strip()
