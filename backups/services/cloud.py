"""The API client for a run, cluster or project."""

from __future__ import annotations

from django.conf import settings

from backups import run_events
from backups.css_api import exchange, session
from backups.css_api.client import CallRecorder, CssClient
from backups.css_api.errors import ConfigurationError
from backups.css_api.object_storage import ObjectStorage
from backups.models import BackupRun, Cluster, Project
from dashboard.http.wire import Timeouts

exchange.observers.append(run_events.cloud_called)


def default_timeouts() -> Timeouts:
    """The timeouts of a request, from the settings."""
    return Timeouts(
        connect=settings.CSS_CONNECT_TIMEOUT,
        read=settings.CSS_READ_TIMEOUT,
        total=settings.CSS_TOTAL_TIMEOUT,
    )


# For requests during a page load: short, so that a hanging cloud blocks a web server thread for
# seconds, not for a minute.
INTERACTIVE = Timeouts(connect=3.0, read=10.0, total=15.0)


def client_for(
    subject: BackupRun | Cluster | Project,
    recorder: CallRecorder | None = None,
    *,
    timeouts: Timeouts | None = None,
) -> CssClient:
    """Sign in, check that the credentials reach the expected project, and return a client.

    Args:
        subject: the run (its own cloud, region and project id are used), cluster or project.
        recorder: called for each exchange.
        timeouts: None for those in the settings.

    Raises:
        ConfigurationError: clouds.yaml has no such cloud, or its credentials now reach another
            project, in which the cluster's id is not valid.
        IdentityError: the identity service issued no token.
    """
    return CssClient(_connection(subject, timeouts), recorder)


def storage_for(subject: BackupRun | Cluster, *, timeouts: Timeouts | None = None) -> ObjectStorage:
    """As `client_for`, a client of the object storage."""
    return ObjectStorage(_connection(subject, timeouts))


def _connection(
    subject: BackupRun | Cluster | Project, timeouts: Timeouts | None
) -> session.CloudConnection:
    where = subject.project if isinstance(subject, Cluster) else subject
    wanted = where.project_id_in_cloud if isinstance(where, BackupRun) else where.project_id
    connection = session.connect(where.cloud, where.region, timeouts=timeouts or default_timeouts())
    identity = connection.identity()
    if identity.project_id != wanted:
        raise ConfigurationError(
            f"the entry '{where.cloud}' of clouds.yaml now reaches project {identity.project_id}, "
            f"but this cluster belongs to project {wanted}"
        )
    return connection
