"""``manage.py clusters``: list and show clusters."""

from __future__ import annotations

from typing import Any

from backups.api import clusters
from backups.management.resources import Listing, OfOne, ResourceCommand
from backups.models import Cluster
from dashboard.commands import usage_error


class Command(ResourceCommand):
    help = "List clusters by the filters of the clusters page, or show one."
    resource = "cluster"
    operations = {
        "list": Listing(
            "List clusters.",
            clusters.list_clusters,
            [
                ("CLUSTER", "cluster"),
                ("PROJECT", "project.name"),
                ("READINESS", "readiness"),
                ("PROTECTION", "protection.state"),
                ("VERIFIED (UTC)", "protection.verified_at"),
            ],
        ),
        "show": OfOne("Show a cluster, by its name or its id.", clusters.get_cluster),
    }

    def parse_key(self, text: str) -> Any:
        """A name or an id."""
        return text

    def number_of(self, key: Any) -> int:
        """The key of the cluster with a name or id."""
        found = list(Cluster.objects.named(key).select_related("project")[:10])
        if len(found) != 1:
            ids = ", ".join(f"{each.cluster_id} ({each.project})" for each in found)
            why = f"is not unique, give the id: {ids}" if found else "is not registered"
            raise usage_error(f"'{key}' {why}")
        return found[0].pk
