"""Celery tasks: each takes ids and calls a service. They contain no secrets and no decisions."""

from __future__ import annotations

from celery import shared_task
from structlog.contextvars import bound_contextvars

from .services import retention
from .services.batches import starting
from .services.clusters import readiness
from .services.connections import sync
from .services.notifications import cleaning
from .services.runs import files, following, sending


@shared_task(ignore_result=True)
def send_run(run_id: int) -> None:
    with bound_contextvars(run=run_id):
        if readings := sending.send_run(run_id):
            # At once: only while the job is running can it be proven to be the run's.
            following.read_and_conclude(readings)


@shared_task(ignore_result=True)
def send_runs(run_ids: list[int]) -> None:
    for run_id in run_ids:  # after an error the sweeper dispatches the remaining runs again
        send_run(run_id)


@shared_task(ignore_result=True)
def start_batches() -> None:
    starting.advance()


@shared_task(ignore_result=True)
def follow_runs(run_ids: list[int]) -> None:
    following.follow_runs(run_ids)


@shared_task(ignore_result=True)
def check_files(run_ids: list[int]) -> None:
    files.check_files(run_ids)


@shared_task(ignore_result=True)
def check_cluster(cluster_id: int) -> None:
    readiness.check_cluster(cluster_id)


@shared_task(ignore_result=True)
def sync_connection(connection_id: int) -> None:
    sync.sync_connection(connection_id)


@shared_task(ignore_result=True)
def run_retention() -> None:
    retention.run_due()
    cleaning.delete_old()


@shared_task(ignore_result=True)
def continue_retention() -> None:
    retention.continue_open()


@shared_task(ignore_result=True)
def canary() -> None:
    """Do nothing: dashboard/worker.py records that it arrived, as it does for any message."""
