"""A run's lines and counts: requested, sent and ended, with the id of the click that led to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import TestCase
from structlog.contextvars import bound_contextvars

from backups import run_events
from backups.choices import Outcome, RunState, Trigger
from backups.css_api.client import CssClient
from backups.models import BackupRun
from backups.services.cloud import client_for
from backups.services.runs import sending
from backups.services.runs.requests import Requester, cancel_run, request_backup
from dashboard.audit.trail import Actor
from dashboard.logs import fields_of
from dashboard.metrics.counters import REGISTRY
from simulator.client import SimulatorControl
from tests.services.conftest import MakeCluster

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget() -> None:
    """No id is remembered from another test, whose runs had the same numbers."""
    run_events._known.clear()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [each for each in caplog.records if each.name == "backups.runs"]
    return [{"event": each.getMessage(), **fields_of(each)} for each in found]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def clicked(make_cluster: MakeCluster) -> BackupRun:
    """Request a run as a web process does, whose request has the id `click-17`."""
    by = Requester("anna", Trigger.BUTTON, request_id="click-17")
    with (
        bound_contextvars(correlation_id="click-17"),
        TestCase.captureOnCommitCallbacks(execute=True),
    ):
        return request_backup(make_cluster(), by).run


def test_a_run_has_a_line_for_each_step_with_the_id_of_its_click(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="backups.runs")
    run = clicked(make_cluster)
    run_events._known.clear()  # another process goes on, with a message of the sweeper's
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert sending.send_run(run.pk)
    requested, sent = lines(caplog)
    assert requested["event"] == "run requested"
    assert {each["correlation_id"] for each in (requested, sent)} == {"click-17"}
    run.refresh_from_db()
    assert sent.pop("seconds") >= 0
    assert sent == {
        "event": "run sent",
        "correlation_id": "click-17",
        "run": run.pk,
        "cluster": run.cluster_name,
        "project": run.project_name,
        "trigger": "button",
        "state": RunState.ACCEPTED,
        "outcome": Outcome.ACCEPTED,
        "attempt": 1,
        "status": 200,
        "cloud_request_id": run.request_id,
    }


def test_a_rejected_run_is_sent_and_has_ended(
    make_cluster: MakeCluster, cloud: SimulatorControl, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="backups.runs")
    labels = {"state": "rejected", "outcome": "precondition_failed", "trigger": "button"}
    before = value("css_backup_runs_ended_total", **labels)
    waits = value("css_backup_run_wait_seconds_count")
    run = clicked(make_cluster)
    cloud.fault("status", run.cluster_cloud_id, preset="precondition")
    with TestCase.captureOnCommitCallbacks(execute=True):
        sending.send_run(run.pk)
    assert [each["event"] for each in lines(caplog)] == ["run requested", "run sent", "run ended"]
    assert lines(caplog)[2]["error_code"]
    assert value("css_backup_runs_ended_total", **labels) == before + 1
    assert value("css_backup_run_wait_seconds_count") == waits + 1


def test_a_cancelled_run_has_ended_and_was_not_sent(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="backups.runs")
    run = clicked(make_cluster)
    with TestCase.captureOnCommitCallbacks(execute=True):
        cancel_run(run, actor=Actor("anna"))
    assert [each["event"] for each in lines(caplog)] == ["run requested", "run ended"]


def test_another_request_that_ends_a_run_does_not_lend_it_its_id(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="backups.runs")
    run = clicked(make_cluster)
    run_events._known.clear()  # another web process cancels it
    with (
        bound_contextvars(correlation_id="cancel-18"),
        TestCase.captureOnCommitCallbacks(execute=True),
    ):
        cancel_run(run, actor=Actor("anna"))
    assert [(each["event"], each["correlation_id"]) for each in lines(caplog)] == [
        ("run requested", "click-17"),
        ("run ended", "click-17"),
    ]


def test_what_is_rolled_back_is_neither_logged_nor_counted(
    make_cluster: MakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="backups.runs")
    before = value("css_backup_runs_requested_total", trigger="button")
    with TestCase.captureOnCommitCallbacks() as left:  # as of a transaction that fails
        request_backup(make_cluster(), Requester("anna", Trigger.BUTTON))
    assert left
    assert lines(caplog) == []
    assert value("css_backup_runs_requested_total", trigger="button") == before


def test_calls_are_counted_by_endpoint_and_result_whoever_makes_them(
    make_cluster: MakeCluster, cloud: SimulatorControl
) -> None:
    cluster = make_cluster()
    name, ok = "css_backup_cloud_calls_total", {"endpoint": "clusters/{id}", "result": "200"}
    before = value(name, **ok)
    client: CssClient = client_for(cluster)
    client.get_cluster(cluster.cluster_id)
    assert value(name, **ok) == before + 1
    seconds = "css_backup_cloud_call_duration_seconds_count"
    assert value(seconds, endpoint="clusters/{id}") >= 1


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1.0/0123/clusters?start=1&limit=10", "clusters"),
        ("/v1.0/0123/clusters/4f5a", "clusters/{id}"),
        ("/v1.0/0123/clusters/4f5a/logs/collect", "logs/collect"),
        ("/v1.0/0123/clusters/4f5a/logs/open?action=base_log_collect", "logs/open"),
        ("/v1.0/0123/clusters/4f5a/logs/policy/update", "logs/policy/update"),
        ("/v1.0/0123/clusters/4f5a/something/else", "other"),
        ("/v3/auth/tokens", "other"),
    ],
)
def test_an_endpoint_has_no_ids(path: str, endpoint: str) -> None:
    assert run_events.endpoint_of(path) == endpoint
