"""Benchmark of `/metrics` over many clusters and runs, and of the lines of a run."""

from __future__ import annotations

import io
import logging
import os
import statistics
import tempfile
import time
from datetime import timedelta

from . import clusters_page

RUNS_EACH = 30
REPEATS = 9


def main() -> None:
    """Prepare, measure, clean up; options as for `benchmarks.clusters_page`."""
    options = clusters_page.arguments()
    with tempfile.TemporaryDirectory(prefix="bench-scrape-") as folder:
        os.environ["DATA_DIR"] = folder
        with clusters_page.database(options):
            os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
            import django

            django.setup()
            measure(options.clusters, options.seed)


def measure(number: int, seed: int) -> None:
    """Fill the database, then time each gauge function and a whole answer."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.utils.module_loading import import_string

    from dashboard.metrics import counters, endpoint

    call_command("migrate", verbosity=0)
    clusters_page.RUNS_EACH = 1
    clusters_page.fill(number, seed)
    _more_runs()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for route in range(100):  # more routes and statuses than there are
        for status in (200, 302, 403):
            counters.request_ended(f"route-{route}", "GET", status, 0.1)
    print(f"{number} clusters, {number * RUNS_EACH} runs, {connection.vendor}")
    print(f"adding {counters.add_to_database()} samples: {_median(_again):.1f} ms")
    for path in settings.METRICS_GAUGES:
        collect = import_string(path)
        print(f"{path}: {_median(lambda collect=collect: list(collect())):.1f} ms")  # type: ignore[misc]
    cpu = time.thread_time()
    size = len(endpoint.compute())
    cpu = time.thread_time() - cpu
    print(
        f"whole answer: {_median(endpoint.compute):.1f} ms, {1000 * cpu:.1f} of CPU in this process"
    )
    print(f"{size / 1024:.0f} KiB")
    print(f"three lines of a run, as JSON: {lines_of_a_run():.2f} ms of CPU")


def lines_of_a_run() -> float:
    """Return the milliseconds of CPU that requesting, sending and ending a run take to log."""
    from structlog.contextvars import bound_contextvars

    from backups import run_events
    from backups.choices import RunState
    from backups.models import BackupRun
    from dashboard import logs

    handler = logs.SummingHandler(io.StringIO())
    handler.setFormatter(logs.JsonFormatter(logs.FORMAT))
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.INFO)
    run = BackupRun.objects.all()[0]
    run.sent_at = run.answered_at = run.finished_at
    took = []
    with bound_contextvars(correlation_id="a" * 32, task="backups.tasks.send_run"):
        for _ in range(REPEATS * 100):
            began = time.thread_time()
            run_events.requested(run)
            run_events.moved(run, RunState.SENDING)
            took.append(time.thread_time() - began)
    return 1000 * statistics.median(took)


def _more_runs() -> None:
    """Copy each run to every twelve hours before, in SQL, which is quicker than through models."""
    from django.db import connection
    from django.utils import timezone

    from backups.guards import BEGINNINGS
    from backups.models import BackupRun

    names = [f.column for f in BackupRun._meta.local_concrete_fields if not f.primary_key]
    first = BackupRun.objects.order_by("-pk").values_list("pk", flat=True)[0]
    values = ["%s" if name == "requested_at" else name for name in names]
    sql = (
        f"INSERT INTO backups_backuprun ({', '.join(names)}) SELECT {', '.join(values)} "  # noqa: S608
        "FROM backups_backuprun WHERE id <= %s"
    )
    with BEGINNINGS.lifted(connection), connection.cursor() as cursor:
        for back in range(1, RUNS_EACH):
            at = timezone.now() - timedelta(hours=12 * back)
            cursor.execute(sql, [connection.ops.adapt_datetimefield_value(at), first])


def _again() -> None:
    from dashboard.metrics import counters

    counters.request_ended("route-1", "GET", 200, 0.1)
    counters.add_to_database()


def _median(work: object) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
