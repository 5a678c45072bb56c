"""Benchmark of a batch of thousands of clusters: its preview, its request, its page, its runs.

Through the whole of Django, in this process; a Redis is wanted for the tokens of the runs. How fast
requests leave is what `benchmarks.fleet` measures.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from typing import Any

from benchmarks.clusters_page import database, fill, stopwatch

REPEATS = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--clusters", type=int, default=10_000, help="known; fewer are present")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--server",
        default="postgres://postgres@127.0.0.1:5432/postgres",
        help="PostgreSQL server and a database to connect to; an own one is made and dropped",
    )
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0", help="its keys are prefixed")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Prepare, measure, clean up."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as folder, database(options):
        os.environ |= {
            "DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "REDIS_URL": options.redis,
            "BACKUP_BATCH_RATE": "100",
        }
        import django

        django.setup()
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Fill the database, request batches, start their runs, print the timings."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client, override_settings

    from backups.models import BackupRun, Batch, Cluster
    from dashboard.accounts.models import User

    call_command("migrate", verbosity=0)
    fill(options.clusters, options.seed)
    Cluster.objects.update(gone_at=None, archived_at=None)  # all of them are present
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{options.clusters:,} clusters in {connection.vendor}")
    browser = Client(HTTP_HOST="localhost")
    browser.force_login(User.objects.create_superuser("bench"))
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES={**settings.STORAGES, **plain}):
        tell("preview", lambda: get(browser, "/batches/new/"))
        tell("requested and answered", lambda: request_all(browser))
        batch = Batch.objects.latest("pk")
        Batch.objects.exclude(pk=batch.pk).delete()
        page = f"/batches/{batch.pk}/"
        tell("page, all waiting", lambda: get(browser, page))
        start_runs()
        runs = BackupRun.objects.filter(batch_items__batch=batch)
        print(f"{runs.count():,} of {batch.items.count():,} became runs")
        tell("page, all started", lambda: get(browser, page))
        shown = re.findall(r'data-live="([^"]+)"', get(browser, page))[0]
        tell("its poll, unchanged", lambda: browser.get(f"{page}live/?shown={shown}"))
        tell("history of the batch", lambda: get(browser, f"/history/?batch={batch.pk}&window=all"))
        tell("list of batches", lambda: get(browser, "/batches/"))


def get(browser: Any, url: str) -> str:
    """A page, which must be there."""
    answer = browser.get(url)
    if answer.status_code != 200:
        raise SystemExit(f"{url}: HTTP {answer.status_code}")
    text: str = answer.content.decode()
    return text


def request_all(browser: Any) -> None:
    """Request a batch of everything, also what is not ready, and open its page."""
    answer = browser.post("/batches/", {"query": "show=present", "anyway": "1"}, follow=True)
    if answer.redirect_chain == []:
        raise SystemExit(f"no batch: HTTP {answer.status_code}")


def start_runs() -> None:
    """Turn all items into runs, which end at once, as if the cloud took no time."""
    from django.utils import timezone

    from backups.models import BackupRun
    from backups.services import rate
    from backups.services.batches.starting import end_batches, start_waiting

    rate.take = lambda project, most: max(most, 0)
    began, started = time.perf_counter(), 0
    taken = 0.0
    while True:
        at = time.perf_counter()
        some = start_waiting()
        taken += time.perf_counter() - at
        if not some:
            break
        started += some
        BackupRun.objects.filter(state="queued").update(
            state="succeeded", outcome="accepted", finished_at=timezone.now()
        )
    end_batches()
    print(
        f"items to runs: {started / taken:,.0f} a second, {1000 * taken / started:.2f} ms each"
        f" ({time.perf_counter() - began:.0f} s in all)"
    )


def tell(label: str, action: Any) -> None:
    """Print the median and the longest of several times."""
    times = [stopwatch(action) for _ in range(REPEATS)]
    print(f"{label:26}{statistics.median(times):>8,.0f} ms (longest {max(times):,.0f})", flush=True)


if __name__ == "__main__":
    main()
