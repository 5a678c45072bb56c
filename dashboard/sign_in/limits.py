"""The answer to whoever tries too often."""

from __future__ import annotations

import logging

from django.core.cache import cache
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.audit.trail import Action, Actor, record
from dashboard.web.client_ip import client_ip

logger = logging.getLogger(__name__)

RETRY_AFTER = 300  # seconds: the longest window in ACCOUNT_RATE_LIMITS
RECORDED_EVERY = 60  # seconds, for one address: a flood must not fill the audit trail


def too_many(request: HttpRequest) -> HttpResponse:
    """Django-allauth's handler429: a page that says so, and an event each minute."""
    address = client_ip(request) or "unknown"
    try:
        if cache.add(f"limited:{address}", True, RECORDED_EVERY):
            facts = {"method": request.method, "path": request.path}
            record(Action.SIGN_IN_LIMITED, actor=Actor.of(request), details=facts)
    except DatabaseError:
        # the refusal stands without its event
        logger.exception("a limit could not be recorded: %s", request.path)
    answer = render(request, "429.html", status=429)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer
