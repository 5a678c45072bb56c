"""Helpers that several views share."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from backups.choices import Trigger
from backups.forms import form_problems
from backups.services.runs.requests import Requester
from dashboard.accounts.models import User
from dashboard.web.client_ip import client_ip


class PageRequest(HttpRequest):
    """A request of a signed-in user (LoginRequiredMiddleware) with django-htmx details."""

    user: User
    htmx: HtmxDetails


def requester(
    request: PageRequest, reason: str = "", trigger: Trigger = Trigger.BUTTON
) -> Requester:
    """The requester of a backup: user, address and reason."""
    return Requester(
        name=request.user.get_username(),
        trigger=trigger,
        user=request.user,
        source_ip=client_ip(request),
        reason=reason,
        user_agent=request.headers.get("User-Agent", ""),
        request_id=getattr(request, "request_id", ""),
    )


def new_key() -> str:
    """An idempotency key for a form: sent twice, it is one request."""
    return secrets.token_urlsafe(16)


def bad_request(request: HttpRequest, problems: Form | Iterable[str | Promise]) -> HttpResponse:
    """A 400 page that says what was wrong with the address or the form."""
    listed = form_problems(problems) if isinstance(problems, Form) else list(problems)
    return render(request, "400.html", {"problems": listed}, status=400)


def local_path(request: HttpRequest, wanted: str, fallback: str) -> str:
    """A path of this site to go back to; anything else becomes the fallback."""
    safe = wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted.partition("#")[0] if safe else fallback
