"""Trial of the metrics: a real Prometheus scrapes a real instance that backs up a cluster.

Every query of the Grafana dashboard and of the alert rules is run. `make metrics-trial` prints what
each answered; tests/e2e/test_metrics_trial.py asserts it.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # pragma: no cover - as `python -m trials.metrics`
    sys.path.insert(0, str(ROOT))

from tests.instances import Instance  # noqa: E402
from tests.visitor import Visitor  # noqa: E402

DEPLOYED = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "css-log-backup.json"
TOKEN = "a-token-of-the-trial-0123456789"  # noqa: S105 - of an instance that ends with the trial
CLICK = "click-of-the-metrics-trial"
SECONDS = 90.0
RATE_INTERVAL = "1m"


@dataclass(frozen=True, slots=True)
class Answered:
    """A query and what Prometheus answered: the number of series, or the error."""

    title: str
    expr: str
    series: int
    error: str = ""


def instance(folder: Path) -> Instance:
    """Start an instance with the demo's cloud, metrics and JSON lines."""
    given = {"METRICS_TOKEN": TOKEN, "LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG", "DEMO_CLOUD": "1"}
    return Instance(folder, **given).wait_ready()


def back_up(started: Instance, cluster: str = "orders-prod") -> int:
    """Click, with a correlation id of our own, and wait for the end of the run; its number."""
    started.wait_for_worker()
    visitor = Visitor(started.url).sign_in("admin", started.password)
    visitor.headers["X-Request-ID"] = CLICK
    number = visitor.back_up(cluster)
    del visitor.headers["X-Request-ID"]
    wait_until(lambda: visitor.get(f"/runs/{number}.json").json()["state"] == "succeeded")
    return number


def wait_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


class Prometheus:
    """A Prometheus on a port of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Ask the HTTP API; returns the document."""
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        return dict(answer.json())

    def series(self, expr: str) -> int:
        """Run a query; returns the number of series. Raises ValueError if it is refused."""
        answer = self.get("query", query=expr)
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return len(answer["data"]["result"])

    def is_up(self) -> bool:
        """Whether it answers queries."""
        try:
            return self.series("vector(1)") == 1
        except (requests.RequestException, ValueError):
            return False


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Start Prometheus with the deployed configuration, scraping `target` each second."""
    given = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    given["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    given["rule_files"] = [str(DEPLOYED / "alerts.yml")]
    (job,) = given["scrape_configs"]
    (folder / "token").write_text(f"{TOKEN}\n")
    job["authorization"]["credentials_file"] = str(folder / "token")
    job["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(given))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = shutil.which("prometheus") or "prometheus"
    arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}"]
    arguments += [f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=folder)
    try:
        started = Prometheus(f"http://{address}")
        wait_until(started.is_up)
        yield started
    finally:
        process.terminate()
        process.wait(20)


def queries() -> list[tuple[str, str]]:
    """Title and expression of every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", RATE_INTERVAL))
        for panel in panels
        for target in panel["targets"]
    ]


def ask_all(started: Prometheus) -> list[Answered]:
    """Run every query, once the run of the trial has arrived."""
    wait_until(lambda: started.series("rate(css_backup_run_wait_seconds_count[1m]) >= 0"))
    # rates need two scrapes that have the series
    wait_until(lambda: started.series("rate(css_backup_runs_ended_total[1m]) >= 0"))
    answered = []
    for title, expr in queries():
        try:
            answered.append(Answered(title, expr, started.series(expr)))
        except ValueError as error:
            answered.append(Answered(title, expr, 0, str(error)))
    return answered


def rules(started: Prometheus) -> dict[str, str]:
    """The health of each alert rule, once all were evaluated."""

    def found() -> dict[str, str]:
        groups = started.get("rules")["data"]["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wait_until(lambda: found() and "unknown" not in found().values())
    return found()


def main() -> int:
    """Run the trial; returns 1 if a query is refused or a rule fails."""
    with tempfile.TemporaryDirectory(prefix="metrics-trial-") as name:
        folder = Path(name)
        started = instance(folder)
        try:
            print(f"run {back_up(started)} is verified")
            with prometheus(folder, started.url.partition("//")[2]) as scraping:
                answered, health = ask_all(scraping), rules(scraping)
        finally:
            started.stop()
    for each in answered:
        print(f"{each.error or f'{each.series} series'}: {each.title}: {each.expr}")
    for alert, said in health.items():
        print(f"{said}: {alert}")
    return int(any(each.error for each in answered) or set(health.values()) != {"ok"})


if __name__ == "__main__":
    sys.exit(main())
