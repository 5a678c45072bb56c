"""``manage.py runs``: list, show and cancel runs."""

from __future__ import annotations

from backups.api import runs
from backups.management.resources import Listing, OfOne, ResourceCommand


class Command(ResourceCommand):
    help = "List runs by the filters of the history, show one, or cancel one that was not sent."
    resource = "run"
    operations = {
        "list": Listing(
            "List runs, newest first.",
            runs.list_runs,
            [
                ("RUN", "run_id"),
                ("CLUSTER", "cluster"),
                ("STATE", "state"),
                ("OUTCOME", "outcome"),
                ("CODE", "error_code"),
                ("REQUESTED (UTC)", "requested_at"),
            ],
        ),
        "show": OfOne("Show a run with its events and API calls.", runs.get_run),
        "cancel": OfOne("Cancel a run that was not sent.", runs.cancel_run, "cancelled"),
    }
