"""`/healthz` and `/readyz` for load balancers and orchestrators, `/health/work` for alarms.

The first two are about this web process. Whether runs go on is another question: a worker that has
died must not take the pages offline that say so.

A middleware and not views: a probe calls by address, and Django would answer 400 to a Host header
that is not in ALLOWED_HOSTS. All are open to anyone and tell nothing that helps an intruder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from kombu.transport import redis as _redis_transport  # noqa: F401 - else the first probe waits

from dashboard.db.concurrency import unapplied_migrations

LIMIT = 2.0  # seconds for all checks of an answer together

# Some threads and no more: a service that hangs holds these, not one more for each probe. Those of
# /readyz are its own, so that a Redis that hangs does not make the pages look unready.
_ready_threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="readyz")
_work_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health-work")


class HealthMiddleware:
    """Answers the probes before anything else looks at the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info == "/healthz":
            return _answer({"status": "ok"}, 200)
        if request.path_info == "/readyz":
            return readiness()
        if request.path_info == "/health/work":
            return work_health()
        return self.get_response(request)


def readiness() -> HttpResponse:
    """200 when this process can serve pages, else 503: that takes the database and nothing else.

    A database that lacks migrations of this code is not ready either.

    The body is `{"status": "ready" | "not ready", "checks": {name: "ok" | reason}}`. It comes
    within LIMIT seconds.
    """
    results = _run(_ready_threads, {"database": _database, "migrations": _migrations})
    ready = all(result == "ok" for result in results.values())
    body = {"status": "ready" if ready else "not ready", "checks": results}
    return _answer(body, 200 if ready else 503)


def work_health() -> HttpResponse:
    """200 when work flows, else 503 with the reason.

    What it looks at is named in HEALTH_WORK_CHECKS: whether Redis takes a write, workers report,
    messages come through, and the database is this instance's.

    The body is `{"status": "ok" | "not working", "reason": text, "checks": {name: "ok" | reason}}`.
    It comes within LIMIT seconds.
    """
    checks = {name: _closing(path) for name, path in settings.HEALTH_WORK_CHECKS.items()}
    results = _run(_work_threads, checks)
    reasons = [f"{name}: {result}" for name, result in results.items() if result != "ok"]
    body = {
        "status": "not working" if reasons else "ok",
        "reason": "; ".join(reasons),
        "checks": results,
    }
    return _answer(body, 503 if reasons else 200)


def _run(threads: ThreadPoolExecutor, checks: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """What came of checks, "ok" or a reason for each, within LIMIT seconds."""
    tasks = {name: threads.submit(check) for name, check in checks.items()}
    done, _ = wait_for(tasks.values(), timeout=LIMIT)
    results = {}
    for name, task in tasks.items():
        if task not in done:
            task.cancel()
            results[name] = f"no answer within {LIMIT:g} s"
        else:
            error = task.exception()
            results[name] = _reason(error) if error else "ok"
    return results


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


def _closing(path: str) -> Callable[[], None]:
    """A check that leaves this thread without a connection to the database."""

    def check() -> None:
        try:
            import_string(path)()
        finally:
            connection.close()

    return check


class Missing(Exception):
    """Something that is needed is not there; the message is fit for the answer."""


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Missing) else f"unreachable ({type(error).__name__})"


def _answer(body: Mapping[str, object], status: int) -> JsonResponse:
    answer = JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
    answer._has_been_logged = True  # type: ignore[attr-defined]  # no line of the log each time
    return answer
