"""Requests are UTF-8: what claims another encoding, or cannot be decoded, is answered 400.

Django would decode query and form with whatever codec the Content-Type header names. Python has
codecs that raise errors of their own (idna, punycode), that are not text at all (hex, base64), and
that read “a=1” as something else (utf-16, utf-7): strangers could cause internal errors.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, UnreadablePostError
from django.template import loader
from django.utils.http import parse_header_parameters
from django.utils.translation import gettext as _

from .url_prefix import without_prefix

GetResponse = Callable[[HttpRequest], HttpResponse]
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


class Request(WSGIRequest):
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


class Handler(WSGIHandler):
    """Django's handler, with requests of this kind, below URL_PREFIX."""

    request_class = Request

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
