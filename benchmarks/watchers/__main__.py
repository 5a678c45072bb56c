"""Benchmark of the load that users with an open clusters page cause by polling.

Fills a new database with clusters, serves it with gunicorn on loopback, and has many clients
request the page's live URL once a second each, as the page's script does while a run is in
progress. For comparison, the same clients request two bare views of the same server: 204 for
anyone, and 204 for a signed-in user. Clients, server and database share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import psutil

COOKIES = "sessionid={key}; tz=UTC"


class Figures(NamedTuple):
    """Measurements of one URL: times in ms, and CPU of the server in cores."""

    name: str
    asked: int
    failed: int
    seconds: float
    server: float
    median: float
    p95: float
    statuses: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watchers", description=__doc__)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2, help="gunicorn's processes")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432/postgres")
    return parser.parse_args()


def main() -> None:
    """Prepare, measure, clean up."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-watchers-") as folder, database(options):
        os.environ["DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.watchers.settings"
        import django

        django.setup()
        key, query = prepare(options.clusters)
        with serving(options.workers) as (port, server):
            paths = {
                "bare 204": "/bare/",
                "204 to a signed-in user": "/signed-in/",
                "live, nothing changed": f"/clusters/live/?{query}",
            }
            for path in paths.values():
                asyncio.run(watch(port, path, key, 8, 1.0))  # warm up every process
            rows = [measure(name, path, port, key, server, options) for name, path in paths.items()]
    print(
        f"\n{options.watchers} watchers for {options.seconds} s, {options.clusters:,} clusters, "
        f"{options.database}, {options.workers} processes of gunicorn, {os.cpu_count()} cores\n"
    )
    print(
        "| Asked once a second by each | answers/s | server CPU | CPU an answer | median | 95 % |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        each = row.server * row.seconds / max(row.asked, 1) * 1000
        print(
            f"| {row.name} ({row.statuses}) | {row.asked / row.seconds:.0f} | "
            f"{row.server:.2f} cores | {each:.1f} ms | {row.median:.0f} ms | {row.p95:.0f} ms |"
            + (f" {row.failed} failed" if row.failed else "")
        )


@contextmanager
def database(options: argparse.Namespace) -> Iterator[None]:
    """Create and drop a separate database on the server, for PostgreSQL."""
    if options.database == "sqlite":
        yield
        return
    name = f"bench_watchers_{os.getpid()}"
    psql(options.server, f'CREATE DATABASE "{name}"')
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(options.server)._replace(path=f"/{name}"))
    try:
        yield
    finally:
        psql(options.server, f'DROP DATABASE "{name}" WITH (FORCE)')


def psql(url: str, statement: str) -> None:
    """Run a statement with psql."""
    subprocess.run(["psql", "-X", "-q", url, "-c", statement], check=True)


def prepare(clusters: int) -> tuple[str, str]:
    """Fill the database; return a session key and the query of the first page's live URL."""
    from django.core.management import call_command
    from django.test import Client

    from benchmarks.clusters_page import fill
    from dashboard.accounts.models import User

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    fill(clusters, 1)
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("watcher"))
    text = client.get("/clusters/").content.decode()
    tokens = dict.fromkeys(re.findall(r'\sdata-live="([^"]+)"', text))
    if len(tokens) < 50:
        raise SystemExit(f"the page shows {len(tokens)} rows")
    return client.cookies["sessionid"].value, f"shown={quote(','.join(tokens))}"


@contextmanager
def serving(workers: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run gunicorn with the product's configuration; yield its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "python:dashboard.gunicorn"]
    flags = [f"--bind=127.0.0.1:{port}", f"--workers={workers}", "--log-level=warning"]
    process = subprocess.Popen([*command, *flags])
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def spent(server: psutil.Process) -> float:
    """CPU seconds that gunicorn's processes have used."""
    times = [each.cpu_times() for each in [server, *server.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


def measure(
    name: str,
    path: str,
    port: int,
    key: str,
    server: psutil.Process,
    options: argparse.Namespace,
) -> Figures:
    """Have all watchers request one URL."""
    before, began = spent(server), time.monotonic()
    found = asyncio.run(watch(port, path, key, options.watchers, options.seconds))
    took = time.monotonic() - began
    cpu = (spent(server) - before) / took
    times = sorted(ms for ms, _ in found)
    statuses = ", ".join(sorted({status for _, status in found}))
    failed = sum(status != "204" for _, status in found)
    p95 = times[int(len(times) * 0.95)]
    return Figures(name, len(times), failed, took, cpu, statistics.median(times), p95, statuses)


async def watch(
    port: int, path: str, key: str, watchers: int, seconds: float
) -> list[tuple[float, str]]:
    """Request a URL once a second per watcher; return ms and status of each answer."""
    found: list[tuple[float, str]] = []
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {COOKIES.format(key=key)}\r\n\r\n"
    ).encode()
    end = time.monotonic() + seconds

    async def one() -> None:
        await asyncio.sleep(random.random())  # watchers do not start at the same time
        while (began := time.monotonic()) < end:
            found.append(await ask(port, request, began))
            await asyncio.sleep(max(began + 1 - time.monotonic(), 0))

    await asyncio.gather(*(one() for _ in range(watchers)))
    return found


async def ask(port: int, request: bytes, began: float) -> tuple[float, str]:
    """Send one request on a new connection; return ms since `began`, and the status or error."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
        status = head.split()[1].decode()
        writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        status = type(error).__name__
    return (time.monotonic() - began) * 1000, status


if __name__ == "__main__":
    main()
