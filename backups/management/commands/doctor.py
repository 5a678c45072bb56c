"""``manage.py doctor``: what is wrong with this installation, and what to type."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.management.doctor import Finding, State, examine
from dashboard.commands import Exit
from dashboard.commands.output import json_line, plain, width_of

_WIDTH = 80


class Command(BaseCommand):
    help = (
        "Check database, migrations, guards, broker, worker, sweep, every cloud step by step with "
        "its clock, disk, TLS and settings, and print what is wrong and what to type. Nothing is "
        "changed. Exit status: 0 if nothing is wrong, 1 if something is, 4 if the database cannot "
        "be used."
    )
    requires_system_checks = []  # it makes them itself

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        found = []
        for each in examine():
            found.append(each)
            if options["json"]:
                self.stdout.write(json_line(asdict(each)))
            else:
                self._print(each)
            self.stdout.flush()
        wrong = [each for each in found if each.state is State.PROBLEM]
        if any(each.check == "database" for each in wrong):
            raise CommandError("the database is not usable", returncode=Exit.DATABASE)
        if wrong:
            words = "problem" if len(wrong) == 1 else "problems"
            raise CommandError(f"{len(wrong)} {words}", returncode=Exit.NOT_WELL)

    def _print(self, found: Finding) -> None:
        self._wrap(f"{found.state.upper():8} {found.check}: {found.text}")
        if found.hint:
            self._wrap(f"{'':8} → {found.hint}")

    def _wrap(self, text: str) -> None:
        width = width_of(self.stdout) or _WIDTH
        # commands and URLs stay whole, to be copied
        whole: dict[str, Any] = {"break_on_hyphens": False, "break_long_words": False}
        for line in textwrap.wrap(plain(text), width, subsequent_indent=" " * 9, **whole):
            self.stdout.write(line)
