"""Fill a new database, serve the real pages, request them as a signed-in user, print ratios."""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests

REPEATS = 9
EXPORTS = 3  # rounds
SLOW = 20_000  # milliseconds
LIMIT = "/peer/minimal/"
PASSWORD = "benchmark-only-0815"  # noqa: S105 - for a database that is removed after this run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
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
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        os.environ["DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.history.settings"
        # The CPU time of a database process that ends is lost: see `Server.cpu`.
        os.environ["DATABASE_CONN_MAX_AGE"] = "3600"
        name = f"bench_history_{os.getpid()}"
        if options.database == "postgresql":
            psql(options.server, f'CREATE DATABASE "{name}"')
            parts = urlsplit(options.server)
            os.environ["DATABASE_URL"] = urlunsplit(parts._replace(path=f"/{name}"))
            # Parallel workers end with their query, and their CPU time with them.
            psql(options.server, f'ALTER DATABASE "{name}" SET max_parallel_workers_per_gather = 0')
        try:
            measure(options)
        finally:
            if options.database == "postgresql":
                psql(options.server, f'DROP DATABASE "{name}" WITH (FORCE)')


def psql(url: str, statement: str) -> str:
    """Run a statement with psql."""
    return subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", url, "-c", statement],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def measure(options: argparse.Namespace) -> None:
    """Fill the database, serve it, request the pages, print the results."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from backups.guards import BEGINNINGS
    from benchmarks.history import data
    from dashboard.accounts.models import User

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    began = time.monotonic()
    clusters = data.inventory()
    rows = data.rows(clusters, options.runs, options.seed)
    with BEGINNINGS.lifted(connection):
        data.load("backups_backuprun", data.columns(), rows)
    data.explain_last(options.runs)
    data.celery_results(options.runs)
    User.objects.create_superuser("bench", password=PASSWORD)
    print(
        f"{options.runs:,} runs in {connection.vendor}, filled in {time.monotonic() - began:.0f} s"
    )
    print(f"size: {size(connection)}")
    cursors = {share: cursor_at(options.runs * (100 - share) // 100) for share in (10, 50, 90)}
    connection.close()
    with Server() as server:
        server.sign_in()
        print_pages(server, options, cursors)
        print_export(server, options)
    print_targets()


def size(connection) -> str:  # type: ignore[no-untyped-def]
    """Disk space of the runs and their indexes, as text."""
    if connection.vendor == "sqlite":
        return f"{Path(connection.settings_dict['NAME']).stat().st_size / 1e9:.2f} GB (all tables)"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_size_pretty(pg_relation_size('backups_backuprun')), "
            "pg_size_pretty(pg_indexes_size('backups_backuprun'))"
        )
        return "table {}, indexes {}".format(*cursor.fetchone())


def cursor_at(pk: int) -> str:
    """The cursor of a run."""
    from backups.lists.history import RUN_KEYSET
    from backups.models import BackupRun

    return RUN_KEYSET.cursor(BackupRun.objects.get(pk=max(pk, 1))).encode()


class Taken(NamedTuple):
    """What a page took, in milliseconds."""

    wall: float
    cpu: float  # does not depend on other load; of web process and database


class Server:
    """gunicorn with the product's pages and the peers', one process."""

    def __enter__(self) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--no-control-socket",
                f"--bind=127.0.0.1:{self.port}",
                "--workers=1",
                "--threads=2",
                "--timeout=600",
                "--log-level=warning",
                "dashboard.wsgi:application",
            ]
        )
        self.http = requests.Session()
        self.http.trust_env = False
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                self.http.get(f"{self.url}/healthz", timeout=5)
                return self
            except requests.RequestException:  # not listening yet, or slow on a busy machine
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def __exit__(self, *details: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def sign_in(self) -> None:
        """Sign in as a browser does."""
        page = self.http.get(f"{self.url}/sign-in/", timeout=60)
        self.token(page.text)
        answer = self.http.post(
            f"{self.url}/sign-in/",
            {"username": "bench", "password": PASSWORD, "csrfmiddlewaretoken": self.csrf},
            timeout=60,
        )
        answer.raise_for_status()

    def token(self, text: str) -> None:
        """Store a page's CSRF token."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
        assert found  # noqa: S101 - every page of ours has a form
        self.csrf = found[1]

    def time(self, *paths: str, repeats: int = REPEATS) -> list[Taken]:
        """Median times of pages; the first round is not counted.

        The pages are requested in turn, so that other load on the machine affects them equally.
        """
        taken: dict[str, list[Taken]] = {path: [] for path in paths}
        slow: set[str] = set()  # very slow pages are not requested again
        for _ in range(repeats + 1):
            for path in taken:
                if path in slow:
                    continue
                used, began = self.cpu(), time.perf_counter()
                answer = self.http.get(f"{self.url}{path}", timeout=600, allow_redirects=False)
                wall = (time.perf_counter() - began) * 1000
                taken[path].append(Taken(wall, self.cpu() - used))
                if answer.status_code != 200:
                    raise SystemExit(f"{path}: HTTP {answer.status_code}")
                if wall > SLOW or (wall > SLOW / 5 and len(taken[path]) > 2):
                    slow.add(path)
        return [median(taken[path][1:] or taken[path]) for path in paths]

    def cpu(self) -> float:
        """CPU time in ms of the web process and of PostgreSQL's processes that serve it."""
        import psutil

        workers = psutil.Process(self.process.pid).children()
        backends: list[str] = []
        if name := os.environ.get("DATABASE_URL", "").rpartition("/")[2]:
            backends = [
                f"/proc/{found.pid}/schedstat"
                for found in psutil.process_iter(["cmdline"])
                if f" {name} " in " ".join(found.info["cmdline"] or ())
                and "postgres:" in " ".join(found.info["cmdline"] or ())
            ]
        threads = [
            str(path) for w in workers for path in Path(f"/proc/{w.pid}/task").glob("*/schedstat")
        ]
        return sum(int(Path(path).read_text().split()[0]) for path in [*threads, *backends]) / 1e6


def median(taken: list[Taken]) -> Taken:
    """The medians of both times."""
    return Taken(statistics.median(t.wall for t in taken), statistics.median(t.cpu for t in taken))


def print_pages(server: Server, options: argparse.Namespace, cursors: dict[int, str]) -> None:
    """Time our pages, the same with OFFSET and COUNT, and Django's admin; print ratios to LIMIT."""
    pages = options.runs // 50
    print(
        f"\nx: how many times as long as fifty rows by keyset in a bare table ({LIMIT}), which is"
    )
    print("asked for in turn with every page\n")
    print(f"{'page':36}{'bare':>12}{'ours':>25}{'OFFSET, COUNT':>25}{'celery admin':>25}")
    admin = "/admin/django_celery_results/taskresult/?"
    every = "window=all"
    last = f"p={pages}"
    lines: list[tuple[str, str, str, str]] = [
        ("first page, all time", every, every, ""),
        ("first page, default window", "", "", ""),
        (
            "deep: after half",
            f"{every}&older={cursors[50]}",
            f"{every}&p={pages // 2}",
            f"p={pages // 4}",
        ),
        ("deep: the last page", f"{every}&end=oldest", f"{every}&{last}", f"p={pages // 2}"),
    ]
    lines += [
        (label, f"{every}&{query}", f"{every}&{query}", "")
        for label, query in (
            ("state: failed (3 %)", "state=failed"),
            ("state: not started (0.5 %)", "state=not_started"),
            ("needs attention", "group=attention"),
            ("outcome: conflict (3 %)", "outcome=conflict"),
            ("HTTP 412 (1.5 %)", "http_status=412"),
            ("code CSS.5301 (0.1 %)", "error_code=CSS.5301"),
            ("trigger: API (1 %)", "trigger=api"),
            ("user (2 %)", "user=user-07"),
            ("busy cluster (3 %)", "cluster=cluster-00001"),
            ("quiet cluster (0.02 %)", "cluster=cluster-01999"),
            ("project", "project=7"),
            ("label", "label=team%3Dsearch"),
            ("busy cluster and failed", "cluster=cluster-00001&state=failed"),
            ("project and failed", "project=7&state=failed"),
            ("outcome and trigger", "outcome=conflict&trigger=api"),
            ("user and needs attention", "user=user-07&group=attention"),
            ("code and user", "error_code=CSS.5301&user=user-07"),
            ("text: a cluster's name", "q=cluster-01999"),
            ("text: a rare word of a message", "q=zeppelin"),
            ("text: a common word of a message", "q=authorized"),
            ("text: a request id", f"q={options.runs - 77:032x}"),
            ("text: nothing matches", "q=no-such-word-anywhere"),
        )
    ]
    for label, ours, offset, admin_query in lines:
        asked = [LIMIT, f"/history/?{ours}", f"/peer/offset/?{offset}"]
        if label.startswith(("first page, all", "deep")):
            asked.append(f"{admin}{admin_query}")
        elif label == "text: a rare word of a message":
            asked.append(f"{admin}q=zeppelin")
        limit, *figures = server.time(*asked)
        cells = "".join(f"{cell(figure, limit):>25}" for figure in figures)
        print(f"{label:36}{limit.wall:>5,.0f} {limit.cpu:>3,.1f} ms{cells}", flush=True)
        judge(label, limit, *figures)
    for label, path in (
        ("total of all, up to 10,000", f"/history/count/?{every}"),
        ("total of failed, up to 10,000", f"/history/count/?{every}&state=failed"),
        ("run page", f"/runs/{options.runs}/"),
    ):
        limit, mine = server.time(LIMIT, path)
        print(f"{label:36}{limit.wall:>5,.0f} {limit.cpu:>3,.1f} ms{cell(mine, limit):>25}")


TARGETS: list[tuple[str, float, float]] = []


def judge(label: str, limit: Taken, ours: Taken, offset: Taken, admin: Taken | None = None) -> None:
    """Add the ratios of a page's CPU times and their bounds to TARGETS."""
    TARGETS.append((f"{label}: ours / limit, at most 2.5", ours.cpu / limit.cpu, 2.5))
    if admin:
        TARGETS.append((f"{label}: celery admin / ours, at least 20", admin.cpu / ours.cpu, -20.0))
    if label.startswith("deep"):
        TARGETS.append((f"{label}: OFFSET / ours, at least 30", offset.cpu / ours.cpu, -30.0))


def print_targets() -> None:
    """Print every target with its value; a negative bound is a minimum."""
    print("\ntargets")
    for name, value, bound in TARGETS:
        met = value >= -bound if bound < 0 else value <= bound
        print(f"{'met   ' if met else 'MISSED'} {value:8.2f}  {name}")


def cell(taken: Taken, limit: Taken) -> str:
    """Format both times of a page, and the ratio of its CPU time to the limit."""
    return f"{taken.wall:,.0f} {taken.cpu:,.1f} ms x{taken.cpu / limit.cpu:,.1f}"


def print_export(server: Server, options: argparse.Namespace) -> None:
    """Export the whole history as CSV and JSON Lines; for PostgreSQL, compare with psql's COPY."""
    page = server.http.get(f"{server.url}/history/", timeout=60)
    server.token(page.text)
    if options.database == "postgresql":  # psql may have them
        name = os.environ["DATABASE_URL"].rpartition("/")[2]
        psql(options.server, f'ALTER DATABASE "{name}" RESET max_parallel_workers_per_gather')
    before, speed = memory(server.process.pid), dict.fromkeys(("csv", "jsonl", "psql"), 0.0)
    print()
    # In turn as well; the best result counts.
    for _ in range(EXPORTS):
        for form in ("csv", "jsonl"):
            speed[form] = max(speed[form], export(server, form))
        if options.database == "postgresql":
            speed["psql"] = max(speed["psql"], copied(options.runs))
    more = memory(server.process.pid) - before
    for form in ("csv", "jsonl"):
        print(f"export as {form}: {speed[form]:,.0f} a second")
        if options.database == "sqlite":
            TARGETS.append((f"export as {form}: rows/s, at least 40,000", speed[form], -40_000.0))
        else:
            share = speed[form] / speed["psql"]
            TARGETS.append((f"export as {form} / psql COPY, at least 0.6", share, -0.6))
    if options.database == "postgresql":
        print(f"psql COPY, every column: {speed['psql']:,.0f} a second")
    print(f"the server took {more:,.0f} MB more than before")
    TARGETS.append(("exports: MB more, at most 30", more, 30.0))


def export(server: Server, form: str) -> float:
    """Export the whole history; return rows per second."""
    began, lines = time.perf_counter(), 0
    with server.http.post(
        f"{server.url}/history/exports/",
        {"format": form, "query": "window=all", "csrfmiddlewaretoken": server.csrf},
        stream=True,
        timeout=600,
    ) as answer:
        answer.raise_for_status()
        for part in answer.iter_content(1 << 20):
            lines += part.count(b"\n")
    return lines / (time.perf_counter() - began)


def copied(runs: int) -> float:
    """Copy all runs to /dev/null with psql; return rows per second."""
    began = time.perf_counter()
    subprocess.run(
        [
            "psql",
            "-X",
            "-q",
            os.environ["DATABASE_URL"],
            "-c",
            "COPY (SELECT * FROM backups_backuprun ORDER BY requested_at DESC) TO STDOUT WITH CSV",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return runs / (time.perf_counter() - began)


def memory(pid: int) -> float:
    """Peak resident memory of gunicorn's worker in MB."""
    import psutil

    workers = psutil.Process(pid).children()
    status = [Path(f"/proc/{worker.pid}/status").read_text() for worker in workers]
    peaks = [int(found[1]) for text in status if (found := re.search(r"VmHWM:\s+(\d+)", text))]
    return max(peaks) / 1024


if __name__ == "__main__":
    main()
