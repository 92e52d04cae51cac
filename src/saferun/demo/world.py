"""The demo's world: one folder with a real database, a real mailbox and real files in it.

    saferun.toml            which store, and how to ask
    policies/support.yaml   what the agent may do: the user's to edit
    store/                  decisions, outcomes, the ledger and its keys
    shop/                   orders.db, mail/ and files/: what the tools work on
    kept-outside/           a checkpoint of the ledger, and the key to check it with

All of it is begun anew by every demo, but for a policy that somebody has edited.
"""

import mailbox
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from saferun.errors import SafeRunError

_MARK = ".saferun-demo"
"""Tells a folder that a demo made. It holds the policy as it was put there."""

_POLICY = "policies/support.yaml"

_ORDERS = (
    ("A-1017", "June Okafor", "Enamel kettle, 1.7 l", 12_900, "delivered"),
    ("A-1042", "Halden Studio", "Standing desk, oak, 6 pieces", 450_000, "delivered"),
    ("A-1031", "Priya Nair", "Linen duvet set, 2 pieces", 25_000, "returned"),
)

_SCHEMA = """
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, customer TEXT, item TEXT, total INTEGER, status TEXT
);
CREATE TABLE refunds (
    refund INTEGER PRIMARY KEY, order_id TEXT NOT NULL, amount INTEGER NOT NULL, reason TEXT
);
"""


class WorldError(SafeRunError):
    """The folder cannot be the demo's: it holds something else, or cannot be written."""


class State(msgspec.Struct, frozen=True):
    """What the tools have done.

    `refunds` are pairs of an order and an amount in cents, as they were made; `mails` are the
    addresses written to, once for each mail, and `files` the names of files, both sorted.
    """

    refunds: list[tuple[str, int]]
    mails: list[str]
    files: list[str]


class World(NamedTuple):
    """Where everything lies. `edited` says that the policy is not the one of the package."""

    folder: Path
    edited: bool

    @classmethod
    def make(cls, folder: Path) -> "World":
        """A fresh world in `folder`; of an earlier one there, only an edited policy is kept.

        Raises WorldError where there is something that no demo made, or that cannot be written.
        """
        try:
            return cls._made(folder.absolute())
        except OSError as problem:
            raise WorldError(f"The demo cannot be set up in {folder}: {problem}.") from None

    @classmethod
    def _made(cls, folder: Path) -> "World":
        mark = folder / _MARK
        if folder.exists() and not mark.is_file() and next(folder.iterdir(), None) is not None:
            raise WorldError(
                f"{folder} has something in it that no demo made, so nothing was touched; "
                "name another folder with --folder."
            )
        package = resources.files(__package__)
        shipped = package.joinpath(_POLICY).read_bytes()
        policy = folder / _POLICY
        edited = policy.exists() and policy.read_bytes() not in (shipped, mark.read_bytes())
        folder.mkdir(parents=True, exist_ok=True)
        # First of all, so that a demo that is interrupted can be run again.
        mark.write_bytes(shipped)
        policy.parent.mkdir(exist_ok=True)
        if not edited:
            policy.write_bytes(shipped)
        (folder / "saferun.toml").write_bytes(package.joinpath("saferun.toml").read_bytes())
        world = cls(folder, edited)
        for ours in (folder / "store", folder / "shop", world.outside):
            if ours.exists():
                shutil.rmtree(ours)
        world.files.mkdir(parents=True)
        world.outside.mkdir()
        with closing(sqlite3.connect(world.orders)) as db, db:
            db.executescript(_SCHEMA)
            db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", _ORDERS)
        return world

    @property
    def policy(self) -> Path:
        return self.folder / _POLICY

    @property
    def orders(self) -> Path:
        return self.folder / "shop/orders.db"

    @property
    def mail(self) -> Path:
        return self.folder / "shop/mail"

    @property
    def files(self) -> Path:
        return self.folder / "shop/files"

    @property
    def outside(self) -> Path:
        """Where the checkpoint is kept, which in earnest is another machine."""
        return self.folder / "kept-outside"

    @contextmanager
    def mail_server(self) -> Iterator[int]:
        """A mail server on loopback for as long as the block lasts, on the port that it gives."""
        # Imported here: it comes with the extra `demo`, and only the demo has mail to deliver.
        from aiosmtpd.controller import Controller
        from aiosmtpd.handlers import Mailbox

        class OnSocket(Controller):
            def _create_server(self) -> Any:
                return self.loop.create_server(self._factory_invoker, sock=listening)

        # Bound before the server starts, so that nobody else can take the port in between.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port: int = listening.getsockname()[1]
            server = OnSocket(Mailbox(self.mail), hostname="127.0.0.1", port=port)
            server.start()
            try:
                yield port
            finally:
                server.stop()

    def state(self) -> State:
        """What the tools have done, asked of database, mailbox and folder themselves."""
        with closing(sqlite3.connect(self.orders)) as db:
            refunds = db.execute("SELECT order_id, amount FROM refunds ORDER BY refund").fetchall()
        return State(
            refunds=refunds,
            mails=sorted(str(mail["To"]) for mail in mailbox.Maildir(self.mail, create=False)),
            files=sorted(file.name for file in self.files.iterdir()),
        )
