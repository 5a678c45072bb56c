"""The state as CSS writes it: field names and types of docs/css-api.md §1b, §2 and §3."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from .state import NAMESPACE, Cluster, Job


def cluster_json(cluster: Cluster) -> dict[str, Any]:
    """One cluster as the list and the detail show it."""
    # The cloud gives no time zone here, so neither do we.
    created = datetime.fromtimestamp(cluster.created, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    value: dict[str, Any] = {
        "id": cluster.id,
        "name": cluster.name,
        "desc": cluster.description,
        "status": cluster.status,
        "actions": list(cluster.actions),
        "actionProgress": dict.fromkeys(cluster.actions, "42%"),
        "datastore": {
            "type": cluster.engine,
            "version": cluster.version,
            "supportSecuritymode": False,
        },
        "instances": [_instance_json(cluster, number) for number in range(1, cluster.nodes + 1)],
        "endpoint": f"192.0.2.{cluster.order % 250 + 1}:9200" if cluster.nodes else None,
        "created": created,
        "updated": created,
        "tags": [{"key": key, "value": value} for key, value in cluster.tags],
        "httpsEnable": False,
        "authorityEnable": False,
        "diskEncrypted": False,
        "backupAvailable": False,
        "vpcId": str(uuid.uuid5(NAMESPACE, "vpc")),
        "subnetId": str(uuid.uuid5(NAMESPACE, "subnet")),
        "securityGroupId": str(uuid.uuid5(NAMESPACE, "security group")),
        "enterpriseProjectId": "0",
        "bandwidthSize": 0,
        "period": False,
    }
    if cluster.failed_code:
        value["failedReason"] = {
            "errorCode": cluster.failed_code,
            "errorMsg": cluster.failed_message,
        }
    return value


def _instance_json(cluster: Cluster, number: int) -> dict[str, Any]:
    name = f"{cluster.name}-ess-esn-{number}-1"
    return {
        "id": str(uuid.uuid5(NAMESPACE, f"{cluster.id} node {number}")),
        "name": name,
        "type": "ess",
        "status": cluster.node_status,
        "specCode": "css.xlarge.2",
        "azCode": f"eu-de-0{(number - 1) % 3 + 1}",
        "ip": f"192.0.2.{number % 250 + 1}",
        "volume": {"type": "COMMON", "size": 100},
    }


def settings_json(cluster: Cluster, *, real_time: bool) -> dict[str, Any]:
    """The answer of `GET …/logs/settings`."""
    if real_time:
        collection = cluster.real_time
        return {
            "logConfiguration": None,
            "realTimeLogCollectRecord": collection
            and {
                "id": collection.id,
                "clusterId": cluster.id,
                "indexPrefix": collection.index_prefix,
                "keepDays": collection.keep_days,
                "targetClusterId": collection.target_cluster_id,
                "status": "200",
                "createAt": collection.created_ms,
                "updateAt": collection.updated_ms,
            },
        }
    log = cluster.log
    return {
        "logConfiguration": log
        and {
            "id": log.id,
            "clusterId": cluster.id,
            "obsBucket": log.bucket,
            "agency": log.agency,
            "updateAt": log.updated_ms,
            "basePath": log.base_path,
            "autoEnable": log.auto_enabled,
            "period": log.period or None,
            "logSwitch": log.enabled,
        },
        "realTimeLogCollectRecord": None,
    }


def record_json(cluster: Cluster, job: Job, status: str) -> dict[str, Any]:
    """One row of `GET …/logs/records`."""
    running = status == "RUNNING"
    return {
        "id": job.record_id,
        "clusterId": job.cluster_id,
        "createAt": _stamp(cluster, job.created_ms),
        "logPath": job.log_path,
        "status": status,
        "finishedAt": None
        if running
        else _stamp(cluster, job.created_ms + int(job.duration * 1000)),
        "jobTypes": job.type,
        "failedMsg": job.failed_message if status == "FAIL" else None,
        "jobId": job.job_id,
    }


def _stamp(cluster: Cluster, milliseconds: int) -> int | str:
    if cluster.stamps == "seconds":
        return milliseconds // 1000 * 1000
    return str(milliseconds) if cluster.stamps == "string" else milliseconds
