"""The demo's world: one folder with a real database, a real mailbox and real files in it.

    saferun.toml            which store, and how to ask
    policies/support.yaml   what the agent may do: the user's to edit, and kept by a rerun
    store/                  decisions, outcomes, the ledger and its keys
    shop/                   orders.db, mail/ and files/: what the tools work on
    kept-outside/           a checkpoint of the ledger, and the key to check it with
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

_MARK = ".saferun-demo"
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


class FolderTakenError(Exception):
    """The folder holds something that no demo made, so it is left alone."""


class State(msgspec.Struct, frozen=True):
    """What the tools have done, in the order in which it happened.

    `refunds` are pairs of an order and an amount in cents, `mails` the addresses written to
    and `files` the names of files.
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
        """A fresh world in `folder`, where nothing but the policy of an earlier one is kept.

        Raises FolderTakenError where there is something that no demo made, and OSError.
        """
        mark = folder / _MARK
        if folder.exists() and not mark.is_file() and (not folder.is_dir() or _holds(folder)):
            raise FolderTakenError(
                f"{folder} is not a folder that the demo made, so it is left as it is; "
                "name another with --folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        # First of all, so that a demo that is interrupted can be run again.
        mark.write_text("Made by `saferun demo`, which begins it anew.\n", encoding="utf-8")
        for ours in ("store", "shop", "kept-outside"):
            if (folder / ours).exists():
                shutil.rmtree(folder / ours)
        package = resources.files(__package__)
        shipped = package.joinpath(_POLICY).read_bytes()
        (folder / "saferun.toml").write_bytes(package.joinpath("saferun.toml").read_bytes())
        policy = folder / _POLICY
        if not policy.exists():
            policy.parent.mkdir(exist_ok=True)
            policy.write_bytes(shipped)
        world = cls(folder.absolute(), edited=policy.read_bytes() != shipped)
        for made in (world.files, world.outside):
            made.mkdir(parents=True)
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

        class OnSocket(Controller):  # type: ignore[misc] - it comes without types
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
        delivered = sorted(mailbox.Maildir(self.mail, create=False).iteritems())
        return State(
            refunds=refunds,
            mails=[str(mail["To"]) for _, mail in delivered],
            files=sorted(file.name for file in self.files.iterdir()),
        )


def _holds(folder: Path) -> bool:
    return next(folder.iterdir(), None) is not None
