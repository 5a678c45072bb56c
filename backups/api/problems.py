"""What an error looks like: RFC 9457 problem details, one shape for all of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from backups.services.runs.requests import CannotCancel, KeyReused, ReasonMissing
from dashboard.accounts.access import RoleRequired
from dashboard.audit.refusals import access_denied
from dashboard.tokens.authentication import NotAuthenticated, SecondFactorMissing, TooManyFailures
from dashboard.tokens.models import Scope

logger = logging.getLogger("django.request")

TYPES = "urn:css-log-backup:"
REALM = 'Bearer realm="css-log-backup"'
CONTENT_TYPE = "application/problem+json"


class Invalid(Exception):
    """What was sent cannot be used.

    Args:
        errors: what is wrong, by field or parameter; "" for the request as a whole.
    """

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__()

    @classmethod
    def by_form(cls, form: Form) -> Invalid:
        """What a form finds wrong."""
        return cls(
            ("" if name == "__all__" else name, str(problem))
            for name, problems in form.errors.items()
            for problem in problems
        )


class NotNow(Exception):
    """The request is right, and what it is about does not allow it now.

    Args:
        kind: of the problem.
        detail: why.
        facts: what else is known.
    """

    def __init__(self, kind: str, detail: str, **facts: str) -> None:
        self.kind, self.detail = kind, detail
        self.facts: dict[str, Any] = dict(facts)
        super().__init__(detail)


class OutOfScope(Exception):
    """The token's scope does not include this.

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
    """An answer that says what is wrong.

    Args:
        request: what is answered.
        status: of HTTP.
        kind: one word with dashes that never changes, for programs.
        title: the same in words.
        detail: what is wrong this time.
        headers: of the answer.
        more: members of this kind.
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
    """What is not there, and what may not be seen."""
    return problem(
        request,
        404,
        "not-found",
        _("Not found"),
        _("There is no such thing, or the token's account may not see it."),
    )


def not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    """A method that this address does not have."""
    return problem(
        request,
        405,
        "method-not-allowed",
        _("Method not allowed"),
        _("This address has: %(methods)s.") % {"methods": allowed},
        headers={"Allow": allowed},
    )


def invalid(request: HttpRequest, errors: Iterable[tuple[str, str]]) -> HttpResponse:
    """Fields or parameters that cannot be used, each named."""
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
        _("No token that counts"),
        str(error),
        headers={"WWW-Authenticate": challenge},
    )


def _too_many(request: HttpRequest, error: TooManyFailures) -> HttpResponse:
    return problem(
        request,
        429,
        "too-many-failures",
        _("Too many tokens that do not count"),
        _("Wait before the next try, and look for the program that sends them."),
        headers={"Retry-After": str(error.retry_after)},
    )


def _second_factor_missing(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(
        request,
        403,
        "second-factor-missing",
        _("Second factor missing"),
        _("A role of the token's account needs a second factor: set one up under Account."),
    )


def _refused(request: HttpRequest, error: RoleRequired) -> HttpResponse:
    _put_on_record(request, str(error))
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
    detail = _("The token may only read: make one with the scope “%(scope)s”.") % {
        "scope": error.needed.label
    }
    _put_on_record(request, detail)
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


def _put_on_record(request: HttpRequest, why: str) -> None:
    try:
        access_denied(request, details={"why": why})
    except DatabaseError:
        # the refusal stands without its event
        logger.exception("a refusal could not be recorded: %s %s", request.method, request.path)


def _key_reused(request: HttpRequest, error: KeyReused) -> HttpResponse:
    return problem(
        request,
        422,
        "idempotency-key-reused",
        _("Idempotency key used with another body"),
        str(error),
        run_id=error.run.pk,
    )


def _not_now(request: HttpRequest, error: NotNow) -> HttpResponse:
    return problem(request, 409, error.kind, _("Not possible now"), error.detail, **error.facts)


def _validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return invalid(request, [(_field(each["loc"]), str(each["msg"])) for each in error.errors])


def _field(loc: Iterable[object]) -> str:
    """The field's name, without where it stood and what it was parsed into."""
    parts = [str(part) for part in loc]
    return ".".join(parts[2:] if len(parts) > 2 else parts[1:] if parts[1:] != ["body"] else [])


def _unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    return invalid(request, [("", _("The body is no JSON that can be read."))])


def _our_own(request: HttpRequest, error: Exception) -> HttpResponse:
    """An error of ours: the log has the rest, under the request's id."""
    got_request_exception.send(sender=None, request=request)
    logger.error("Internal Server Error: %s", request.path, exc_info=error)
    return problem(
        request,
        500,
        "internal-error",
        _("Error of the dashboard"),
        _("The log says more under this request id."),
    )


def register(api: NinjaAPI) -> None:
    """Have an API answer with these problems."""
    handlers: dict[type[Exception], Any] = {
        Exception: _our_own,
        Http404: not_found,
        HttpError: _unreadable,
        ValidationError: _validation,
        Invalid: lambda request, error: invalid(request, error.errors),
        ReasonMissing: lambda request, error: invalid(request, [("reason", str(error))]),
        CannotCancel: lambda request, error: _not_now(request, NotNow("cannot-cancel", str(error))),
        KeyReused: _key_reused,
        NotNow: _not_now,
        NotAuthenticated: _unauthenticated,
        TooManyFailures: _too_many,
        SecondFactorMissing: _second_factor_missing,
        RoleRequired: _refused,
        OutOfScope: _out_of_scope,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
