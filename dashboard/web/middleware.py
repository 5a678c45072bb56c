"""How requests come in and answers go out: URL prefix, encoding, ids, headers, compression."""

from __future__ import annotations

import codecs
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.template import loader
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _

from dashboard import logs

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


# JSON knows no charset parameter (RFC 8259), and its body is read as bytes.
FOR_PROGRAMS = ("/api/",)


class RequestTextMiddleware:
    """Decide before anything reads query or form that both are UTF-8 and can be decoded.

    It stands before the session and the CSRF check, which is what reads the form first.
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
    """A request that is read as UTF-8 whatever its Content-Type header says.

    Django's own decodes the query with the header's codec as soon as it is made, before any
    middleware could refuse it, and raises what the codec or an unreadable header raises.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            parsed = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            parsed = "", {"charset": "unreadable"}
        self.content_type, self.content_params = parsed


class PrefixedHandler(WSGIHandler):
    """Django's handler, with requests of this kind, below URL_PREFIX."""

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


# No inline script or style anywhere; htmx is told (base.html) not to write its indicator style.
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
    """Give each request an id, which appears in the X-Request-Id header and in the log."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        made = uuid.uuid4().hex
        request.request_id = made  # type: ignore[attr-defined]
        token = logs.request_id.set(made)
        try:
            response = self.get_response(request)
        finally:
            logs.request_id.reset(token)
        response["X-Request-Id"] = made
        return response


class SecurityHeadersMiddleware:
    """Content-Security-Policy, Permissions-Policy and no caching of pages."""

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
    """Compress pages: a list is a tenth as long then.

    Compression lets somebody who can have a victim's browser ask, with texts of their choice, and
    who sees how long the answers are, guess what else is in the page (BREACH). So Django makes each
    answer's length random and masks the CSRF token anew in each page, session cookies are not
    sent with requests that other sites cause in the background (SameSite), and pages that show
    secrets of an account are not compressed at all.
    """

    SECRET = ("/account/", "/sign-in/", "/admin/")

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        page = response.get("Content-Type", "").startswith("text/html")
        if response.streaming or not page or request.path_info.startswith(self.SECRET):
            return response
        return super().process_response(request, response)
