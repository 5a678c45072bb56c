"""Error responses: RFC 9457 problem details."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from backups.services.batches.making import BatchKeyReused
from backups.services.runs.requests import CannotCancel, KeyReused, ReasonMissing
from dashboard.accounts.access import RoleRequired
from dashboard.audit.refusals import access_denied
from dashboard.tokens.authentication import NotAuthenticated, SecondFactorMissing, TooManyFailures
from dashboard.tokens.models import Scope

logger = logging.getLogger("django.request")

TYPES = "urn:css-log-backup:"
REALM = 'Bearer realm="css-log-backup"'
CONTENT_TYPE = "application/problem+json"
# what every operation can answer, by status: descriptions
EVERYWHERE = {
    400: "A parameter, field or body cannot be used.",
    401: "The token is missing, wrong, expired or revoked.",
    403: "The account or the token may not do this.",
    404: "It does not exist, or the account may not see it.",
    406: "The client does not accept the content type.",
    411: "The body has no Content-Length.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Lists have no page numbers; an idempotency key was used with another body.",
    429: "Too many invalid tokens from this address.",
    500: "An error in the dashboard.",
}


class Invalid(Exception):
    """The request is invalid.

    Args:
        errors: pairs (field or parameter, message); "" for the request as a whole.
    """

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__()

    @classmethod
    def by_form(cls, form: Form) -> Invalid:
        """The errors of a form."""
        return cls(
            ("" if name == "__all__" else name, str(problem))
            for name, problems in form.errors.items()
            for problem in problems
        )


class NotNow(Exception):
    """The request is valid, but its object does not allow it now.

    Args:
        kind: type of the problem.
        detail: the reason.
        facts: further members of the problem.
    """

    def __init__(self, kind: str, detail: str, **facts: Any) -> None:
        self.kind, self.detail, self.facts = kind, detail, facts
        super().__init__(detail)


class CloudFailed(NotNow):
    """The cloud could not be reached, or it is not known what it did: 502."""


class NoPageNumbers(Exception):
    """The request asks for a page by its number, which no list has."""


class OutOfScope(Exception):
    """The token's scope does not include the operation.

    Args:
        needed: the scope that does.
    """

    def __init__(self, needed: Scope) -> None:
        self.needed = needed
        super().__init__(needed)


def problem(
    request: HttpRequest,
    status: int,
    kind: str,
    title: str,
    detail: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpResponse:
    """Build an error response.

    Args:
        request: the request.
        status: HTTP status.
        kind: stable identifier for programs, in words with dashes.
        title: short description of the kind.
        detail: description of this occurrence; the title by default.
        headers: of the response.
        more: further members of the problem.
    """
    body = {
        "type": f"{TYPES}{kind}",
        "title": title,
        "status": status,
        "detail": detail or title,
        "request_id": getattr(request, "request_id", ""),
        **more,
    }
    return HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status=status,
        content_type=CONTENT_TYPE,
        headers=dict(headers or {}),
    )


def not_found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """404, both for what does not exist and for what the account may not see."""
    return problem(
        request,
        404,
        "not-found",
        _("Not found"),
        _("It does not exist, or the token's account may not see it."),
    )


def not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    """405 for a method that the URL does not support."""
    return problem(
        request,
        405,
        "method-not-allowed",
        _("Method not allowed"),
        _("Allowed methods: %(methods)s.") % {"methods": allowed},
        headers={"Allow": allowed},
    )


def not_acceptable(request: HttpRequest, types: Iterable[str]) -> HttpResponse:
    """406 for a client that takes none of the content types."""
    return problem(
        request,
        406,
        "not-acceptable",
        _("Not acceptable"),
        _("Responses are: %(types)s.") % {"types": ", ".join(types)},
    )


def invalid(request: HttpRequest, errors: Iterable[tuple[str, str]]) -> HttpResponse:
    """400 that names each invalid field or parameter."""
    listed = [{"field": field, "problem": text} for field, text in errors]
    detail = "; ".join(
        f"{e['field']}: {e['problem']}" if e["field"] else e["problem"] for e in listed
    )
    return problem(
        request, 400, "invalid-request", _("Invalid request"), detail[:2000], errors=listed
    )


def _unauthenticated(request: HttpRequest, error: NotAuthenticated) -> HttpResponse:
    challenge = REALM + (', error="invalid_token"' if error.given else "")
    return problem(
        request,
        401,
        "not-authenticated",
        _("Not authenticated"),
        str(error),
        headers={"WWW-Authenticate": challenge},
    )


def _too_many(request: HttpRequest, error: TooManyFailures) -> HttpResponse:
    return problem(
        request,
        429,
        "too-many-failures",
        _("Too many invalid tokens"),
        _("Wait before the next attempt, and find the program that sends invalid tokens."),
        headers={"Retry-After": str(error.retry_after)},
    )


def _second_factor_missing(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(
        request,
        403,
        "second-factor-missing",
        _("Second factor missing"),
        _("A role of the token's account requires a second factor. Set one up under Account."),
    )


def _refused(request: HttpRequest, error: RoleRequired) -> HttpResponse:
    _record_refusal(request, str(error))
    return problem(
        request,
        403,
        "not-permitted",
        _("Not permitted"),
        str(error),
        permission=str(error.permission),
        grantors=error.grantors,
    )


def _out_of_scope(request: HttpRequest, error: OutOfScope) -> HttpResponse:
    detail = _("The token's scope does not include this. Create one with “%(scope)s”.") % {
        "scope": error.needed.label
    }
    _record_refusal(request, detail)
    challenge = f'{REALM}, error="insufficient_scope", scope="{error.needed}"'
    return problem(
        request,
        403,
        "out-of-scope",
        _("Out of the token's scope"),
        detail,
        headers={"WWW-Authenticate": challenge},
        scope=str(error.needed),
    )


def _record_refusal(request: HttpRequest, why: str) -> None:
    try:
        access_denied(request, details={"why": why})
    except (DatabaseError, InterfaceError):
        # the request is refused even without its event
        logger.exception("cannot record a refusal: %s %s", request.method, request.path)


def _key_reused(request: HttpRequest, error: KeyReused | BatchKeyReused) -> HttpResponse:
    belongs: dict[str, Any] = (
        {"run_id": error.run.pk} if isinstance(error, KeyReused) else {"batch_id": error.batch.pk}
    )
    return problem(
        request,
        422,
        "idempotency-key-reused",
        _("Idempotency key reused with another body"),
        str(error),
        **belongs,
    )


def _not_now(request: HttpRequest, error: NotNow) -> HttpResponse:
    return problem(request, 409, error.kind, _("Not possible now"), error.detail, **error.facts)


def _cloud_failed(request: HttpRequest, error: CloudFailed) -> HttpResponse:
    return problem(
        request, 502, error.kind, _("No usable answer of the cloud"), error.detail, **error.facts
    )


def _no_page_numbers(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(
        request,
        422,
        "no-page-numbers",
        _("Lists have no page numbers"),
        _("Leave “page” out, and follow “next” of each response until it is null."),
        errors=[{"field": "page", "problem": _("Lists have no page numbers")}],
    )


def _validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return invalid(request, [(_field(each["loc"]), str(each["msg"])) for each in error.errors])


def _field(loc: Iterable[object]) -> str:
    """The field's name, without its source and model."""
    parts = [str(part) for part in loc]
    return ".".join(parts[2:] if len(parts) > 2 else parts[1:] if parts[1:] != ["body"] else [])


