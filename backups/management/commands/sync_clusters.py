"""``manage.py sync_clusters``: register the clusters of the configured clouds."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from backups.css_api.errors import ConfigurationError
from backups.services.connections.sync import ProjectSync, sync_clusters
from dashboard.commands import DatabaseCommand, usage_error
from dashboard.commands.output import json_line


class Command(DatabaseCommand):
    help = (
        "Register the clusters of every cloud in clouds.yaml (or of one), and mark missing ones as "
        "gone. History is never deleted. Exit status: 0, but 1 if a cloud could not be read, 2 if "
        "none is configured or it is unknown, 4 if the database cannot be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cloud", default="", help="only this entry of clouds.yaml")
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            results = sync_clusters(options["cloud"])
        except ConfigurationError as error:
            raise usage_error(str(error)) from error
        for result in results:
            self.stdout.write(json_line(asdict(result)) if options["json"] else _line(result))
        failed = sum(bool(result.error) for result in results)
        if failed:
            raise CommandError(f"{failed} of {len(results)} could not be synchronised")


def _line(result: ProjectSync) -> str:
    where = " / ".join(part for part in (result.cloud, result.region, result.project) if part)
    if result.error:
        return f"{where}: FAILED: {result.error}"
    if result.aside:
        return f"{where}: not used, only the profile names it: {result.aside}"
    return f"{where}: {result.listed} clusters, {result.added} new, {result.gone} gone"
