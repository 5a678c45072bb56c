"""Which addresses may be connected to when a user, not the operator, supplies the URL.

Loopback, link-local, private and reserved addresses are refused, among them the metadata services
of clouds, unless the operator allows their networks (NOTIFY_ALLOWED_NETWORKS).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_NAT64 = ip_network("64:ff9b::/96")
# Of IPv6, the only addresses of the Internet. Others may be translated to IPv4 on the way, such as
# 64:ff9b:1::/48, ::/96 and ::ffff:0:0:0/96.
_UNICAST = ip_network("2000::/3")
# What `is_global` lets through: protocol assignments, relays, and the metadata service of Azure.
_SPECIAL = [ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")]


class RefusedAddress(Exception):
    """The address may not be connected to. The message is safe to show."""


def networks(texts: Sequence[str]) -> list[Network]:
    """Parse networks such as 10.0.0.0/8. Raises ValueError."""
    return [ip_network(text, strict=False) for text in texts]


def is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    """Return whether an address lies in one of the allowed networks."""
    real = _real(address)
    return any(real in network for network in allowed if network.version == real.version)


def require_address(address: str, allowed: Sequence[Network]) -> None:
    """Check an address that is about to be connected to.

    Args:
        address: an IPv4 or IPv6 address; no name.
        allowed: networks that are permitted although they are not public.

    Raises:
        RefusedAddress: it is not public and not allowed, or no address.
    """
    try:
        real = _real(address)
    except ValueError:
        raise RefusedAddress(f"{address} is not an IP address") from None
    if _is_public(real) or is_allowed(address, allowed):
        return
    raise RefusedAddress(
        f"refused to connect to {address}, which is not a public address"
        " (NOTIFY_ALLOWED_NETWORKS can allow it)"
    )


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast:
        return False
    if address.version == 6:
        return address in _UNICAST
    return not any(address in network for network in _SPECIAL)


def pinned_address(host: str, port: int, allowed: Sequence[Network]) -> str:
    """Resolve a name once, and return the address to connect to.

    All its addresses must be permitted, so that no other one is used after a failure.

    Raises:
        RefusedAddress: one of them is refused.
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        require_address(address, allowed)
    return addresses[0]


def _real(address: str) -> IPv4Address | IPv6Address:
    """The address that packets go to: the IPv4 address within mapped and translated ones."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed in _NAT64:
            return IPv4Address(parsed.packed[-4:])
        teredo = parsed.teredo[1] if parsed.teredo else None
        return parsed.ipv4_mapped or parsed.sixtofour or teredo or parsed
    return parsed
