"""The agent's tools, written as anybody would: SafeRun is nowhere in here.

They trust whoever calls them. `refund` pays what it is told to and `save_file` writes where
it is told to, which is why something has to stand in front of them.
"""

import smtplib
import sqlite3
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple


class Shop(NamedTuple):
    """A shop: its database of orders, the port of its mail server, and a folder for notes."""

    orders: Path
    smtp_port: int
    files: Path

    def look_up_order(self, order_id: str) -> dict[str, object]:
        """An order: who bought what, for how many cents, and where it is."""
        with closing(sqlite3.connect(self.orders)) as db:
            db.row_factory = sqlite3.Row
            row = db.execute("SELECT * FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return dict(row) if row is not None else {"error": f"there is no order {order_id}"}

    def refund(self, order_id: str, amount: int, reason: str) -> dict[str, object]:
        """Pay back part of an order. `amount` is in cents."""
        with closing(sqlite3.connect(self.orders)) as db, db:
            paid = db.execute(
                "INSERT INTO refunds (order_id, amount, reason) VALUES (?, ?, ?)",
                (order_id, amount, reason),
            )
        return {"refund": paid.lastrowid, "order_id": order_id, "amount": amount}

    def send_email(self, to: str, subject: str, body: str) -> dict[str, object]:
        """Send a mail in the shop's name."""
        mail = EmailMessage()
        mail["From"] = "Alder & Wren <support@alderandwren.test>"
        mail["To"] = to
        mail["Subject"] = subject
        mail.set_content(body)
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=10) as server:
            server.send_message(mail)
        return {"sent_to": to}

    def save_file(self, name: str, text: str) -> dict[str, object]:
        """Save a note for colleagues."""
        (self.files / name).write_text(text, encoding="utf-8")
        return {"saved": name}
