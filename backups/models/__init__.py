"""The domain's tables. The database row is the truth about a run."""

from .canary import Canary
from .cluster import Cluster, ClusterTag, LogSettings
from .heartbeat import Heartbeat, Ticker
from .indexes import IsGiven
from .instance import Instance
from .post import Post
from .project import Connection, Project
from .retention import Kind, RetentionPolicy, RetentionRun
from .run import BackupRun
from .run_log import ApiCall, RequestKey, RunEvent
from .saved import Export, ExportAs, SavedView

__all__ = [
    "ApiCall",
    "BackupRun",
    "Canary",
    "Cluster",
    "ClusterTag",
    "Connection",
    "Export",
    "ExportAs",
    "Heartbeat",
    "Instance",
    "IsGiven",
    "Kind",
    "LogSettings",
    "Post",
    "Project",
    "RequestKey",
    "RetentionPolicy",
    "RetentionRun",
    "RunEvent",
    "SavedView",
    "Ticker",
]
