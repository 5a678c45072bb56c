"""``manage.py audit_export``: the audit trail as signed JSON Lines."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from dashboard.audit.export import ExportError, export, find_range, public_pem, signing_key
from dashboard.audit.trail import Actor
from dashboard.commands import DatabaseCommand, shell_user
from dashboard.web.moments import within_calendar


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is not an ISO 8601 time") from error
    return within_calendar(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


class Command(DatabaseCommand):
    help = (
        "Export events of the audit trail as JSON Lines signed with Ed25519, for "
        "tools/verify_audit_export.py. The export is recorded as an event."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", type=int, dest="first", metavar="NUMBER", help="first event")
        parser.add_argument("--to", type=int, dest="last", metavar="NUMBER", help="last event")
        parser.add_argument("--since", type=moment, help="events from this time on (UTC)")
        parser.add_argument("--until", type=moment, help="events before this time (UTC)")
        parser.add_argument(
            "--output",
            metavar="FILE",
            help="file to write, readable by you only; default: standard output",
        )
        parser.add_argument(
            "--public-key", action="store_true", help="only print the public key as PEM"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            key = signing_key()
        except (ImproperlyConfigured, OSError) as error:
            raise CommandError(str(error)) from None
        if options["public_key"]:
            self.stdout.write(public_pem(key), ending="")
            return
        actor = Actor.process(shell_user())
        try:
            chosen = find_range(
                options["first"], options["last"], options["since"], options["until"]
            )
            lines = export(chosen, key=key, actor=actor)
            if options["output"]:
                self._write_file(options["output"], lines)
            else:
                for line in lines:
                    self.stdout.write(line, ending="")
        except BrokenPipeError:  # manage.py ends quietly
            raise
        except (ExportError, OSError) as error:
            raise CommandError(str(error), returncode=1) from error
        self.stderr.write(f"events {chosen.after.sequence + 1} to {chosen.last} exported")

    def _write_file(self, path: str, lines: Iterable[str]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
            file.writelines(lines)
