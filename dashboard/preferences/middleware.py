"""Language and time zone of a page."""

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
# read by programs, whose answer must not depend on who asks
FOR_PROGRAMS = ("/api/",)


class PreferencesMiddleware:
    """Show texts in the viewer's language and times in the viewer's zone.

    What the user has chosen counts. Else the language is the first of those that the browser
    accepts that there is, or English, and the zone is the browser's, which its script tells in a
    cookie, or UTC. Nothing that is stored or exported depends on either.
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
    """The code of the language in which a request is answered."""
    chosen = request.user.language if request.user.is_authenticated else ""
    # a catalogue may have been taken away since it was chosen
    if chosen in dict(settings.LANGUAGES):
        return chosen
    try:
        return translation.get_language_from_request(request)
    except LookupError:
        return SOURCE


def zone_of(request: HttpRequest) -> tzinfo:
    """The time zone in which a request's times are shown."""
    chosen = request.user.time_zone if request.user.is_authenticated else ""
    told = unquote(request.COOKIES.get(TIME_ZONE_COOKIE, ""))
    name = next((each for each in (chosen, told) if each in zone_names()), "UTC")
    return UTC if name == "UTC" else ZoneInfo(name)
