"""Benchmark of runs over a fleet of clusters, from the click to the verified backup.

Uses real processes on one machine: the simulated cloud, Redis, gunicorn, workers. The clusters page
stores the requests, fifty clusters per form, while no worker is running. Then the workers start,
and send and follow all runs. For comparison, a bare thread pool and plain Celery tasks make the
same calls. Milliseconds depend on the machine; ratios, counts and CPU are more meaningful.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests

from chaos.stack import StackError, until

from .stack import Stack, Usage, family


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--clusters", type=int, default=300)
    parser.add_argument("--post-ms", type=int, default=200, help="how long a POST takes")
    parser.add_argument("--call-ms", type=int, default=0, help="how long every other call takes")
    parser.add_argument("--job-seconds", type=float, default=3.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--server", default="postgres://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--threads", type=int, default=20, help="of each worker")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--clicks", type=int, default=0, help="single clicks while nothing else is")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds of rest")
    parser.add_argument("--check-interval", type=int, default=300, help="at rest, in seconds")
    parser.add_argument("--no-peers", action="store_true", help="the product alone")
    parser.add_argument("--tables", action="store_true", help="statements by verb and table")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for all runs to end")
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def main() -> None:
    """Prepare, measure, clean up."""
    options = arguments()
    stack = Stack(
        options.database,
        options.server,
        options.clusters,
        options.job_seconds,
        options.workers,
        options.threads,
    )
    try:
        figures = Measurement(options, stack).everything()
    except StackError as error:
        raise SystemExit(str(error)) from error
    finally:
        stack.close()
    figures = {"options": {k: str(v) for k, v in vars(options).items()}, **figures}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


class Measurement:
    """One run of the benchmark.

    Args:
        options: of the command line.
        stack: the processes; neither web nor workers have been started.
    """

    def __init__(self, options: argparse.Namespace, stack: Stack) -> None:
        self.options, self.stack = options, stack
        self.figures: dict[str, Any] = {}

    def everything(self) -> dict[str, Any]:
        """Run each part and print its figures; return all figures."""
        self._prepare()
        self._store()
        self._burst()
        if self.options.clicks:
            self._clicks()
        for worker in self.stack.workers:
            worker.stop()
        if not self.options.no_peers:
            self._peers()
        if self.options.rest:
            self._rest()
        return self.figures

    def _tell(self, name: str, value: Any, unit: str = "") -> None:
        self.figures[name] = value
        shown = f"{value:,.2f}" if isinstance(value, float) else value
        print(f"{name:<44} {shown} {unit}", flush=True)

    def _prepare(self) -> None:
        stack = self.stack
        os.environ.clear()
        os.environ.update(stack.environ)
        for command in (
            ["migrate", "-v0"],
            ["collectstatic", "--noinput", "-v0"],
            ["sync_clusters"],
        ):
            done = subprocess.run(
                [sys.executable, "manage.py", *command], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise StackError(f"manage.py {command[0]}: {done.stderr}{done.stdout}")
        import django

        django.setup()
        from django.test import Client

        from backups.models import Cluster
        from dashboard.accounts.models import User

        self._spread_checks(86_400)
        self._remember()
        client = Client(headers={"host": "localhost"})
        client.force_login(User.objects.create_superuser("bench"))
        self.cookies = {name: each.value for name, each in client.cookies.items()}
        self.cookies["csrftoken"] = secrets.token_hex(16)
        self.keys = dict(Cluster.objects.values_list("pk", "cluster_id"))
        stack.web.start()
        if not until(self._answers, 60):
            raise stack.web.fail("does not answer")

    def _remember(self) -> None:
        """Store a verified run per cluster, from which the product learns how long a job takes."""
        from django.utils import timezone

        from backups.models import BackupRun, Cluster

        then = timezone.now() - timedelta(days=1)
        BackupRun.objects.bulk_create(
            BackupRun(
                cluster=cluster,
                project=cluster.project,
                cluster_cloud_id=cluster.cluster_id,
                cluster_name=cluster.name,
                cloud=cluster.project.cloud,
                region=cluster.project.region,
                project_id_in_cloud=cluster.project.project_id,
                requested_by_name="bench",
                trigger="cloud",
                requested_at=then,
                state="succeeded",
                finished_at=then + timedelta(seconds=self.options.job_seconds),
                job_id=f"yesterday-{cluster.pk}",
                job_created_at=then,
                job_finished_at=then + timedelta(seconds=self.options.job_seconds),
            )
            for cluster in Cluster.objects.select_related("project")
        )

    def _spread_checks(self, interval: float) -> None:
        """Spread the readiness checks over the interval, as after a long time of operation."""
        from django.utils import timezone

        from backups.models import Cluster

        now, rows = timezone.now(), list(Cluster.objects.all())
        for number, row in enumerate(rows):
            row.check_due_at = now + timedelta(seconds=interval * (number + 1) / len(rows))
        Cluster.objects.bulk_update(rows, ["check_due_at"], batch_size=200)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.stack.url}/healthz", timeout=2).ok
        except requests.RequestException:
            return False

    def _form(self, path: str, data: dict[str, Any]) -> requests.Response:
        answer = requests.post(
            f"{self.stack.url}{path}",
            data={"idempotency_key": secrets.token_hex(12), "anyway": "1", **data},
            cookies=self.cookies,
            headers={"X-CSRFToken": self.cookies["csrftoken"]},
            timeout=120,
            allow_redirects=False,
        )
        answer.raise_for_status()
        return answer

    def _store(self) -> None:
        """Submit the form of a batch of all clusters."""
        from backups.models import BatchItem

        usage = Usage({"web": [self.stack.web]}, self.stack)
        commits, sent = self.stack.commits(), self.stack.statements(self.stack.web)
        began = time.monotonic()
        self._form("/batches/", {"query": "show=present"})
        seconds = time.monotonic() - began
        cpu = usage.stop()
        count = BatchItem.objects.filter(state="waiting").count()
        if count != len(self.keys):
            raise StackError(f"there are {len(self.keys)} clusters, {count} wait in the batch")
        self._tell("batch answered", seconds, "s")
        self._tell("store: CPU of web", 1000 * cpu["web"] / count, "ms a run")
        self._per_run("store", commits, sent, [self.stack.web], count)

    def _per_run(
        self,
        name: str,
        commits: int | None,
        sent: Any,
        processes: list[Any],
        count: int,
        own: int = 0,
    ) -> None:
        if commits is not None:
            after = self.stack.commits()
            assert after is not None  # noqa: S101
            self._tell(f"{name}: commits", (after - commits - own) / count, "a run")
        tables = sum((self.stack.statements(each) for each in processes), start=type(sent)())
        tables.subtract(sent)
        self._tell(f"{name}: statements", sum(tables.values()) / count, "a run")
        self.figures[f"{name}: tables"] = {k: v / count for k, v in tables.most_common() if v}
        if self.options.tables:
            for key, number in tables.most_common(40):
                print(f"    {number / count:6.2f} {key}")

    def _delays(self) -> None:
        control, options = self.stack.control, self.options
        control.clear_faults()
        if options.post_ms:
            control.fault("slow", endpoint="collect", seconds=options.post_ms / 1000)
        if options.call_ms:
            control.fault("slow", endpoint="records", seconds=options.call_ms / 1000)

    def _burst(self) -> None:
        from django.db import connection

        from backups.models import BackupRun, Batch

        stack, count = self.stack, len(self.keys)
        self._delays()
        named = {"web": [stack.web], "worker": stack.workers}
        named |= {"redis": [stack.redis], "simulator": [stack.simulator]}
        commits, stored = stack.commits(), stack.statements(stack.web)
        for worker in stack.workers:
            worker.start()
        if not until(lambda: bool(stack.control.ledger(endpoint="collect")), 60):
            raise stack.workers[0].fail("sends nothing")
        usage, pages = Usage(named, stack), Pages(self.stack.url, self.cookies)
        polls = 0

        def ended() -> bool:
            nonlocal polls
            time.sleep(1)
            polls += 1
            connection.close()  # a new connection each time, so that its commit is counted at once
            return not Batch.objects.open().exists()

        finished = until(ended, self.options.timeout)
        cpu, times = usage.stop(), pages.stop()
        entries = stack.control.ledger(endpoint="collect")
        at = sorted(entry.time for entry in entries)
        rate = (len(at) - 1) / (at[-1] - at[0])
        asked_for = BackupRun.objects.exclude(trigger="cloud")
        runs = list(asked_for.values_list("state", "finished_at", "evidence"))
        verified = [row[1].timestamp() for row in runs if row[0] == "succeeded"]
        states: dict[str, int] = {}
        for state, _at, evidence in runs:
            name = f"{state} {evidence}".strip()
            states[name] = states.get(name, 0) + 1
        self._tell("runs", ", ".join(f"{n} {name}" for name, n in states.items()))
        if not finished or not verified:
            raise StackError("the runs did not end in time")
        self._tell("POSTs received", len(entries))
        self._tell(
            "readings of records", len(stack.control.ledger(endpoint="records")) / count, "a run"
        )
        self._tell("POSTs", rate, "/s")
        self._tell("verified", len(verified) / (max(verified) - at[0]), "runs/s")
        for name, spent in cpu.items():
            self._tell(f"CPU of {name}", 1000 * spent / count, "ms a run")
            self._tell(f"peak memory of {name}", usage.peak[name] / 2**20, "MB")
        self._tell("pages meanwhile, median", statistics.median(times), "s")
        self._tell("pages meanwhile, longest", max(times), "s")
        # pages are read outside of transactions: each of their statements is a commit
        looked = stack.statements(stack.web)
        looked.subtract(stored)
        self._tell("commits of pages meanwhile", sum(looked.values()) / count, "a run")
        self._per_run("burst", commits, Counter(), stack.workers, count, own=2 * polls)
        logs = [worker.log.read_text() for worker in stack.workers]
        self._tell("lock errors in the log", sum(log.count("locked") for log in logs))

    def _clicks(self) -> None:
        """Measure the time from a single click to its POST, without other load."""
        self.stack.control.clear_faults()
        waits, answers = [], []
        for pk, cloud_id in list(self.keys.items())[: self.options.clicks]:
            time.sleep(1.3)
            before = len(self.stack.control.ledger(endpoint="collect", cluster=cloud_id))
            at, began = time.time(), time.monotonic()
            self._form(f"/clusters/{pk}/backup/", {"wait_minutes": 0, "then": "run"})
            answers.append(time.monotonic() - began)

            def came(cloud_id: str = cloud_id, before: int = before) -> bool:
                return len(self.stack.control.ledger(endpoint="collect", cluster=cloud_id)) > before

            if not until(came, 10):
                raise StackError("a click was not sent within 10 s")
            entry = self.stack.control.ledger(endpoint="collect", cluster=cloud_id)[-1]
            waits.append(entry.time - at)
        self._tell("click → POST, median", 1000 * statistics.median(waits), "ms")
        self._tell("click → answer of the page, median", 1000 * statistics.median(answers), "ms")

    def _peers(self) -> None:
        from .peers import Cloud, in_pool

        stack, options = self.stack, self.options
        cloud = Cloud(Path(stack.environ["OS_CLIENT_CONFIG_FILE"]))
        threads = options.threads * options.workers
        ids = list(self.keys.values())[: max(300, 10 * threads)]
        self._delays()
        posts = self._pause_and(lambda: in_pool(cloud, ids, threads, whole=False))
        self._tell("bare pool: POSTs", posts, "/s")
        whole = self._pause_and(lambda: in_pool(cloud, ids, threads, whole=True))
        self._tell("bare pool: runs of four calls", whole, "/s")
        self._tell("POSTs beside the bare pool's", self.figures["POSTs"] / posts)
        self._tell("verified beside the pool of four calls", self.figures["verified"] / whole)
        self._plain(ids)

    def _pause_and(self, work: Any) -> Any:
        time.sleep(self.options.job_seconds + 1)  # jobs end, so that no POST is a conflict
        return work()

    def _plain(self, ids: list[str]) -> None:
        try:
            import django_celery_results  # noqa: F401
        except ImportError:
            print(
                "django-celery-results is not installed: pip install -r benchmarks/requirements.txt"
            )
            return
        from django_celery_results.models import TaskResult

        from .plain import app, collect

        stack, options = self.stack, self.options
        time.sleep(options.job_seconds + 1)
        already = TaskResult.objects.count()
        worker = stack.program(
            "plain",
            *("-m", "celery", "-A", "benchmarks.fleet.plain", "worker", "--pool", "threads"),
            *(
                "-c",
                str(options.threads),
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ),
        )
        worker.start()
        if not until(lambda: bool(app.control.ping(timeout=1)), 60):
            raise worker.fail("does not answer")
        if options.clicks:
            self._start_of_plain()
        usage, commits = Usage({"plain": [worker]}, stack), stack.commits()
        began = time.monotonic()
        for cluster in ids:
            collect.delay(cluster)
        polls = 0

        def ended() -> bool:
            nonlocal polls
            polls += 1
            return TaskResult.objects.count() - already >= len(ids)

        if not until(ended, options.timeout):
            raise worker.fail("did not end")
        rate = len(ids) / (time.monotonic() - began)
        cpu = usage.stop()
        self._tell("plain Celery: runs of four calls", rate, "/s")
        self._tell("plain Celery: CPU of worker", 1000 * cpu["plain"] / len(ids), "ms a run")
        if commits is not None:
            after = stack.commits()
            self._tell("plain Celery: commits", (after - commits - polls) / len(ids), "a run")  # type: ignore[operator]
        worker.stop()

    def _start_of_plain(self) -> None:
        """Measure the time from `.delay()` to the start of a plain task, without other load."""
        from .plain import started

        waits = []
        for number in range(self.options.clicks):
            path = self.stack.folder / f"started-{number}"
            time.sleep(0.3)
            at = time.time()
            started.delay(str(path))
            if not until(path.exists, 10):
                raise StackError("a plain task did not start within 10 s")
            waits.append(float(path.read_text()) - at)
        median = 1000 * statistics.median(waits)
        self._tell("plain Celery: .delay() → start, median", median, "ms")
        self._tell("click → POST beside it", self.figures["click → POST, median"] / median)

    def _rest(self) -> None:
        """Measure one worker with nothing to send and readiness checks at their usual interval."""
        self.stack.control.clear_faults()
        from backups.models import FileCheck

        interval = self.options.check_interval
        self._spread_checks(interval)
        worker = self.stack.worker(100, CHECK_INTERVAL=str(interval), SYNC_INTERVAL="300")
        worker.start()
        time.sleep(15)
        if not until(lambda: not FileCheck.objects.filter(checked_at=None).exists(), 600):
            raise worker.fail("does not check the files of the runs")
        spent = _cpu(worker)
        time.sleep(self.options.rest)
        self._tell(
            "worker at rest", 100 * (_cpu(worker) - spent) / self.options.rest, "% of a core"
        )
        worker.stop()


def _cpu(process: Any) -> float:
    times = [each.cpu_times() for each in family(process)]
    return float(sum(each.user + each.system for each in times))


class Pages(threading.Thread):
    """A user who opens the clusters page every two seconds."""

    def __init__(self, url: str, cookies: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._url, self._cookies = url, cookies
        self._stopped = threading.Event()
        self._times: list[float] = []
        self.start()

    def run(self) -> None:
        while not self._stopped.wait(2.0):
            began = time.monotonic()
            requests.get(f"{self._url}/clusters/", cookies=self._cookies, timeout=60)
            self._times.append(time.monotonic() - began)

    def stop(self) -> list[float]:
        """Stop, and return the duration of each request in seconds."""
        self._stopped.set()
        self.join()
        return self._times or [0.0]


if __name__ == "__main__":
    main()
