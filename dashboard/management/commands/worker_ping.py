"""`manage.py worker_ping`: whether the worker of this machine or container answers."""

from __future__ import annotations

from typing import Any

from celery.utils.nodenames import host_format
from django.core.management.base import BaseCommand, CommandError, CommandParser
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from dashboard.celery import app


class Command(BaseCommand):
    help = (
        "Ping this machine's worker over the broker. The exit status is 0 if it answers, else 1. "
        "Use it as a health check for containers."
    )
    requires_system_checks = []  # the worker has made them; a probe has to be quick

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name",
            default="celery@%h",
            help="the worker's name, if it was started with -n, for example worker-1@%%h",
        )
        parser.add_argument("--timeout", type=float, default=5.0, help="seconds (default: 5)")

    def handle(self, *args: Any, name: str, timeout: float, **options: Any) -> None:
        node = host_format(name)
        try:
            answers = app.control.ping(destination=[node], timeout=timeout)
        except (OperationalError, OSError, RedisError) as error:
            why = str(error).partition("\n")[0][:200]
            raise CommandError(f"{node} cannot be pinged: {why}") from error
        if not answers:
            raise CommandError(f"{node} does not answer")
        self.stdout.write(f"{node} answers")
