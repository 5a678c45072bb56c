"""Celery tasks: an id in, one service call. They carry no secret and no decision."""

from __future__ import annotations

from celery import shared_task

from .services import retention
from .services.clusters import readiness
from .services.connections import sync
from .services.runs import following, sending


@shared_task(ignore_result=True)
def send_run(run_id: int) -> None:
    if sending.send_run(run_id):
        following.follow_run(run_id)  # at once: while it runs, the job is proven to be the run's


@shared_task(ignore_result=True)
def send_runs(run_ids: list[int]) -> None:
    for run_id in run_ids:  # after an error the others are dispatched again
        send_run(run_id)


@shared_task(ignore_result=True)
def follow_runs(run_ids: list[int]) -> None:
    following.follow_runs(run_ids)


@shared_task(ignore_result=True)
def check_cluster(cluster_id: int) -> None:
    readiness.check_cluster(cluster_id)


@shared_task(ignore_result=True)
def sync_connection(connection_id: int) -> None:
    sync.sync_connection(connection_id)


@shared_task(ignore_result=True)
def run_retention() -> None:
    retention.run_due()


@shared_task(ignore_result=True)
def continue_retention() -> None:
    retention.continue_open()


@shared_task(ignore_result=True)
def canary() -> None:
    """Nothing to do: that it arrived is noted in dashboard/worker.py, as of any message."""
