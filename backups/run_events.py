"""What is logged and counted of runs and of calls to the cloud.

One line when a run is requested, one when its request was answered, one when it ends. All carry the
id of the web request that asked for the run, although the last is often written by another process.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import structlog
from django.db import DatabaseError, InterfaceError, transaction
from prometheus_client import Counter, Histogram

from backups.choices import TERMINAL, RunState
from backups.models import BackupRun
from dashboard import correlation
from dashboard.audit.models import Action, AuditEvent
from dashboard.metrics.counters import REGISTRY

if TYPE_CHECKING:
    from backups.css_api.client import Exchange

logger = structlog.stdlib.get_logger("backups.runs")
calls = structlog.stdlib.get_logger("backups.calls")

REQUESTED = Counter(
    "css_backup_runs_requested_total",
    "Log backups requested.",
    ["trigger"],
    registry=REGISTRY,
)
ENDED = Counter(
    "css_backup_runs_ended_total",
    "Log backups ended.",
    ["state", "outcome", "trigger"],
    registry=REGISTRY,
)
WAIT_SECONDS = Histogram(
    "css_backup_run_wait_seconds",
    "From the request of a log backup until it was sent to the cloud first.",
    buckets=(0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200),
    registry=REGISTRY,
)
JOB_SECONDS = Histogram(
    "css_backup_job_duration_seconds",
    "How long the cloud's jobs took, by the cloud's clock.",
    buckets=(5, 15, 60, 300, 900, 1800, 3600, 7200, 21600),
    registry=REGISTRY,
)
CALLS = Counter(
    "css_backup_cloud_calls_total",
    "Calls to Cloud Search Service, by HTTP status or kind of transport error.",
    ["endpoint", "result"],
    registry=REGISTRY,
)
CALL_SECONDS = Histogram(
    "css_backup_cloud_call_duration_seconds",
    "How long calls to Cloud Search Service took.",
    ["endpoint"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60),
    registry=REGISTRY,
)


# --- Runs -----------------------------------------------------------------------------------------


def requested(run: BackupRun) -> None:
    """Log and count a new run, once it is committed."""

    def tell() -> None:
        if current := correlation.current():
            with _known_lock:
                _remember(run.pk, current)
        REQUESTED.labels(run.trigger).inc()
        logger.info("run requested", **_about(run))

    transaction.on_commit(tell, robust=True)


def moved(run: BackupRun, before: RunState) -> None:
    """Log and count that a run was sent or has ended, once that is committed.

    Args:
        run: the run, which `transition` has moved.
        before: the state that it was in.
    """
    sent = before is RunState.SENDING and run.sent_at is not None
    state = run.run_state
    if sent or state in TERMINAL:
        transaction.on_commit(lambda: _tell(run, state, sent=sent), robust=True)


def _tell(run: BackupRun, state: RunState, *, sent: bool) -> None:
    about = _about(run) | {"state": str(state), "outcome": run.outcome, "attempt": run.attempt}
    about |= {"status": run.http_status, "error_code": run.error_code}
    about["cloud_request_id"] = run.request_id
    if sent:
        took = None
        if run.sent_at is not None and run.answered_at is not None:
            took = (run.answered_at - run.sent_at).total_seconds()
        if run.attempt == 1 and run.waited is not None:
            WAIT_SECONDS.observe(max(run.waited.total_seconds(), 0.0))
        logger.info("run sent", **about, seconds=_rounded(took))
    if state in TERMINAL:
        ENDED.labels(state, run.outcome or "none", run.trigger).inc()
        if run.job_lasted is not None:
            JOB_SECONDS.observe(max(run.job_lasted.total_seconds(), 0.0))
        lasted = run.duration.total_seconds() if run.duration is not None else None
        logger.info("run ended", **about, seconds=_rounded(lasted))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _about(run: BackupRun) -> dict[str, Any]:
    """The fields that name a run, also that of the request that asked for it."""
    return {
        "run": run.pk,
        "cluster": run.cluster_name,
        "project": run.project_name or run.project_id_in_cloud,
        "trigger": str(run.trigger),
        "correlation_id": _correlation_of(run.pk),
    }


MOST = 20_000  # runs whose correlation id a process remembers

_known: OrderedDict[int, str] = OrderedDict()
_known_lock = threading.Lock()


def _correlation_of(run_id: int) -> str:
    """The correlation id of a run: of its request or of this task, or as the audit trail has it.

    A run that the sweeper sends or follows comes with a message of the sweeper's, without the id.
    A request that cancels or settles a run is not the one that asked for it.
    """
    with _known_lock:
        found = _known.get(run_id)
    if found is None:
        found = correlation.current() if correlation.in_task() else ""
        found = found or _on_record(run_id)
        with _known_lock:
            _remember(run_id, found)
    return found


def _remember(run_id: int, correlation_id: str) -> None:
    _known[run_id] = correlation_id
    while len(_known) > MOST:
        _known.popitem(last=False)


def _on_record(run_id: int) -> str:
    events = AuditEvent.objects.filter(
        target_type="backups.backuprun", target_id=str(run_id), action=Action.RUN_REQUESTED
    )
    try:
        return events.values_list("request_id", flat=True).first() or ""
    except (DatabaseError, InterfaceError):
        return ""


# --- Calls to the cloud ---------------------------------------------------------------------------

ENDPOINTS = frozenset(
    {
        *("clusters", "clusters/{id}", "logs/collect", "logs/records", "logs/settings"),
        *("logs/open", "logs/close", "logs/policy/update", "logs/policy/close", "logs/search"),
    }
)
_PATH = re.compile(r"/clusters(?:/([^/?]+)(?:/([^?]+))?)?")


def endpoint_of(path: str) -> str:
    """The endpoint of a call without ids: one of ENDPOINTS, or "other".

    Args:
        path: path and query of the request.
    """
    found = _PATH.search(path)
    if found is None:
        return "other"
    name = found[2] or ("clusters/{id}" if found[1] else "clusters")
    return name if name in ENDPOINTS else "other"


def cloud_called(exchange: Exchange) -> None:
    """Count a call to the cloud, and log it at the level DEBUG."""
    endpoint = endpoint_of(exchange.path)
    if exchange.answer is not None:
        result, lasted = str(exchange.answer.status), exchange.answer.duration_ms
    elif exchange.error is not None:
        result, lasted = str(exchange.error.kind), exchange.error.duration_ms
    else:
        return
    CALLS.labels(endpoint, result).inc()
    CALL_SECONDS.labels(endpoint).observe(lasted / 1000)
    cloud_request_id = exchange.answer.request_id if exchange.answer is not None else ""
    calls.debug(
        "cloud call",
        method=exchange.method,
        endpoint=endpoint,
        status=result,
        seconds=lasted / 1000,
        cloud_request_id=cloud_request_id,
    )
