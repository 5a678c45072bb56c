"""Middleware and WSGI handler: URL prefix, encoding, request ids, headers, compression."""

from __future__ import annotations

import codecs
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.template import loader
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _
from structlog.contextvars import bound_contextvars

from dashboard import correlation, logs
from dashboard.metrics import counters

access = structlog.stdlib.get_logger("dashboard.access")
STATIC_PATH = "/static/"  # STATIC_URL without the prefix
QUIET = ("-live", "static")  # ends of the names of routes

GetResponse = Callable[[HttpRequest], HttpResponse]

USABLE = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
BESIDE_URLS = frozenset({"static", "healthz", "readyz", "health", "metrics"})


def without_prefix(asked: dict[str, Any]) -> dict[str, Any]:
    """Return a WSGI environment whose path does not include the URL prefix.

    Some proxies pass on the full path, some strip the prefix, and probes inside the network do not
    use it; all three get the same page. No page's path starts with the prefix (see `clashes`).
    """
    prefix, path = settings.URL_PREFIX, asked.get("PATH_INFO", "")
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return {**asked, "PATH_INFO": path[len(prefix) :] or "/"}
    return asked


def clashes(prefix: str) -> bool:
    """Return True if the path of a page starts with the same segment as `prefix`.

    Such a prefix is ambiguous.
    """
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
    """Limit every cookie to the URL prefix, so other applications on the host do not receive it."""

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.URL_PREFIX:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for cookie in response.cookies.values():
            cookie["path"] = settings.URL_PREFIX  # also matches the path with a trailing slash
        return response


# JSON defines no charset parameter (RFC 8259), and its body is read as bytes.
FOR_PROGRAMS = ("/api/",)


class RequestTextMiddleware:
    """Reject requests whose query or form is not UTF-8 or cannot be decoded.

    It runs before the session and CSRF middleware; the CSRF check is the first to read the form.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        for_programs = request.path_info.startswith(FOR_PROGRAMS)
        charset = (request.content_params or {}).get("charset")
        if charset is not None and not for_programs and not _is_utf8(charset):
            return _refused(_("Requests must be encoded in UTF-8."))
        if request.method == "POST" and not for_programs:
            try:
                request.POST  # noqa: B018 - decodes the body, once
            except (LookupError, ValueError, UnreadablePostError):
                return _refused(_("The body of the request could not be decoded."))
        return self.get_response(request)


class Utf8Request(WSGIRequest):
    """Request that is decoded as UTF-8 regardless of its Content-Type header.

    Django's request decodes the query with the header's codec on creation, before a middleware can
    reject it. Errors of the codec, or of an unreadable header, are raised from there.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            parsed = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            parsed = "", {"charset": "unreadable"}
        self.content_type, self.content_params = parsed


class PrefixedHandler(WSGIHandler):
    """Django's WSGI handler, extended to use `Utf8Request` and to strip URL_PREFIX."""

    request_class = Utf8Request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return super().__call__(without_prefix(environ), start_response)


def _is_utf8(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name == "utf-8"
    except (LookupError, ValueError):  # ValueError: a name with a null character
        return False


def _refused(problem: str) -> HttpResponse:
    page = loader.get_template("400.html")
    return HttpResponseBadRequest(page.render({"problems": [problem]}))


class WrongMethodMiddleware:
    """Give a page to browsers that open an address which only accepts forms; Django's is empty."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != 405 or response.content or request.method != "GET":
            return response
        page = render(request, "405.html", status=405)
        page["Allow"] = response["Allow"]
        return page


# No inline scripts or styles; base.html configures htmx not to insert its indicator style.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class RequestIdMiddleware:
    """Assign each request an id, log its end and count it.

    A client or proxy may choose the id, in X-Request-ID, but not one in the form of the product's
    own. It is in the answer's header of the same name, in every log line of the request, and in
    those of the tasks that the request queues.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        given = request.headers.get("X-Request-Id", "")
        usable = logs.WELL_FORMED.fullmatch(given) and not correlation.OWN.fullmatch(given)
        made = given if usable else uuid.uuid4().hex
        request.request_id = made  # type: ignore[attr-defined]
        with bound_contextvars(correlation_id=made):
            response = self.get_response(request)
            _log_end(request, response.status_code, time.monotonic() - began)
        response["X-Request-Id"] = made
        return response


def _log_end(request: HttpRequest, status: int, seconds: float) -> None:
    # The route instead of the URL: addresses can contain sign-in codes and searched names.
    route = request.resolver_match.view_name if request.resolver_match else ""
    if not route and request.path_info.startswith(STATIC_PATH):
        route = "static"
    counters.request_ended(route, request.method or "", status, seconds)
    # What open pages ask for by themselves once a second, and static files, are not news.
    quiet = route.endswith(QUIET) and status < 400
    access.log(
        logging.DEBUG if quiet else logging.INFO,
        "request",
        method=request.method,
        route=route or "none",
        status=status,
        seconds=round(seconds, 3),
    )


class SecurityHeadersMiddleware:
    """Set Content-Security-Policy and Permissions-Policy, and disable caching of pages."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if response.get("Content-Type", "").startswith("text/html"):
            response.setdefault("Cache-Control", "no-store")
        return response


class CompressedPagesMiddleware(GZipMiddleware):
    """Compress pages and the API's JSON with gzip, which makes a list about ten times smaller.

    Compression enables the BREACH attack: an attacker who can trigger requests with chosen text in
    a victim's browser, and can observe the length of the answers, can guess other content of the
    page. Mitigations: Django randomizes the length of each answer and masks the CSRF token anew in
    each page, SameSite keeps session cookies out of background requests from other sites, and pages
    that show account secrets are not compressed. A browser sends no token of the API by itself, so
    nobody can trigger such requests.
    """

    SECRET = ("/account/", "/sign-in/", "/settings/access/")

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        kind = response.get("Content-Type", "")
        listed = kind == "application/json" and request.path_info.startswith(FOR_PROGRAMS)
        page = kind.startswith("text/html") and not request.path_info.startswith(self.SECRET)
        if response.streaming or not (page or listed):
            return response
        return super().process_response(request, response)
