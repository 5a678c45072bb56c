"""``manage.py adopt``: let this instance send requests from a copied or moved database."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups import instance
from backups.models import Instance
from backups.services.adopting import NothingToAdopt, ReasonMissing, adopt
from dashboard.audit.trail import Actor
from dashboard.commands import DatabaseCommand, shell_user


class Command(DatabaseCommand):
    help = (
        "Adopt a database from another instance or host. Until then nothing is sent to a cloud. "
        "Queued runs of the copy are cancelled, because the other instance may have sent them; "
        "with --moved they are sent from here. The command checks no role: running it requires "
        "shell access."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", required=True, help="stored in the audit trail")
        parser.add_argument(
            "--moved",
            action="store_true",
            help="the instance was moved here, or its SECRET_KEY or database server changed; "
            "no other instance uses the data, or has used it since it was copied",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.process(shell_user())
        instance.look_around()
        before = instance.uid()
        try:
            cancelled = adopt(actor, options["reason"], moved=options["moved"])
        except (NothingToAdopt, ReasonMissing) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"adopted; {cancelled} queued runs cancelled")
        if Instance.objects.get(pk=1).uid != before:
            self.stdout.write("The instance has got another id: restart web and workers.")
