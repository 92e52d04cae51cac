"""Letters handed to a mail server, over a connection that is encrypted unless told otherwise."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from ipaddress import ip_address
from typing import NamedTuple

from saferun.approval.inert import inert
from saferun.channel import loop
from saferun.config import EmailTable
from saferun.errors import ConfigError, SafeRunError

ANSWERS_IN = 30.0
"""Seconds that the server has for each of its answers."""

IN_ALL = 300.0
"""Seconds that handing over all letters of one request takes at most."""

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


class EmailError(SafeRunError):
    """Letters could not be handed over: to whom, and what the server said."""


class Server(NamedTuple):
    """Where letters are handed over, and by whom."""

    host: str
    port: int
    tls: str
    user: str | None
    password_env: str | None


def server(table: EmailTable, where: str) -> Server:
    """The server of `[approval.email]`. Raises ConfigError where a password would go in clear."""
    tls = table.tls or ("none" if _is_here(table.host) else "starttls")
    if (table.user is None) is not (table.password_env is None):
        raise ConfigError(f"{where}[approval.email] takes `user` and `password_env` together.")
    if table.user is not None and tls == "none" and not _is_here(table.host):
        raise ConfigError(
            f'{where}[approval.email] says tls = "none" and has a user, whose password would be '
            'sent for all to read; say "starttls" or "implicit".'
        )
    return Server(table.host, table.port or _PORTS[tls], tls, table.user, table.password_env)


def hand_over(
    to: Server, letters: Sequence[EmailMessage], done: Callable[[EmailMessage], None]
) -> None:
    """Hand letters over, each for itself; `done` is called for every one that was taken.

    Raises EmailError where some were not, after all have been tried.
    """
    try:
        problems = loop.run(asyncio.wait_for(_handed(to, letters, done), IN_ALL))
    except (OSError, ValueError) as problem:
        # Of the library's own errors, the network's are OSErrors too.
        raise EmailError(f"{to.host} was not reached: {_said(problem)}") from None
    if problems:
        raise EmailError("; ".join(problems))


async def _handed(
    to: Server, letters: Sequence[EmailMessage], done: Callable[[EmailMessage], None]
) -> list[str]:
    from aiosmtplib import SMTP, SMTPException

    problems: list[str] = []
    connection = SMTP(
        hostname=to.host,
        port=to.port,
        use_tls=to.tls == "implicit",
        # Nothing is sent where the server cannot encrypt.
        start_tls=to.tls == "starttls",
        timeout=ANSWERS_IN,
    )
    transport = None
    try:
        await connection.connect()
        transport = connection.transport
        if to.user is not None:
            await connection.login(to.user, os.environ.get(to.password_env or "", ""))
        for letter in letters:
            try:
                await connection.send_message(letter)
            except SMTPException as problem:
                problems.append(f"{letter['To']} was not taken: {_said(problem)}")
                if not connection.is_connected:
                    break
            else:
                done(letter)
    except SMTPException as problem:
        problems.append(f"{to.host} does not take mail: {_said(problem)}")
    finally:
        with contextlib.suppress(SMTPException, OSError):
            await connection.quit()
        connection.close()
        if isinstance(transport, asyncio.Transport):
            # One that is encrypted waits for the server's good-bye, and the loop does not.
            transport.abort()
        # What is closed is gone only in the loop's next turn, and there may be none.
        await asyncio.sleep(0)
    return problems


def _said(problem: Exception) -> str:
    # The server's words are not ours.
    return inert(str(problem), 200) or type(problem).__name__


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
