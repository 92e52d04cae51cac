"""Hosts of the internet: one spelling for each, and which ones a person might mistake for it.

Browsers, resolvers and mail servers read a host in ways of their own. A host that any two of
them could read differently has no spelling here, and what has none fits nothing.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from saferun.policy.form.fault import Fault
from saferun.policy.form.lookalike import bones
from saferun.policy.wording import found, named

_MAX_HOST = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_DEVIATIONS = frozenset("ßẞς\u200c\u200d")
"""IDNA 2003 maps these away and IDNA 2008 keeps them, so that clients go to different hosts."""


def spelled(host: str) -> str | None:
    """The one spelling of a host, None where it has none.

    Lower case, without the dot at the end, and in ASCII by UTS 46, not transitional. Address
    literals keep only their canonical form: `192.0.2.1`, and `[2001:db8::1]` in brackets.
    """
    return _spelled(host) if len(host) <= _MAX_HOST + 1 else None


# Calls go to few hosts, and each is looked at in two readings and more than once.
@lru_cache(maxsize=256)
def _spelled(host: str) -> str | None:
    if host.startswith("["):
        return _ipv6(host)
    ascii_host = host.lower() if host.isascii() else _in_ascii(host)
    if ascii_host is None:
        return None
    name = ascii_host.removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        return None
    if _NUMBER.fullmatch(labels[-1]):
        # `127.1`, `0x7f.1` and `2130706433` are all addresses to a resolver.
        return _ipv4(name)
    if any(label.startswith("xn--") and decoded(label) is None for label in labels):
        return None
    return name


def is_address(host: str) -> bool:
    """Whether the spelling of a host is an address literal."""
    return host.startswith("[") or host.replace(".", "").isdigit()


def skeleton(host: str) -> str:
    """What is left of a host's spelling where characters that look alike are one."""
    return bones(".".join(decoded(label) or label for label in host.split(".")))


class Domains:
    """The hosts that a policy lists: `acme.com` is that host alone, `*.acme.com` any below it."""

    __slots__ = ("_below", "_hosts", "_like_below", "_like_hosts")

    def __init__(self, said: Iterable[str]) -> None:
        entries = tuple(said)
        self._hosts = frozenset(
            filter(None, (spelled(each) for each in entries if not each.startswith("*.")))
        )
        below = [spelled(each[2:]) for each in entries if each.startswith("*.")]
        self._below = tuple(f".{each}" for each in below if each is not None)
        self._like_hosts = frozenset(map(skeleton, self._hosts))
        self._like_below = tuple(map(skeleton, self._below))

    def lists(self, host: str, *, exactly: bool) -> bool:
        """Whether a host, in its one spelling, is listed; roughly, whether it might be.

        An address literal might be any host.
        """
        if host in self._hosts or host.endswith(self._below):
            return True
        if exactly:
            return False
        shown = skeleton(host)
        return is_address(host) or shown in self._like_hosts or shown.endswith(self._like_below)


def domain_faults(said: Any, at: tuple[str | int, ...], *, addresses: bool) -> Iterator[Fault]:
    """What is wrong with one entry of `domains`."""
    if not isinstance(said, str):
        return
    name = said.removeprefix("*.")
    host = spelled(name)
    if said == "*":
        yield at, "`*` lists every domain; leave `domains` out"
    elif not _DEVIATIONS.isdisjoint(name):
        yield at, f"clients disagree on where {named(said)} leads; write its `xn--` form"
    elif host is None:
        yield (
            at,
            (
                "expected a host such as `acme.com`, or `*.acme.com` for the hosts below it, "
                f"without scheme, port or path; {found(said)}"
            ),
        )
    elif is_address(host) and said.startswith("*."):
        yield at, f"there is no host below an address; {found(said)}"
    elif is_address(host) and not addresses:
        yield at, f"mail goes to a host by its name; {found(said)}"


def _in_ascii(host: str) -> str | None:
    # UTS 46 drops what is invisible, and not every client does.
    if not host.isprintable() or not _DEVIATIONS.isdisjoint(host):
        return None
    # Most hosts are ASCII, and the tables of Unicode take a while to read.
    import idna

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


def decoded(label: str) -> str | None:
    """What an `xn--` label shows, None for another label and for one that is not valid."""
    if not label.startswith("xn--"):
        return None
    import idna

    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return None


def _ipv4(name: str) -> str | None:
    try:
        # The library takes no leading zeros, which some resolvers read as octal.
        return str(IPv4Address(name))
    except AddressValueError:
        return None


def _ipv6(host: str) -> str | None:
    if not host.endswith("]") or "%" in host:
        return None
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except AddressValueError:
        return None
