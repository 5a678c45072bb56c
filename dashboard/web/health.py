"""`/healthz` and `/readyz` for load balancers and orchestrators, `/health/work` for alerts.

The first two check this web process only. A dead worker must not take the pages that report it
offline, so background work has its own endpoint.

The endpoints are served by a middleware rather than views: probes use an IP address, and Django
answers 400 to a Host header that is not in ALLOWED_HOSTS. They need no sign-in and expose nothing
that helps an attacker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from kombu.transport import redis as _redis_transport  # noqa: F401 - preloaded for the first probe

from dashboard.db.concurrency import unapplied_migrations

LIMIT = 2.0  # seconds, for all checks of one answer together

# Bounded pools: a service that hangs blocks these threads instead of one more for each probe.
# /readyz has its own pool, so a hanging Redis does not make the pages appear unready.
_ready_threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="readyz")
_work_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health-work")


class HealthMiddleware:
    """Answer health probes before any other middleware processes the request."""

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
    """Return 200 if this process can serve pages, else 503.

    Ready means that the database answers and has all migrations of this code.

    The body is `{"status": "ready" | "not ready", "checks": {name: "ok" | reason}}`. The answer is
    returned within LIMIT seconds.
    """
    results = _run(_ready_threads, {"database": check_database, "migrations": check_migrations})
    ready = all(result == "ok" for result in results.values())
    body = {"status": "ready" if ready else "not ready", "checks": results}
    return _answer(body, 200 if ready else 503)


def work_health() -> HttpResponse:
    """Return 200 if background work is being processed, else 503 with the reason.

    The setting HEALTH_WORK_CHECKS lists the checks: Redis accepts writes, workers send heartbeats,
    messages are delivered, and the database belongs to this instance.

    The body is `{"status": "ok" | "not working", "reason": text, "checks": {name: "ok" | reason}}`.
    The answer is returned within LIMIT seconds.
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
    """Run checks in parallel for at most LIMIT seconds; return "ok" or a reason for each."""
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


def check_database() -> None:
    """Raise DatabaseError if the database does not answer on a new connection."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # reusing this thread's connection would hide that new ones fail


def check_migrations() -> None:
    """Raise Missing if migrations are missing: pages would fail on an outdated or empty schema."""
    try:
        missing = unapplied_migrations()
    finally:
        connection.close()
    if missing:
        raise Missing(f"{len(missing)} not applied: run manage.py migrate")


def _closing(path: str) -> Callable[[], None]:
    """Return the check at `path`, wrapped to close this thread's database connection."""

    def check() -> None:
        try:
            import_string(path)()
        finally:
            connection.close()

    return check


class Missing(Exception):
    """A requirement is not met; the message is safe to include in the answer."""


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Missing) else f"unreachable ({type(error).__name__})"


def _answer(body: Mapping[str, object], status: int) -> JsonResponse:
    answer = JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
    answer._has_been_logged = True  # type: ignore[attr-defined]  # do not log every probe
    return answer
