"""The domain's tables. The database row is the truth about a run."""

from .cluster import Cluster, ClusterTag, LogSettings
from .heartbeat import Heartbeat
from .history import Export, ExportAs, SavedView
from .indexes import IsGiven
from .post import Post
from .project import Connection, Project
from .retention import Kind, RetentionPolicy, RetentionRun
from .run import BackupRun
from .traces import ApiCall, RequestKey, RunEvent

__all__ = [
    "ApiCall",
    "BackupRun",
    "Cluster",
    "ClusterTag",
    "Connection",
    "Export",
    "ExportAs",
    "Heartbeat",
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
]
