"""Request ids, and the security headers that Django does not set itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from dashboard import logs

GetResponse = Callable[[HttpRequest], HttpResponse]

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
    """Give every request an id of our own: it is in the answer's X-Request-Id and in the log."""

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
