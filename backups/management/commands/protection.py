"""``manage.py protection``: how many clusters are protected, due, overdue or never backed up."""

from __future__ import annotations

from backups.api import clusters
from backups.management.resources import ResourceCommand, Summary


class Command(ResourceCommand):
    help = "Print how many clusters are protected, due, overdue or never backed up."
    resource = "cluster"
    operations = {"": Summary(help, clusters.get_protection)}
