"""Addresses of the API. Every answer below /api/ is JSON, and no session counts there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, get_script_prefix, path, re_path
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.operation import Operation

from . import clusters, problems, runs, token
from .token import READ

LARGEST_BODY = 16_384  # bytes
VERSION = "v1"


class Api(NinjaAPI):
    """Names its operations in the description as their URLs are named."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


api = Api(
    title="CSS Log Backup",
    version="1",
    description="Log backups of Cloud Search Service clusters: requested, followed, listed.",
    docs_url=None,  # its page loads scripts from elsewhere
    openapi_url=None,  # below: with a token or a session
    urls_namespace="api",
)
api.add_router("/clusters", clusters.router)
api.add_router("/runs", runs.router)
api.add_router("/protection", clusters.protection_router)
api.add_router("/token", token.router)
problems.register(api)

View = Callable[..., HttpResponse]


def answered(view: View) -> View:
    """A view of the API: without session and form token, with problems in place of pages."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        made = _beyond_limits(request) or view(request, *args, **kwargs)
        if isinstance(made, HttpResponseNotAllowed):
            made = problems.not_allowed(request, made.headers["Allow"])
        made["Cache-Control"] = "no-store"
        return made

    return answer


def _beyond_limits(request: HttpRequest) -> HttpResponse | None:
    """What is refused before anything of the body is read."""
    length = request.headers.get("Content-Length") or "0"
    if "Transfer-Encoding" in request.headers and length == "0":
        return problems.problem(
            request, 411, "length-required", _("The length of the body is missing")
        )
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return problems.problem(
            request,
            413,
            "too-large",
            _("The body is too large"),
            _("At most %(most)d bytes are read.") % {"most": LARGEST_BODY},
        )
    if length != "0" and request.content_type != "application/json":
        return problems.problem(
            request, 415, "not-json", _("The body is no JSON"), _("Send application/json.")
        )
    return None


def openapi(request: HttpRequest) -> HttpResponse:
    """The description of the API, for who has signed in or sends a token."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if not request.user.is_authenticated:
        try:
            READ(request)
        except Exception as error:
            return api.on_exception(request, error)
    schema = api.get_openapi_schema(path_prefix=f"{get_script_prefix()}api/{VERSION}/")
    return JsonResponse(schema, json_dumps_params={"indent": 2})


app_name = "api"
_operations, _app, _namespace = api.urls
urlpatterns = [
    path(f"{VERSION}/openapi.json", answered(openapi), name="openapi"),
    *(
        path(f"{VERSION}/{each.pattern}", answered(each.callback), name=each.name)
        for each in _operations
        if isinstance(each, URLPattern) and each.name != "api-root"
    ),
    re_path("", answered(problems.not_found), name="unknown"),  # JSON instead of the HTML 404 page
]
