"""Celery tasks: an id in, one service call. They carry no secret and no decision."""

from __future__ import annotations

from celery import shared_task

from .services import following, sending, sweeping


@shared_task(ignore_result=True)
def send_run(run_id: int) -> None:
    sending.send_run(run_id)


@shared_task(ignore_result=True)
def follow_run(run_id: int) -> None:
    following.follow_run(run_id)


@shared_task(ignore_result=True)
def sweep() -> None:
    sweeping.sweep()
