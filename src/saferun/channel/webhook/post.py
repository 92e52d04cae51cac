"""One POST to where the operator has said, and to nowhere else.

The name is looked up once, every address that it has is checked, and the connection goes to one
of those: what a second lookup would say is never asked. Redirects are not followed, proxies of
the environment are not used, and all of it has to be over in time.
"""

import asyncio
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from socket import SOCK_STREAM, gaierror
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from saferun.channel import loop
from saferun.errors import ConfigError, SafeRunError

if TYPE_CHECKING:
    from httpx import URL

ANSWERS_IN = 15.0
"""Seconds for all of it, as Standard Webhooks proposes."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that stand for those of IPv4, to which a gateway leads (RFC 6052)."""

_PUBLIC6 = IPv6Network("2000::/3")
"""What IANA has given out of IPv6 to be reached by anybody; all else is something special."""

_SPECIAL4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Addresses of protocols (RFC 6890) and of relays (RFC 7526). Not every version of Python takes
them for special."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""The third quarter of an address that stands for one of IPv4 (RFC 5214)."""


class WebhookError(SafeRunError):
    """A message did not reach the program that it is for: why, and never where that is in full."""


def checked(url: str, where: str, *, private: bool) -> str:
    """The URL, where it is one to post to. Raises ConfigError, without what may be secret of it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if not host or parts.username is not None or parts.fragment or not url.isprintable():
        raise ConfigError(
            f"{where} url is no address to post to; write https://HOST/PATH, without a user or "
            "fragment."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and private):
        raise ConfigError(
            f"{where} url has to begin with https://; plain http is for private addresses, with "
            "allow_private = true."
        )
    return url


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> int:
    """Post `body` and return the status. Raises WebhookError where no answer came."""
    import httpx

    try:
        return loop.run(asyncio.wait_for(_posted(url, body, headers, private), ANSWERS_IN))
    except TimeoutError:
        raise WebhookError(f"it has not answered within {ANSWERS_IN:.0f} s") from None
    except (httpx.HTTPError, OSError) as problem:
        # The text of these may have the URL in it, and that may be a secret.
        raise WebhookError(f"it was not reached ({type(problem).__name__})") from None
    except (httpx.InvalidURL, UnicodeError):
        raise WebhookError("its url is no address to post to") from None


async def _posted(url: str, body: bytes, headers: Mapping[str, str], private: bool) -> int:
    import httpx

    to = httpx.URL(url)
    addresses = await _addresses(to, private=private)
    # Not by a client of httpx, which would log the whole URL, and that may be a secret.
    async with httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(), trust_env=False
    ) as transport:
        for address in addresses:
            request = httpx.Request(
                "POST",
                to.copy_with(host=str(address)),
                content=body,
                headers={**headers, "Host": to.netloc.decode("ascii")},
                extensions={
                    "timeout": httpx.Timeout(ANSWERS_IN).as_dict(),
                    # The certificate is that of the name.
                    "sni_hostname": to.raw_host.decode("ascii"),
                },
            )
            try:
                response = await transport.handle_async_request(request)
            except httpx.ConnectError:
                if address == addresses[-1]:
                    raise
                continue
            # What it says beside the status is nothing to us.
            await response.aclose()
            return response.status_code
    raise WebhookError("its name has no address")


async def _addresses(to: "URL", *, private: bool) -> list[IPv4Address | IPv6Address]:
    """The addresses of a host. Raises WebhookError where one of them is not to be posted to."""
    port = to.port or (443 if to.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            to.raw_host.decode("ascii"), port, type=SOCK_STREAM
        )
    except gaierror:
        raise WebhookError("its name has no address") from None
    addresses = list(dict.fromkeys(ip_address(each[4][0]) for each in found))
    if not private and not all(map(is_public, addresses)):
        raise WebhookError(
            "its address is a private one; say allow_private = true where that is meant"
        )
    return addresses


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the Internet's, whichever way it is written."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        through = address.teredo is not None or int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
        if address not in _PUBLIC6 or through:
            return False
    elif any(address in each for each in _SPECIAL4):
        return False
    return address.is_global and not address.is_multicast
