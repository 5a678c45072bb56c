"""URLs of the API. Every response below /api/ is JSON, and sessions are ignored."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, get_script_prefix, path, re_path
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.operation import Operation

from . import (
    account,
    attention,
    audit,
    batches,
    clusters,
    connections,
    log_settings,
    notifications,
    openapi,
    problems,
    runs,
    schedules,
)
from .account import API_VERSION as VERSION
from .token import READ

LARGEST_BODY = 16_384  # bytes
BASE = f"api/{VERSION}/"  # below the URL prefix
_JSON = ("application/json", problems.CONTENT_TYPE)
_FILES = ("text/csv", "application/jsonl")  # of exports


class Api(NinjaAPI):
    """Uses the names of the view functions as operation ids."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


api = Api(
    title="CSS Log Backup",
    version="1",
    description="Request, follow and list log backups of Cloud Search Service clusters.",
    docs_url=None,  # it loads scripts from other hosts
    openapi_url=None,  # served below, with a token or a session
    urls_namespace="api",
)
# a new resource is a module with a router, and a line here
ROUTERS = {
    "/clusters": (clusters.router, log_settings.router),
    "/protection": (clusters.protection_router,),
    "/runs": (runs.router,),
    "/exports": (runs.exports_router,),
    "/batches": (batches.router,),
    "/connections": (connections.router,),
    "/projects": (connections.projects_router,),
    "/schedules": (schedules.router,),
    "/channels": (notifications.router,),
    "/rules": (notifications.rules_router,),
    "/deliveries": (notifications.deliveries_router,),
    "/handlings": (attention.handlings_router,),
    "/report": (attention.report_router,),
    "/audit": (audit.router,),
    "/retention": (audit.retention_router,),
    "": (account.router,),
}
for _prefix, _routers in ROUTERS.items():
    for _router in _routers:
        api.add_router(_prefix, _router)
problems.register(api)

View = Callable[..., HttpResponse]


def api_view(view: View) -> View:
    """Wrap a view: no session or CSRF token, problem details instead of HTML errors."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = _beyond_limits(request) or view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            response = problems.not_allowed(request, response.headers["Allow"])
        response["Cache-Control"] = "no-store"
        return response

    return wrapped


def _beyond_limits(request: HttpRequest) -> HttpResponse | None:
    """Reject a request by its headers, before the body is read."""
    types = (*_JSON, *_FILES) if request.path_info.endswith("/runs/export") else _JSON
    if not any(request.accepts(kind) for kind in types):
        return problems.not_acceptable(request, types)
    length = request.headers.get("Content-Length") or "0"
    if "Transfer-Encoding" in request.headers and length == "0":
        return problems.problem(request, 411, "length-required", _("Content-Length is missing"))
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return problems.problem(
            request,
            413,
            "too-large",
            _("The body is too large"),
            _("The limit is %(most)d bytes.") % {"most": LARGEST_BODY},
        )
    if length != "0" and request.content_type != "application/json":
        return problems.problem(
            request, 415, "not-json", _("The body is not JSON"), _("Send it as application/json.")
        )
    return None


def description() -> dict[str, Any]:
    """The OpenAPI description of this instance; who changes it copies it first."""
    return _description(get_script_prefix())


@lru_cache(maxsize=4)  # half a second of work that has one result while the process lives
def _description(prefix: str) -> dict[str, Any]:
    return openapi.describe(api, f"{prefix}{BASE}")


def openapi_json(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, for signed-in users and tokens."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if not request.user.is_authenticated:
        try:
            READ(request)
        except Exception as error:
            return api.on_exception(request, error)
    return JsonResponse(description(), json_dumps_params={"indent": 2})


app_name = "api"
_operations, _app, _namespace = api.urls
urlpatterns = [
    path(f"{VERSION}/openapi.json", api_view(openapi_json), name="openapi"),
    *(
        path(f"{VERSION}/{each.pattern}", api_view(each.callback), name=each.name)
        for each in _operations
        if isinstance(each, URLPattern) and each.name != "api-root"
    ),
    re_path("", api_view(problems.not_found), name="unknown"),  # JSON instead of the HTML 404 page
]
