"""``manage.py run``: everything on this machine, until Ctrl-C. `make run` calls it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from dashboard.local_run.startup import run


class Command(BaseCommand):
    help = (
        "Start the dashboard with everything it needs: a private Redis, the simulator if no cloud "
        "is configured, the web server and a worker. Reads HOST, PORT, DATA_DIR, DATABASE_URL, "
        "REDIS_URL, DEMO_CLOUD and OS_*."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stop-with-parent",
            action="store_true",
            help="stop when the parent process ends",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(
            run(
                dict(os.environ),
                base_dir=settings.BASE_DIR,
                data_dir=settings.DATA_DIR,
                parent=os.getppid() if options["stop_with_parent"] else None,
            )
        )
