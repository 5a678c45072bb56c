"""A click, as Prometheus and the log see it: real web, worker, cloud and Prometheus."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.instances import Instance
from trials import metrics

# what a new instance without trouble has no series for
EMPTY = {"Since the last verification of the audit trail", "Audit trail intact"}


@pytest.fixture(scope="module")
def clicked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, int]]:
    """An instance in which one cluster was backed up, and the number of the run."""
    started = metrics.instance(tmp_path_factory.mktemp("metrics"))
    try:
        yield started, metrics.back_up(started)
    finally:
        started.stop()


def lines(started: Instance, name: str) -> list[dict[str, Any]]:
    """The lines of a program. All of them are JSON objects, whoever wrote them."""
    found = (started.data_dir / "logs" / f"{name}.log").read_text().splitlines()
    return [json.loads(line) for line in found]


def test_one_click_is_followed_through_all_lines_by_its_correlation_id(
    clicked: tuple[Instance, int],
) -> None:
    started, number = clicked
    web, worker = lines(started, "web"), lines(started, "worker")
    for each in (*web, *worker):
        assert {"timestamp", "level", "logger", "event"} <= set(each)
    mine = [each for each in (*web, *worker) if each.get("correlation_id") == metrics.CLICK]
    events = [each["event"] for each in mine if each["logger"] == "backups.runs"]
    assert events == ["run requested", "run sent", "run ended"]
    requested, sent, ended = (each for each in mine if each["logger"] == "backups.runs")
    assert {each["run"] for each in (requested, sent, ended)} == {number}
    assert {each["cluster"] for each in (requested, sent, ended)} == {"orders-prod"}
    assert (sent["outcome"], sent["status"], sent["attempt"]) == ("accepted", 200, 1)
    assert ended["state"] == "succeeded"
    (call,) = (c for c in mine if c.get("endpoint") == "logs/collect")
    assert call["cloud_request_id"] == sent["cloud_request_id"] != ""
    assert call["task"] == "backups.tasks.send_run"
    (access,) = (a for a in mine if a["event"] == "request" and a["method"] == "POST")
    assert access["route"] == "backups:cluster-backup"
    assert any(each["logger"].startswith("gunicorn") for each in web)
    assert any(each["logger"].startswith("celery") for each in worker)


def test_every_query_of_the_dashboard_and_every_rule_runs_on_a_real_prometheus(
    clicked: tuple[Instance, int], tmp_path: Path
) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed (apt install prometheus)")
    started, _number = clicked
    with metrics.prometheus(tmp_path, started.url.partition("//")[2]) as scraping:
        answered, health = metrics.ask_all(scraping), metrics.rules(scraping)
    refused = [f"{each.expr}: {each.error}" for each in answered if each.error]
    assert not refused
    empty = {each.title for each in answered if not each.series}
    assert empty <= EMPTY
    assert set(health.values()) == {"ok"}
    assert len(health) > 10


def test_no_answer_without_the_token(clicked: tuple[Instance, int]) -> None:
    started, _number = clicked
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{started.url}/metrics", timeout=30).status_code == 401
        headers = {"Authorization": f"Bearer {metrics.TOKEN}", "Host": "10.0.0.1"}
        answer = session.get(f"{started.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200
    assert metrics.TOKEN not in answer.text
    assert "css_backup_workers_alive 1.0" in answer.text
