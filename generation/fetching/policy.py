"""Checks of an untrusted URL and of IP addresses before any connection.

``check_url`` checks the text without network access. ``check_ip_address`` checks every IP address
that a name resolves to. Neither relies on ``ipaddress.is_global``, which treats 64:ff9b::a9fe:a9fe
and 2002:7f00:1:: as global.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

MAX_URL = 8192  # characters; signed URLs reach about 2000
PORTS = {"http": 80, "https": 443}

# IANA's special-purpose registry, and Azure's WireServer, which has a public address. Oracle's
# metadata service is in 192.0.0.0/24, Alibaba's in 100.64.0.0/10, all others in 169.254.0.0/16.
_IPV4_DENIED = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only global unicast is allowed for IPv6. This excludes loopback, mapped, compatible, NAT64, ULA,
# link-local and multicast addresses. Inside it, Teredo and its neighbours, documentation, 6to4,
# 6bone and AS112 are denied.
_IPV6_ALLOWED = ipaddress.IPv6Network("2000::/3")
_IPV6_DENIED = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3ffe::/16",
        "3fff::/20",
    )
)
# Names that never belong to the public internet (RFC 6761, 6762, 7686, 8375 and ICANN's .internal).
_PRIVATE_SUFFIXES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
    "onion",
    "invalid",
    "test",
)

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?"
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]+))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_QUAD = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class BlockedAddressError(ValueError):
    """A URL or IP address that violates the policy.

    ``str(error)`` is a message for people and contains no part of the URL.
    """


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the text checks."""

    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int
    path: str
    query: str  # with its question mark, or empty; never in a message
    address: IpAddress | None  # the host, if it is an IP address
    trusted: bool  # host and port are on the allow list: private addresses are permitted

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def without_query(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def check_url(
    url: str, *, allow: Collection[str] = (), schemes: Collection[str] = ("https", "http")
) -> Target:
    """Parse and check a URL strictly, without a lookup.

    ``allow`` holds ``host:port`` pairs (IPv6 in brackets) that may be private, on any port and over
    plain http. Raises only BlockedAddressError.
    """
    parts = _split_url(url)
    scheme = parts["scheme"].lower()
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if scheme not in PORTS:
        raise BlockedAddressError("Only http and https URLs can be fetched.")
    if authority is None:
        raise BlockedAddressError(
            "The URL needs a plain host name, without user, password or escapes."
        )
    port = _parse_port(authority["port"], scheme)
    host = authority["host"].lower()
    trusted = f"{host}:{port}" in {pair.lower() for pair in allow}
    address = _parse_ip_address(host)
    if not trusted:
        if scheme not in schemes:
            raise BlockedAddressError(
                f"Only {' and '.join(sorted(schemes))} URLs are accepted here."
            )
        if port not in PORTS.values():
            raise BlockedAddressError("Only the ports 80 and 443 can be used.")
        if address is not None:
            check_ip_address(address)
        else:
            _check_host_name(host)
    return Target(
        scheme, host.strip("[]"), port, parts["path"] or "/", parts["query"] or "", address, trusted
    )


def _split_url(url: str) -> re.Match[str]:
    if not isinstance(url, str) or not url or len(url) > MAX_URL:
        raise BlockedAddressError(f"The URL is empty or longer than {MAX_URL} characters.")
    # URL parsers disagree about these characters, so they are refused.
    if not url.isascii() or any(
        ord(character) <= 0x20 or character in '\\\x7f"<>^`{|}' for character in url
    ):
        raise BlockedAddressError("The URL contains characters that must be escaped.")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise BlockedAddressError("This is not a complete http or https URL.")
    return parts


def _parse_port(text: str | None, scheme: str) -> int:
    if text is None:
        return PORTS[scheme]
    if len(text) > 5 or text.startswith("0") or int(text) > 65535:
        raise BlockedAddressError("The port is not a number from 1 to 65535.")
    return int(text)


def _parse_ip_address(host: str) -> IpAddress | None:
    """Return the IP address if the host is a canonical one; None for a name."""
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host.strip("[]"))
        return ipaddress.IPv4Address(host) if _QUAD.fullmatch(host) else None
    except ValueError:
        raise BlockedAddressError("The host is not a valid IP address.") from None


def _check_host_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BlockedAddressError("The host name is not valid.")
    # Some resolvers read a name that ends in a number as IPv4: 2130706433, 0x7f.1, 017700000001.
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise BlockedAddressError("The host is not a valid IP address.")
    if len(labels) == 1 or any(
        host == suffix or host.endswith(f".{suffix}") for suffix in _PRIVATE_SUFFIXES
    ):
        raise BlockedAddressError("The host is not on the public internet.")


def check_ip_address(address: IpAddress) -> None:
    """Raise BlockedAddressError unless the IP address is on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        public = not any(address in network for network in _IPV4_DENIED)
    else:
        public = address in _IPV6_ALLOWED and not any(
            address in network for network in _IPV6_DENIED
        )
    if not public:
        raise BlockedAddressError("The host is not on the public internet.")
