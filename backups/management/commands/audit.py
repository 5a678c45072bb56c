"""``manage.py audit``: list and show events of the audit trail; `audit_verify` verifies it."""

from __future__ import annotations

from backups.api import audit
from backups.management.resources import Listing, OfOne, ResourceCommand


class Command(ResourceCommand):
    help = "List events of the audit trail by the filters of its page, or show one."
    resource = "event"
    operations = {
        "list": Listing(
            "List events, newest first.",
            audit.list_audit_events,
            [
                ("EVENT", "sequence"),
                ("AT (UTC)", "at"),
                ("ACTION", "action"),
                ("BY", "actor"),
                ("OBJECT", "target"),
            ],
        ),
        "show": OfOne("Show an event.", audit.get_audit_event),
    }
