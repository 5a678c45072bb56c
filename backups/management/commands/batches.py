"""``manage.py batches``: list, show and cancel batches; `backup --filter` makes them."""

from __future__ import annotations

from backups.api import batches
from backups.management.resources import Listing, OfOne, ResourceCommand


class Command(ResourceCommand):
    help = "List batches, show one with its progress, or cancel what waits of one."
    resource = "batch"
    operations = {
        "list": Listing(
            "List batches, newest first.",
            batches.list_batches,
            [
                ("BATCH", "batch_id"),
                ("WORK", "work"),
                ("BY", "requested_by"),
                ("REQUESTED (UTC)", "requested_at"),
                ("ENDED (UTC)", "finished_at"),
            ],
        ),
        "show": OfOne("Show a batch with its progress.", batches.get_batch),
        "cancel": OfOne("Cancel what was not sent.", batches.cancel_batch, "cancelled"),
    }
