"""`email: {domains: [...]}`: one plain address, and where its mail goes.

Strict: `user@host` with a local part in the common characters. Display names, quoted parts,
comments and address lists have several readings. So have `%` and `!`, by which a local part
once named a further host to pass the mail on to.
"""

import re
from collections.abc import Iterator
from typing import Any

from saferun.policy.form.fault import Fault, members, strangers
from saferun.policy.form.host import Domains, domain_faults, is_address, spelled

_MAX_ADDRESS = 254
"""RFC 5321, 4.5.3.1.3, less the two brackets of a path."""

_LOCAL = re.compile(r"(?!-)[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*")
_MAX_LOCAL = 64


class Email:
    """One e-mail address at the listed domains, at any where none are listed."""

    __slots__ = ("_domains",)

    def __init__(self, said: dict[str, Any]) -> None:
        self._domains = Domains(said["domains"]) if "domains" in said else None

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if not isinstance(value, str):
            return True
        host = _host(value)
        if host is None:
            return not exactly
        if self._domains is None:
            return not exactly or "." in host
        return self._domains.lists(host, exactly=exactly)


def email_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `email`."""
    yield from strangers(said, ("domains",), "{domains: [acme.com]}")
    if isinstance(said, dict):
        yield from members(said, "domains", "domains")
        for at, each in enumerate(said["domains"] if isinstance(said.get("domains"), list) else ()):
            yield from domain_faults(each, ("domains", at), addresses=False)


def _host(address: str) -> str | None:
    """The spelling of an address's host, None where it is no plain address."""
    local, at, domain = address.rpartition("@")
    if not at or len(address) > _MAX_ADDRESS or len(local) > _MAX_LOCAL:
        return None
    if not _LOCAL.fullmatch(local):
        return None
    host = spelled(domain)
    return None if host is None or is_address(host) else host
