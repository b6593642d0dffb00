"""The controlled perimeter: which requests come from outside it (draft Annex 11 (2025) 11.6, 15.20).

Inside are the networks that the site names as trusted. A request that passed a proxy is judged by what a declared proxy
says of it; one that names a proxy which is not declared counts as from outside, wherever it seems to come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import HTTPConnection

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_PROXIED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from: from outside the perimeter or not, and whether its way here is encrypted.

    `address` is the last that no declared proxy has, empty where it cannot be told. `here`: it never left this machine.
    """

    remote: bool
    encrypted: bool
    address: str = field(default="", compare=False)
    here: bool = field(default=False, compare=False)


INSIDE = Origin(remote=False, encrypted=False)


@dataclass(frozen=True, slots=True)
class Perimeter:
    """The site's trusted networks and declared proxies."""

    trusted: tuple[Network, ...]
    proxies: tuple[Network, ...] = ()

    def judge(self, connection: HTTPConnection) -> Origin:
        """Return where a request comes from; what cannot be told counts as from outside."""
        client = connection.scope.get("client")
        peer = _address(str(client[0])) if client else None
        encrypted = connection.url.scheme in ("https", "wss")
        if peer is not None and _within(peer, self.proxies):
            shown = connection.headers.get("x-forwarded-proto", "").strip().lower()
            behind = self._behind_proxies(connection)
            return Origin(not self._is_inside(behind), shown in ("https", "wss"), "" if behind is None else str(behind))
        proxied = any(name in connection.headers for name in _PROXIED)
        address, here = ("", False) if peer is None else (str(peer), peer.is_loopback and not proxied)
        return Origin(proxied or not self._is_inside(peer), encrypted, address, here)

    def _behind_proxies(self, connection: HTTPConnection) -> Address | None:
        """Return the last address that no declared proxy has; further left stands whatever the client chose to send."""
        hops = [hop.strip() for value in connection.headers.getlist("x-forwarded-for") for hop in value.split(",")]
        for hop in reversed(hops):
            address = _address(hop)
            if address is None or not _within(address, self.proxies):
                return address
        return None

    def _is_inside(self, address: Address | None) -> bool:
        return address is not None and _within(address, self.trusted)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
