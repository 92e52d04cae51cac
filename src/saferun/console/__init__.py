"""The web console: where people see what agents ask of them, and answer.

Needs the extra `console`. What it may do, it does through the desk, like every channel.
"""

from saferun.console.app import Console
from saferun.console.login import Login, LoginError
from saferun.console.server import PortError, Server
from saferun.console.session import NOBODY, Sessions, Who
from saferun.console.shield import is_loopback

__all__ = [
    "NOBODY",
    "Console",
    "Login",
    "LoginError",
    "PortError",
    "Server",
    "Sessions",
    "Who",
    "is_loopback",
]
