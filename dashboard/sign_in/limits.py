"""The answer to whoever tries too often."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from dashboard.audit.trail import Action, Actor, record
from dashboard.web.client_ip import client_ip

logger = logging.getLogger(__name__)

RETRY_AFTER = 300  # seconds: the longest window in ACCOUNT_RATE_LIMITS
RECORDED_EVERY = 60  # seconds, for one address: a flood must not fill the audit trail
SLACK = 5  # seconds by which the clocks of several machines may differ


def too_many(request: HttpRequest) -> HttpResponse:
    """Django-allauth's handler429: a page that says so, and an event each minute."""
    address = client_ip(request) or "unknown"
    try:
        _forget_tries_ahead()
        if cache.add(f"limited:{address}", True, RECORDED_EVERY):
            facts = {"method": request.method, "path": request.path}
            record(Action.SIGN_IN_LIMITED, actor=Actor.of(request), details=facts)
    except DatabaseError:
        # the refusal stands without its event
        logger.exception("a limit could not be recorded: %s", request.path)
    answer = render(request, "429.html", status=429)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer


def _forget_tries_ahead() -> None:
    """Forget tries that count for longer than any window: the clock was set back after them.

    They would keep people out for as many hours, so the next try counts anew.
    """
    ahead = timezone.now() + timedelta(seconds=RETRY_AFTER + SLACK)
    tries = "FROM shared_cache WHERE expires > %s AND cache_key LIKE %s"
    params = [connection.ops.adapt_datetimefield_value(ahead), cache.make_key("allauth:rl:%")]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 {tries} LIMIT 1", params)
        if cursor.fetchone() is not None:  # a DELETE of nothing would wait for SQLite's lock
            cursor.execute(f"DELETE {tries}", params)
