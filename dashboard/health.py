"""`/healthz` and `/readyz`, for load balancers and orchestrators.

A middleware and not views: a probe calls by address, and Django would answer 400 to a Host header
that is not in ALLOWED_HOSTS. Both are open to anyone and tell nothing that helps an intruder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from kombu.transport import redis as _redis_transport  # noqa: F401 - else the first probe waits

from .database import unapplied_migrations

LIMIT = 2.0  # seconds for all checks of an answer together
BROKER_TIMEOUT = 1.5

# A thread a check and no more: a service that hangs holds these, not one more for each probe.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="readyz")


class HealthMiddleware:
    """Answers the two probes before anything else looks at the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return _answer({"status": "ok"}, 200)
        if request.path == "/readyz":
            return readiness()
        return self.get_response(request)


def readiness() -> HttpResponse:
    """200 when database and broker can be reached, a worker reports and somebody sweeps, else 503.

    A database that lacks migrations of this code is not ready either.

    The body is `{"status": "ready" | "not ready", "checks": {name: "ok" | reason}}`. It comes
    within LIMIT seconds.
    """
    checks: dict[str, Callable[[], None]] = {
        "database": _database,
        "migrations": _migrations,
        "broker": _broker,
        "processes": _processes,
    }
    tasks = {name: _threads.submit(check) for name, check in checks.items()}
    done, _ = wait_for(tasks.values(), timeout=LIMIT)
    results = {}
    for name, task in tasks.items():
        if task not in done:
            task.cancel()
            results[name] = f"no answer within {LIMIT:g} s"
        else:
            error = task.exception()
            results[name] = _reason(error) if error else "ok"
    ready = all(result == "ok" for result in results.values())
    body = {"status": "ready" if ready else "not ready", "checks": results}
    return _answer(body, 200 if ready else 503)


def _database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # this thread's own; a kept one would hide that new ones fail


def _migrations() -> None:
    """New code on an old schema, or on an empty database, would answer pages with errors."""
    try:
        missing = unapplied_migrations()
    finally:
        connection.close()
    if missing:
        raise Missing(f"{len(missing)} not applied: run manage.py migrate")


def _broker() -> None:
    from .celery import app

    options = {
        **settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        "socket_timeout": BROKER_TIMEOUT,
        "socket_connect_timeout": BROKER_TIMEOUT,
    }
    with app.connection_for_write(transport_options=options) as broker:
        broker.default_channel.client.ping()  # type: ignore[attr-defined]


def _processes() -> None:
    from backups.presence import absences

    try:
        missing = absences()
    finally:
        connection.close()
    if missing:
        raise Missing(" and ".join(f"no {absence.kind} is running" for absence in missing))


class Missing(Exception):
    """Something that is needed is not there; the message is fit for the answer."""


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Missing) else f"unreachable ({type(error).__name__})"


def _answer(body: Mapping[str, object], status: int) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
