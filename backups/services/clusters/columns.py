"""The cloud's descriptions as columns of our tables: pure, no I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from backups.choices import Readiness
from backups.css_api.types import ClusterInfo, LogSettingsInfo


def state_columns(info: ClusterInfo) -> dict[str, Any]:
    """The columns of `Cluster` that say what state a cluster is in."""
    return {
        "status": info.status[:20],
        "actions": [action[:100] for action in info.actions],
        "nodes": [
            {"name": node.name, "type": node.type, "status": node.status} for node in info.instances
        ],
        "endpoint": ", ".join(info.endpoints)[:500],
        "failed_reason": " ".join(p for p in (info.failed_code, info.failed_message) if p),
    }


def cluster_columns(info: ClusterInfo) -> dict[str, Any]:
    """All columns of `Cluster` that come from the cloud's description."""
    return {
        "name": (info.name or info.id)[:255],
        "engine": info.engine[:50],
        "version": info.version[:50],
        "created_in_cloud_at": info.created,
        **state_columns(info),
    }


def gone_columns(at: datetime) -> dict[str, Any]:
    """The columns of a cluster that has gone: whatever it was, it is no longer ready."""
    return {
        "gone_at": at,
        "readiness": Readiness.UNAVAILABLE,
        "readiness_detail": "Gone from the cloud.",  # stored, and so in English
    }


def settings_columns(found: LogSettingsInfo) -> dict[str, Any]:
    """The columns of `LogSettings` that decide whether a backup can be stored."""
    return {
        "enabled": found.enabled,
        "bucket": found.bucket[:255],
        "base_path": found.base_path[:1024],
        "agency": found.agency[:255],
    }


def policy_columns(found: LogSettingsInfo) -> dict[str, Any]:
    """The columns of `LogSettings` for the cloud's own daily backup."""
    return {"automatic": found.auto_enabled, "period": found.period[:40]}
