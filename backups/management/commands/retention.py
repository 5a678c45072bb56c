"""``manage.py retention``: show what retention would delete or mask, or run it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from backups.api.audit import get_retention
from backups.management.resources import request_of
from backups.models import RetentionPolicy
from backups.services import retention
from dashboard.audit.trail import Actor
from dashboard.commands import DatabaseCommand, shell_user
from dashboard.commands.output import json_line


class Command(DatabaseCommand):
    help = "Show what the retention policy would delete or mask now; with --run, do it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--run", action="store_true", help="run the clean-up now, due or not")

    def handle(self, *args: Any, **options: Any) -> None:
        policy = RetentionPolicy.current()
        if options["run"]:
            self._run(policy, as_json=options["json"])
            return
        if options["json"]:
            self.stdout.write(json_line(get_retention(request_of())))
            return
        for found in retention.preview(policy):
            if found.cutoff is None:
                self.stdout.write(f"{found.kind.label}: kept for ever")
            else:
                count = f"{found.count:,}{'+' if found.more else ''}"
                self.stdout.write(
                    f"{found.kind.label}: {count} from before {found.cutoff:%Y-%m-%d %H:%M} UTC"
                )

    def _run(self, policy: RetentionPolicy, *, as_json: bool) -> None:
        actor = Actor.process(shell_user())
        done: dict[str, int] = {}
        retention.continue_open()
        for kind in retention.ORDER:
            run = retention.start(kind, policy, actor=actor)
            if run is not None and retention.work(run):
                if not as_json:
                    self.stdout.write(f"{run.kind}: {run.done}")
                done[str(run.kind)] = run.done
        if as_json:
            self.stdout.write(json_line(done))
