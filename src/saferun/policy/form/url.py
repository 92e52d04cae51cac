"""`url: {domains: [...], schemes: [...], ports: [...]}`: where a request goes.

Clients disagree on odd URLs, and an attack needs two that do: one that checks and one that
connects. So only what all of them read alike is a URL here: RFC 3986 with its two slashes,
a host, and none of what some drop, mend or decode.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from saferun.policy.form.fault import Fault, members, strangers
from saferun.policy.form.host import Domains, domain_faults, is_address, spelled
from saferun.policy.wording import found

_MAX_URL = 8_192
_MAX_PORT = 65_535

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://([^/?#]+)(?:[/?#].*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^@:%\[\]]+)(?::([1-9][0-9]{0,4}))?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
_NEVER = frozenset(' \\"<>^`{|}')
"""Not in RFC 3986. A backslash is a slash to browsers, and white space is dropped by some."""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ftps": 990, "sftp": 22}


class Place(NamedTuple):
    """Where a URL leads. `port` is None where neither the URL nor its scheme tells."""

    scheme: str
    host: str
    port: int | None


class Url:
    """One URL with one of these schemes, at one of these hosts and ports.

    Without `schemes`, only https is let through, and without `ports`, only the scheme's own
    port; a rule that stops stops any of them.
    """

    __slots__ = ("_domains", "_ports", "_schemes")

    def __init__(self, said: dict[str, Any]) -> None:
        self._domains = Domains(said["domains"]) if "domains" in said else None
        self._schemes = frozenset(said["schemes"]) if "schemes" in said else None
        self._ports = frozenset(said["ports"]) if "ports" in said else None

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if not isinstance(value, str):
            return True
        place = parsed(value)
        if place is None:
            return not exactly
        return self._fits(place) if exactly else self._might_fit(place)

    def _fits(self, place: Place) -> bool:
        if place.scheme not in (self._schemes or ("https",)):
            return False
        usual = _PORTS.get(place.scheme)
        if place.port not in (self._ports or (usual,)):
            return False
        if self._domains is None:
            return not is_address(place.host)
        return self._domains.lists(place.host, exactly=True)

    def _might_fit(self, place: Place) -> bool:
        return (
            (self._schemes is None or place.scheme in self._schemes)
            and (self._ports is None or place.port is None or place.port in self._ports)
            and (self._domains is None or self._domains.lists(place.host, exactly=False))
        )


def parsed(url: str) -> Place | None:
    """Where a URL leads, None where it is no URL that everybody reads alike."""
    if len(url) > _MAX_URL or not url.isprintable() or not _NEVER.isdisjoint(url):
        return None
    whole = _URL.fullmatch(url)
    authority = _AUTHORITY.fullmatch(whole[2]) if whole else None
    if whole is None or authority is None:
        return None
    host = spelled(authority[1])
    scheme = whole[1].lower()
    port = int(authority[2]) if authority[2] else _PORTS.get(scheme)
    if host is None or (port is not None and port > _MAX_PORT):
        return None
    return Place(scheme, host, port)


def url_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `url`."""
    keys = ("domains", "schemes", "ports")
    yield from strangers(said, keys, "{domains: [acme.com]}")
    if not isinstance(said, dict):
        return
    yield from members(said, "domains", "domains")
    yield from members(said, "schemes", "schemes")
    for key in keys:
        for at, each in enumerate(said[key] if isinstance(said.get(key), list) else ()):
            if key == "domains":
                yield from domain_faults(each, (key, at), addresses=True)
            elif key == "schemes" and isinstance(each, str) and not _SCHEME.fullmatch(each):
                yield (key, at), f"a scheme is a word in small letters, as `https`; {found(each)}"
            elif key == "ports" and (type(each) is not int or not 1 <= each <= _MAX_PORT):
                yield (key, at), f"a port is a whole number from 1 to 65535; {found(each)}"
    if "ports" in said and (not isinstance(said["ports"], list) or not said["ports"]):
        yield ("ports",), f"expected a list of ports; {found(said['ports'])}"
