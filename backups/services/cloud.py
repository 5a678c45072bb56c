"""From a run, cluster or project to a client of its cloud."""

from __future__ import annotations

from django.conf import settings

from backups.css_api import session
from backups.css_api.client import CallRecorder, CssClient
from backups.css_api.errors import ConfigurationError
from backups.models import BackupRun, Cluster, Project
from dashboard.http.wire import Timeouts


def default_timeouts() -> Timeouts:
    """The limits of one exchange, from the settings."""
    return Timeouts(
        connect=settings.CSS_CONNECT_TIMEOUT,
        read=settings.CSS_READ_TIMEOUT,
        total=settings.CSS_TOTAL_TIMEOUT,
    )


# While somebody looks at a page that is loading: short, so that a cloud that hangs holds one of the
# web server's threads for seconds, not for a minute.
INTERACTIVE = Timeouts(connect=3.0, read=10.0, total=15.0)


def client_for(
    subject: BackupRun | Cluster | Project,
    recorder: CallRecorder | None = None,
    *,
    timeouts: Timeouts | None = None,
) -> CssClient:
    """A client for a cloud, once the credentials prove to reach the project that is meant.

    Args:
        subject: the run, whose copied cloud, region and project id count; the cluster, whose
            project counts; or the project.
        recorder: is told of every exchange.
        timeouts: how long to wait; None for the settings' limits.

    Raises:
        ConfigurationError: clouds.yaml has no such cloud, or its credentials now lead to another
            project: the cluster's id would be looked up in the wrong place.
        IdentityError: the identity service gave no token.
    """
    where = subject.project if isinstance(subject, Cluster) else subject
    wanted = where.project_id_in_cloud if isinstance(where, BackupRun) else where.project_id
    connection = session.connect(where.cloud, where.region, timeouts=timeouts or default_timeouts())
    identity = connection.identity()
    if identity.project_id != wanted:
        raise ConfigurationError(
            f"the entry '{where.cloud}' of clouds.yaml now reaches project {identity.project_id}, "
            f"but this cluster belongs to project {wanted}"
        )
    return CssClient(connection, recorder)
