"""``manage.py report``: the report of a range of days, as text, CSV or JSON."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from backups.api.problems import Invalid
from backups.api.queries import described, valid
from backups.lists.report import ReportForm
from backups.management.resources import add_filter, request_of, usage_of
from backups.services.report import make_report
from backups.services.report_csv import csv_report, report_document
from dashboard.commands import DatabaseCommand
from dashboard.commands.output import document, json_line, table, width_of

_COLUMNS = [
    ("CLUSTER", "cluster"),
    ("PROJECT", "project"),
    ("PROTECTED %", "protected_percent"),
    ("VERIFIED (UTC)", "last_verified_at"),
    ("AT THE END", "protection_at_end"),
]


class Command(DatabaseCommand):
    help = (
        "Print the report of a range of days: figures and clusters, least protected first. CSV and "
        "JSON have causes and actions too. Without a range, that of the last month."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="print one JSON object")
        form.add_argument("--csv", action="store_true", help="print the CSV of the page")
        for parameter in described(ReportForm):
            add_filter(parser, parameter)

    def handle(self, *args: Any, **options: Any) -> None:
        request, now = request_of(options), timezone.now()
        form = ReportForm(request.GET, user=request.user, now=now)
        try:
            valid(form)
        except Invalid as error:
            raise usage_of(error) from None
        days, project = form.cleaned_data["range"], form.cleaned_data["project"]
        report = make_report(request.user, days, project, now)
        if options["csv"]:
            self.stdout.write(csv_report(report, request.user).decode(), ending="")
            return
        made = report_document(report, request.user)
        if options["json"]:
            self.stdout.write(json_line(made))
            return
        for line in document(made["figures"]):
            self.stdout.write(line)
        self.stdout.write("")
        for line in table(_COLUMNS, made["clusters"], width_of(self.stdout)):
            self.stdout.write(line)
