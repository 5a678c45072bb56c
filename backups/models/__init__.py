"""The tables of the domain. The database row is the truth about a run."""

from .batch import Batch, BatchItem
from .changes import ObjectiveChange, ScopeChange
from .cluster import Cluster, ClusterTag, LogSettings
from .files import FileCheck, SeenFile
from .handling import Handling
from .notification import Alert, Channel, Delivery, Notice, NoticeDelivery, Rule
from .processes import Canary, Heartbeat, Instance, Ticker
from .project import Connection, Project
from .retention import RetentionKind, RetentionPolicy, RetentionRun
from .run import BackupRun, IsGiven
from .run_log import ApiCall, Post, RequestKey, RunEvent
from .saved import Export, ExportAs, Listing, SavedView
from .schedule import Firing, Schedule
from .seal import RunSeal, SealBatch

__all__ = [
    "Alert",
    "ApiCall",
    "BackupRun",
    "Batch",
    "BatchItem",
    "Canary",
    "Channel",
    "Cluster",
    "ClusterTag",
    "Connection",
    "Delivery",
    "Export",
    "ExportAs",
    "FileCheck",
    "Firing",
    "Handling",
    "Heartbeat",
    "Instance",
    "IsGiven",
    "Listing",
    "LogSettings",
    "Notice",
    "NoticeDelivery",
    "ObjectiveChange",
    "Post",
    "Project",
    "RequestKey",
    "RetentionKind",
    "RetentionPolicy",
    "RetentionRun",
    "Rule",
    "RunEvent",
    "RunSeal",
    "SavedView",
    "Schedule",
    "ScopeChange",
    "SealBatch",
    "SeenFile",
    "Ticker",
]
