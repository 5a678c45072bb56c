"""The path below which a proxy serves the dashboard: URL_PREFIX."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver

GetResponse = Callable[[HttpRequest], HttpResponse]

USABLE = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
BESIDE_URLS = frozenset({"static", "healthz", "readyz", "health"})


def without_prefix(asked: dict[str, Any]) -> dict[str, Any]:
    """A request, as WSGI has it, whose path is the dashboard's own.

    Some proxies pass the whole path on, some take the prefix off, and a probe inside the network
    knows none: all three ask for the same page. No page of ours begins like the prefix (`clashes`).
    """
    prefix, path = settings.URL_PREFIX, asked.get("PATH_INFO", "")
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return {**asked, "PATH_INFO": path[len(prefix) :] or "/"}
    return asked


def clashes(prefix: str) -> bool:
    """Whether some page of ours begins like a prefix, so that the two could not be told apart."""
    first = prefix.split("/")[1]
    return first in BESIDE_URLS or first in _first_parts(get_resolver())


def _first_parts(resolver: URLResolver) -> Iterator[str]:
    for each in resolver.url_patterns:
        route = str(each.pattern).lstrip("^")
        if route:
            yield route.split("/")[0]
        elif not isinstance(each, URLPattern):
            yield from _first_parts(each)


class CookiePathMiddleware:
    """Keep every cookie below the prefix, whoever sets it: neighbours on the host get none."""

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.URL_PREFIX:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for cookie in response.cookies.values():
            cookie["path"] = settings.URL_PREFIX  # with and without a slash at the end
        return response
