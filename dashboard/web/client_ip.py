"""Client address of a request, with respect to trusted proxies."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_ip(request: HttpRequest) -> str | None:
    """Return the address of the client that sent a request.

    Without trusted proxies, this is the peer of the connection. With `TRUSTED_PROXY_COUNT` = n, it
    is the n-th entry from the right of X-Forwarded-For. The client can forge the entries further
    left.

    Args:
        request: the incoming request.

    Returns:
        A valid IPv4 or IPv6 address, or None if it is unknown (such as on a Unix socket).
    """
    peer = _address(request.META.get("REMOTE_ADDR", ""))
    count = settings.TRUSTED_PROXY_COUNT
    if count < 1:
        return peer
    hops = [hop for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if len(hops) < count:  # the request bypassed a proxy, so the header is not trustworthy
        return peer
    return _address(hops[-count]) or peer


def _address(text: str) -> str | None:
    """Parse an address; some proxies add a port ("1.2.3.4:5678", "[::1]:443") or a zone."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
