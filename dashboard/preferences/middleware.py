"""Language and time zone of a request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from dashboard.web.moments import zone_names

from .languages import SOURCE

GetResponse = Callable[[HttpRequest], HttpResponse]
TIME_ZONE_COOKIE = "tz"
# for programs: responses must not depend on the user's preferences
FOR_PROGRAMS = ("/api/",)


class PreferencesMiddleware:
    """Activate the language and the time zone of the user.

    The user's preferences come first. Otherwise the language is the first available one that the
    browser accepts, or English; the time zone is that of the browser, which a script stores in a
    cookie, or UTC. Stored and exported values depend on neither.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(FOR_PROGRAMS):
            return self.get_response(request)
        language = language_of(request)
        with translation.override(language), timezone.override(zone_of(request)):
            response = self.get_response(request)
        response.headers.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response


def language_of(request: HttpRequest) -> str:
    """Return the language code for a request."""
    chosen = request.user.language if request.user.is_authenticated else ""
    # the catalogue may have been removed since
    if chosen in dict(settings.LANGUAGES):
        return chosen
    try:
        return translation.get_language_from_request(request)
    except LookupError:
        return SOURCE


def zone_of(request: HttpRequest) -> tzinfo:
    """Return the time zone for a request."""
    chosen = request.user.time_zone if request.user.is_authenticated else ""
    reported = unquote(request.COOKIES.get(TIME_ZONE_COOKIE, ""))
    name = next((each for each in (chosen, reported) if each in zone_names()), "UTC")
    return UTC if name == "UTC" else ZoneInfo(name)
