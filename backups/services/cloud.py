"""From a run or project to a client of its cloud."""

from __future__ import annotations

from django.conf import settings

from backups.css_api import session
from backups.css_api.client import CallRecorder, CssClient
from backups.css_api.errors import ConfigurationError
from backups.css_api.wire import Timeouts
from backups.models import BackupRun


def timeouts() -> Timeouts:
    """The limits of one exchange, from the settings."""
    return Timeouts(
        connect=settings.CSS_CONNECT_TIMEOUT,
        read=settings.CSS_READ_TIMEOUT,
        total=settings.CSS_TOTAL_TIMEOUT,
    )


def client_for(run: BackupRun, recorder: CallRecorder) -> CssClient:
    """A client for a run's cloud, once the credentials prove to reach the run's own project.

    Args:
        run: the run; its copied cloud, region and project id count.
        recorder: is told of every exchange.

    Raises:
        ConfigurationError: clouds.yaml has no such cloud, or its credentials now lead to another
            project: the cluster's id would be looked up in the wrong place.
        IdentityError: the identity service gave no token.
    """
    connection = session.connect(run.cloud, run.region, timeouts=timeouts())
    identity = connection.identity()
    if identity.project_id != run.project_id_in_cloud:
        raise ConfigurationError(
            f"the entry '{run.cloud}' of clouds.yaml now reaches project {identity.project_id}, "
            f"but this cluster belongs to project {run.project_id_in_cloud}"
        )
    return CssClient(connection, recorder)
