"""The domain's tables. The database row is the truth about a run."""

from .cloud import Cluster, Project
from .heartbeat import Heartbeat
from .run import ApiCall, BackupRun, RunEvent

__all__ = ["ApiCall", "BackupRun", "Cluster", "Heartbeat", "Project", "RunEvent"]
