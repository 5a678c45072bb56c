"""Where a request came from, as far as the proxies in front are trusted."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_ip(request: HttpRequest) -> str | None:
    """The address of whoever sent a request.

    Without trusted proxies that is the peer of the connection. With `TRUSTED_PROXY_COUNT` of n it
    is the n-th entry from the right of X-Forwarded-For: what stands further left was written by
    the client and proves nothing.

    Args:
        request: the request as it arrived.

    Returns:
        A valid IPv4 or IPv6 address, None where none is known (a unix socket).
    """
    peer = _address(request.META.get("REMOTE_ADDR", ""))
    count = settings.TRUSTED_PROXY_COUNT
    if count < 1:
        return peer
    hops = [hop for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if len(hops) < count:  # it did not pass all the proxies: nothing in the header counts
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
