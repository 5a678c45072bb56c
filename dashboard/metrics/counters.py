"""Counters and histograms: counted in each process, summed in the database.

Each process adds what it has counted to the rows of `Sample` every ADD_EVERY seconds. So one scrape
of any web process shows all processes of all machines, and no restart resets a counter.
prometheus_client's own way for several processes, files in a shared folder, would need a folder and
a scrape for each machine, and mixes up containers whose processes have the same ids.
A process that is killed loses what it counted in the last seconds.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction
from prometheus_client import CollectorRegistry, Counter, Histogram

logger = logging.getLogger(__name__)

ADD_EVERY = 10.0  # seconds
SQL = (
    "INSERT INTO metrics_sample (name, labels, value) VALUES {rows} "
    "ON CONFLICT (name, labels) DO UPDATE SET value = metrics_sample.value + excluded.value"
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REGISTRY = CollectorRegistry(auto_describe=False)

REQUESTS = Counter(
    "css_backup_http_requests_total",
    "Requests to the web processes, by the name of the page's route.",
    ["route", "method", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS = Histogram(
    "css_backup_http_request_duration_seconds",
    "How long requests to the web processes took.",
    ["route"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
    registry=REGISTRY,
)
TASKS = Counter(
    "css_backup_tasks_total",
    "Tasks that workers have done.",
    ["task", "result"],
    registry=REGISTRY,
)
TASK_SECONDS = Histogram(
    "css_backup_task_duration_seconds",
    "How long tasks of workers took.",
    ["task"],
    buckets=(0.05, 0.25, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)


def request_ended(route: str, method: str, status: int, seconds: float) -> None:
    """Count a request.

    Args:
        route: name of the URL pattern, "" where none matched.
        method, status: of HTTP.
        seconds: how long it took.
    """
    REQUESTS.labels(route or "none", method if method in METHODS else "other", status).inc()
    REQUEST_SECONDS.labels(route or "none").observe(seconds)


def task_begins(task: Any = None, **_: object) -> None:
    """Signal handler of Celery."""
    task.request.began = time.monotonic()


def task_ended(task: Any = None, state: str | None = None, **_: object) -> None:
    """Signal handler of Celery: count a task."""
    TASKS.labels(task.name, "success" if state == "SUCCESS" else "failure").inc()
    began = getattr(task.request, "began", None)
    if began is not None:
        TASK_SECONDS.labels(task.name).observe(time.monotonic() - began)


# --- Adding to the database -----------------------------------------------------------------------

_added: dict[tuple[str, str], float] = {}
_adding = threading.Lock()


def add_to_database() -> int:
    """Add what this process has counted since the last call; returns the number of rows.

    Raises:
        DatabaseError, InterfaceError: the counts are added by a later call.
    """
    with _adding:
        now = {
            (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        # sorted: processes that add at the same time lock the rows in the same order
        new = sorted((key, v - _added.get(key, 0.0)) for key, v in now.items())
        rows = [(*key, value) for key, value in new if value or key not in _added]
        if not rows:
            return 0
        values = ", ".join(["(%s, %s, %s)"] * len(rows))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(SQL.format(rows=values), [part for row in rows for part in row])
        _added.update(now)
        return len(rows)


class Adder(threading.Thread):
    """Thread that adds this process's counts until it is stopped."""

    def __init__(self) -> None:
        super().__init__(name="metrics", daemon=True)
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(ADD_EVERY):
            self.add()
        self.add()

    def add(self) -> None:
        """Add once; an error is logged, and the counts are added by the next call."""
        try:
            add_to_database()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("metrics not stored: %s", str(error).partition("\n")[0])
        finally:
            connection.close()


_adder: Adder | None = None


def start_adding(**_: object) -> None:
    """Start the thread; called once in each web process and worker."""
    global _adder
    _adder = Adder()
    _adder.start()


def stop_adding(**_: object) -> None:
    """Add the last counts and end the thread."""
    if _adder is not None:
        _adder.stopped.set()
        _adder.join(timeout=5)
