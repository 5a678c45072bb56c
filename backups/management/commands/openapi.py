"""`manage.py openapi`: write the OpenAPI description of the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backups.api.urls import description


class Command(BaseCommand):
    help = "Print the OpenAPI description of the API, or write it to a file."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, help="instead of the standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it, with sorted keys, so that two versions can be compared."""
        text = json.dumps(description(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if options["file"]:
            options["file"].write_text(text, encoding="utf-8")
        else:
            self.stdout.write(text, ending="")
