"""``manage.py audit_verify``: verify the hash chain of the audit trail."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from dashboard.audit import verification
from dashboard.audit.models import Verification
from dashboard.audit.trail import ChainLink
from dashboard.commands import DatabaseCommand
from dashboard.commands.output import json_line


def link(text: str) -> ChainLink:
    """Parse a head as in the log: number, colon, hash."""
    number, colon, digest = text.partition(":")
    if not (colon and number.isdecimal() and len(digest) == 64):
        raise ArgumentTypeError(f"'{text}' is not NUMBER:HASH")
    return ChainLink(int(number), digest.lower())


# of a verification, as in the API
_COLUMNS = (
    *("result", "first", "last", "events", "head", "broken_at", "problem"),
    *("guards_missing", "records", "pending"),
)


class Command(DatabaseCommand):
    help = (
        "Verify the whole audit trail; print the intact range and the first break. Exit status: 0 "
        "if it is intact, 1 if it is broken, a record differs from its seal or a database trigger "
        "is missing, 3 if another process "
        "is verifying it, 4 if the database cannot be used, 5 if it is intact but retention has "
        "deleted the event of a given head."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head",
            type=link,
            action="append",
            default=[],
            metavar="NUMBER:HASH",
            help="a head stored elsewhere, as from the log, which must be in the chain; can be "
            "repeated",
        )

        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = verification.request_verification()
        if not verification.run_verification(asked, options["head"]):
            raise CommandError(
                "another process is verifying the trail; see the page for its result", returncode=3
            )
        if options["json"]:
            self.stdout.write(json_line({name: getattr(asked, name) for name in _COLUMNS}))
        else:
            self._print(asked)
        if asked.broken_at is not None:
            raise CommandError(f"broken at event {asked.broken_at}: {asked.problem}", returncode=1)
        if asked.result == asked.Result.BROKEN:
            raise CommandError(f"sealed records: {asked.problem}", returncode=1)
        if asked.guards_missing:
            raise CommandError(f"missing triggers: {asked.guards_missing}", returncode=1)
        # The hash of the last deleted event is stored and was compared.
        gone = [head for head in options["head"] if head.sequence < (asked.first or 1) - 1]
        if gone:
            numbers = ", ".join(str(head.sequence) for head in gone)
            raise CommandError(
                "heads that cannot be checked because retention deleted their events: " + numbers,
                returncode=5,
            )

    def _print(self, asked: Verification) -> None:
        if asked.events:
            self.stdout.write(
                f"events {asked.first} to {asked.last} are intact ({asked.events}), "
                f"head {asked.last}:{asked.head}"
            )
        elif asked.broken_at is None:
            self.stdout.write("the trail is empty")
        if asked.records:
            self.stdout.write(f"{asked.records} runs were compared with their seals")
        if asked.pending:
            self.stdout.write(f"{asked.pending} ended runs have been unsealed for over a minute")
