"""Benchmark of the clusters and protection pages with thousands of clusters.

The clusters page is compared with the usual way, which reads each row's project, tags and latest
run with separate queries, sorts whole rows, and finds the choices of a filter with DISTINCT. Both
render the same template through the whole of Django, in this process.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

REPEATS = 9
PROJECTS = 20
RUNS_EACH = 3
BATCH = 2000

CASES = [
    ("first page, by name", ""),
    ("middle page, by name", "page={middle}"),
    ("last page, by name", "page={last}"),
    ("by project", "sort=project"),
    ("by engine", "sort=engine"),
    ("by readiness, worst first", "sort=readiness"),
    ("by protection, worst first", "sort=protection"),
    ("by protection, last page", "sort=protection&page={last}"),
    ("by last verified", "sort=verified"),
    ("text in names and ids", "q=logs-0999"),
    ("project", "project={project}"),
    ("label: key=value (1 %)", "label=team%3Dsearch"),
    ("tag: key alone (all)", "label=env"),
    ("readiness and protection", "readiness=backup_off&protection=overdue"),
    ("engine and cloud state", "engine=opensearch&state=busy"),
    ("archived", "show=archived"),
]
PROTECTION_CASES = [
    ("worst first", ""),
    ("last page", "page={last}"),
    ("overdue", "protection=overdue"),
    ("label", "label=team%3Dsearch"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters_page", description=__doc__)
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--server",
        default="postgres://postgres@127.0.0.1:5432/postgres",
        help="PostgreSQL server and a database to connect to; an own one is made and dropped",
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Prepare, measure, clean up."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-clusters-") as folder, database(options):
        os.environ["DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
        import django

        django.setup()
        measure(options)


@contextmanager
def database(options: argparse.Namespace) -> Iterator[None]:
    """Create and drop a separate database on the server, for PostgreSQL."""
    if options.database == "sqlite":
        yield
        return
    name = f"bench_clusters_{os.getpid()}"
    psql(options.server, f'CREATE DATABASE "{name}"')
    parts = urlsplit(options.server)
    os.environ["DATABASE_URL"] = urlunsplit(parts._replace(path=f"/{name}"))
    try:
        yield
    finally:
        psql(options.server, f'DROP DATABASE "{name}" WITH (FORCE)')


def psql(url: str, statement: str) -> None:
    """Run a statement with psql."""
    subprocess.run(["psql", "-X", "-q", url, "-c", statement], check=True)


def fill(number: int, seed: int) -> None:
    """Create clusters with tags, labels and runs; the same ones for the same seed."""
    from django.db import connection

    from backups.choices import Readiness
    from backups.guards import BEGINNINGS
    from backups.models import BackupRun, Cluster, ClusterTag, Project

    rng, now = random.Random(seed), datetime.now(UTC)
    projects = [
        Project.objects.create(
            cloud="otc", region="eu-de", project_id=f"{index:032x}", name=f"project-{index:02}"
        )
        for index in range(PROJECTS)
    ]
    readiness = rng.choices(Readiness.values, [80, 6, 4, 5, 2, 3], k=number)
    clusters = []
    for index in range(number):
        age = timedelta(hours=rng.expovariate(1 / 12))
        never = index % 25 == 0
        clusters.append(
            Cluster(
                project=projects[index % PROJECTS],
                cluster_id=f"{index:08x}-0000-4000-8000-000000000000",
                name=f"logs-{index * 7919 % number:05}",
                engine=rng.choice(["opensearch", "elasticsearch"]),
                version=rng.choice(["2.19.0", "7.10.2"]),
                status="200",
                actions=["GROWING"] if readiness[index] == "busy" else [],
                readiness=readiness[index],
                readiness_detail="as the last check had it",
                checked_at=now - timedelta(seconds=rng.uniform(0, 300)),
                verified_at=None if never else now - age,
                due_at=None if never else now - age + timedelta(hours=18),
                overdue_at=None if never else now - age + timedelta(hours=24),
                gone_at=now if index % 33 == 1 else None,
                archived_at=now if index % 50 == 2 else None,
            )
        )
    Cluster.objects.bulk_create(clusters, batch_size=BATCH)
    tags = [
        ClusterTag(cluster=cluster, origin=origin, key=key, value=value)
        for index, cluster in enumerate(clusters)
        for origin, key, value in (
            ("cloud", "env", ("prod", "test")[index % 2]),
            ("cloud", "cost-centre", f"cc-{index % 40}"),
            ("own", "team", "search" if index % 100 == 0 else f"team-{index % 30}"),
        )
    ]
    ClusterTag.objects.bulk_create(tags, batch_size=BATCH)
    runs = [
        BackupRun(
            cluster=cluster,
            project=cluster.project,
            cluster_cloud_id=cluster.cluster_id,
            cluster_name=cluster.name,
            cloud="otc",
            region="eu-de",
            project_id_in_cloud=cluster.project.project_id,
            requested_by_name="schedule",
            trigger="schedule",
            requested_at=now - timedelta(hours=12 * back, seconds=rng.uniform(0, 3600)),
            state="succeeded",
            outcome="accepted",
            http_status=200,
            finished_at=now,
        )
        for back in range(RUNS_EACH)
        for cluster in clusters
    ]
    with BEGINNINGS.lifted(connection):
        BackupRun.objects.bulk_create(runs, batch_size=BATCH)


def usual(request: Any) -> Any:
    """The clusters page with queries for each row, but the same filter, order and template."""
    from django.core.paginator import Paginator
    from django.db.models import prefetch_related_objects
    from django.shortcuts import render
    from django.utils import timezone

    from backups.lists.clusters import PAGE_SIZE, ClusterFilter
    from backups.models import Cluster, Project
    from backups.views.cluster_rows import ClusterRow

    found = ClusterFilter(request.GET, user=request.user)
    if not found.is_valid():
        raise SystemExit(found.form.errors.as_text())
    listed = Paginator(found.clusters(), PAGE_SIZE).get_page(found.page_number)
    rows = []
    for cluster in listed.object_list:
        cluster.latest_run = cluster.runs.order_by("-requested_at", "-id").first()
        prefetch_related_objects([cluster], "tags")
        rows.append(ClusterRow(cluster, timezone.now(), may_run=True, may_configure=True))
    engines = Cluster.objects.order_by("engine").values_list("engine", flat=True).distinct()
    context = {
        "rows": rows,
        "page": listed,
        "form": found.form,
        "order": found.order,
        "presence": found.presence,
        "projects": list(Project.objects.all()),
        "choices": {"engine": [(each, each) for each in engines]},
    }
    return render(request, "backups/clusters.html", context)


def measure(options: argparse.Namespace) -> None:
    """Fill the database, request the pages, print the timings."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client, override_settings
    from django.urls import path

    from backups.models import Project
    from dashboard.accounts.models import User
    from dashboard.urls import urlpatterns

    call_command("migrate", verbosity=0)
    began = time.monotonic()
    fill(options.clusters, options.seed)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{options.clusters:,} clusters in {connection.vendor}, {time.monotonic() - began:.0f} s")
    urlpatterns.insert(0, path("usual/", usual))
    browser = Client(HTTP_HOST="localhost")
    browser.force_login(User.objects.create_superuser("bench"))
    last = options.clusters // 50
    places = {"middle": last // 2, "last": last, "project": Project.objects.all()[7].pk}
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES={**settings.STORAGES, **plain}):
        print(f"\n{'clusters page':30}{'ours':>22}{'the usual way':>22}{'usual : ours':>14}")
        for label, query in CASES:
            query = query.format(**places)
            ours, theirs = timed(browser, f"/clusters/?{query}", f"/usual/?{query}")
            ratio = theirs.milliseconds / ours.milliseconds
            print(f"{label:30}{ours!s:>22}{theirs!s:>22}{ratio:>12.1f}:1", flush=True)
        print("\nprotection page")
        for label, query in PROTECTION_CASES:
            (ours,) = timed(browser, f"/protection/?{query.format(**places)}")
            print(f"{label:30}{ours!s:>22}")


class Timing(NamedTuple):
    """How long a page takes, and how many queries it makes."""

    milliseconds: float
    queries: int

    def __str__(self) -> str:
        return f"{self.milliseconds:,.0f} ms, {self.queries} queries"


def timed(browser: Any, *urls: str) -> list[Timing]:
    """Median times of pages, requested in turn so that other load affects them equally.

    The first request of each is not timed; its queries are counted.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def ask(url: str) -> None:
        answer = browser.get(url)
        if answer.status_code != 200:
            raise SystemExit(f"{url}: HTTP {answer.status_code}")

    queries = []
    for url in urls:
        with CaptureQueriesContext(connection) as captured:
            ask(url)
        queries.append(len(captured))
    taken = [[stopwatch(lambda url=url: ask(url)) for url in urls] for _ in range(REPEATS)]
    medians = (statistics.median(times) for times in zip(*taken, strict=True))
    return [Timing(*each) for each in zip(medians, queries, strict=True)]


def stopwatch(action: Callable[[], None]) -> float:
    """Milliseconds that an action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
