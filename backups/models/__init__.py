"""The tables of the domain. The database row is the truth about a run."""

from .batch import Batch, BatchItem
from .changes import ObjectiveChange, ScopeChange
from .cluster import Cluster, ClusterTag, LogSettings
from .files import FileCheck, SeenFile
from .processes import Canary, Heartbeat, Instance, Ticker
from .project import Connection, Project
from .retention import RetentionKind, RetentionPolicy, RetentionRun
from .run import BackupRun, IsGiven
from .run_log import ApiCall, Post, RequestKey, RunEvent
from .saved import Export, ExportAs, SavedView
from .seal import RunSeal, SealBatch

__all__ = [
    "ApiCall",
    "BackupRun",
    "Batch",
    "BatchItem",
    "Canary",
    "Cluster",
    "ClusterTag",
    "Connection",
    "Export",
    "ExportAs",
    "FileCheck",
    "Heartbeat",
    "Instance",
    "IsGiven",
    "LogSettings",
    "ObjectiveChange",
    "Post",
    "Project",
    "RequestKey",
    "RetentionKind",
    "RetentionPolicy",
    "RetentionRun",
    "RunEvent",
    "RunSeal",
    "SavedView",
    "ScopeChange",
    "SealBatch",
    "SeenFile",
    "Ticker",
]