def _unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return invalid(request, [("", _("The body is not valid JSON."))])


def _internal_error(request: HttpRequest, error: Exception) -> HttpResponse:
    """500 for an unexpected exception, which is logged under the request id."""
    got_request_exception.send(sender=None, request=request)
    logger.error("Internal Server Error: %s", request.path, exc_info=error)
    return problem(
        request,
        500,
        "internal-error",
        _("Internal error"),
        _("See the dashboard's log for this request id."),
    )


def register(api: NinjaAPI) -> None:
    """Register the exception handlers that build these responses."""
    handlers: dict[type[Exception], Any] = {
        Exception: _internal_error,
        Http404: not_found,
        HttpError: _unreadable,
        ValidationError: _validation,
        Invalid: lambda request, error: invalid(request, error.errors),
        ReasonMissing: lambda request, error: invalid(request, [("reason", str(error))]),
        CannotCancel: lambda request, error: _not_now(request, NotNow("cannot-cancel", str(error))),
        KeyReused: _key_reused,
        BatchKeyReused: _key_reused,
        NotNow: _not_now,
        CloudFailed: _cloud_failed,
        NoPageNumbers: _no_page_numbers,
        NotAuthenticated: _unauthenticated,
        TooManyFailures: _too_many,
        SecondFactorMissing: _second_factor_missing,
        RoleRequired: _refused,
        OutOfScope: _out_of_scope,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
