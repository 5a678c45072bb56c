"""What the list can be narrowed down to beside readiness and protection."""

from __future__ import annotations

from django.db.models import Q, TextChoices
from django.utils.translation import gettext_lazy as _


class Presence(TextChoices):
    """Whether a cluster counts; `PRESENT` is what is shown unless something else is asked for."""

    PRESENT = "present", _("Present")
    GONE = "gone", _("Gone")
    ARCHIVED = "archived", _("Archived")
    ALL = "all", _("All")

    @property
    def condition(self) -> Q:
        """The clusters it means. A cluster that has gone and is archived counts as archived."""
        return {
            Presence.PRESENT: Q(gone_at__isnull=True, archived_at__isnull=True),
            Presence.GONE: Q(gone_at__isnull=False, archived_at__isnull=True),
            Presence.ARCHIVED: Q(archived_at__isnull=False),
            Presence.ALL: Q(),
        }[self]


_IDLE = Q(actions=[])


class CloudState(TextChoices):
    """What the cloud says of a cluster; `Cluster.status_label` has the same words."""

    AVAILABLE = "available", _("Available")
    BUSY = "busy", _("Busy")
    CREATING = "creating", _("Creating")
    UNAVAILABLE = "unavailable", _("Unavailable")
    FAILED = "failed", _("Failed")
    OTHER = "other", _("Not known")

    @property
    def condition(self) -> Q:
        """The clusters it means, wherever they are."""
        if self is CloudState.BUSY:
            return ~_IDLE
        if self is CloudState.OTHER:
            return _IDLE & ~Q(status__in=_STATUS.values())
        return _IDLE & Q(status=_STATUS[self])


_STATUS = {
    CloudState.AVAILABLE: "200",
    CloudState.CREATING: "100",
    CloudState.UNAVAILABLE: "300",
    CloudState.FAILED: "303",
}


class Engine(TextChoices):
    """Kinds of clusters, as querying_the_cluster_list names them (`datastoreType`)."""

    ELASTICSEARCH = "elasticsearch", "Elasticsearch"
    OPENSEARCH = "opensearch", "OpenSearch"
    LOGSTASH = "logstash", "Logstash"
    OTHER = "other", _("Other")

    @property
    def condition(self) -> Q:
        """The clusters it means."""
        if self is Engine.OTHER:
            known = [each for each in Engine if each is not Engine.OTHER]
            return ~Q(*(Q(engine__iexact=each) for each in known), _connector=Q.OR)
        return Q(engine__iexact=self)
