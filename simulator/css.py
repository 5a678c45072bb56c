"""CSS endpoints with their lists and JSON (docs/css-api.md §1 to §4)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from . import logs
from .faults import PRESETS
from .identity import TokenChecker, TokenVerdict
from .signatures import KeyRing
from .state import NAMESPACE, Job, JobScript, SimulatedCloud, SimulatedCluster
from .wire import AbortRequest, RawReply, RawRequest, css_error, gateway_error, json_reply

Item = TypeVar("Item")


def page(items: Sequence[Item], query: Mapping[str, str]) -> Sequence[Item]:
    """Return the page of `items` that the query selects; by default, the first 10.

    Raises:
        AbortRequest: 400 CSS.5038, a number is invalid or out of range.
    """
    start = _number(query.get("offset") or query.get("start") or "1", maximum=None)
    limit = _number(query.get("limit") or "10", maximum=1000)
    return items[start - 1 : start - 1 + limit]


def _number(text: str, maximum: int | None) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1 or (maximum is not None and value > maximum):
        raise AbortRequest(
            css_error(400, "CSS.5038", "The parameter value is out of range.", text[:40])
        )
    return value


def cluster_json(cluster: SimulatedCluster) -> dict[str, Any]:
    """Return the JSON of a cluster for the list and the detail."""
    # Without a time zone, as in the real cloud.
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


def _instance_json(cluster: SimulatedCluster, number: int) -> dict[str, Any]:
    name = logs.node_names(cluster)[number - 1]
    return {
        "id": str(uuid.uuid5(NAMESPACE, f"{cluster.id} node {number}")),
        "name": name,
        "type": "lgs" if cluster.engine == logs.LOGSTASH else "ess",
        "status": cluster.node_status,
        "specCode": "css.xlarge.2",
        "azCode": f"eu-de-0{(number - 1) % 3 + 1}",
        "ip": f"192.0.2.{number % 250 + 1}",
        "volume": {"type": "COMMON", "size": 100},
    }


def settings_json(cluster: SimulatedCluster, *, real_time: bool) -> dict[str, Any]:
    """Return the JSON for `GET …/logs/settings`."""
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


def record_json(cluster: SimulatedCluster, job: Job, status: str) -> dict[str, Any]:
    """Return the JSON of one record for `GET …/logs/records`."""
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


def _stamp(cluster: SimulatedCluster, milliseconds: int) -> int | str:
    if cluster.stamps == "seconds":
        return milliseconds // 1000 * 1000
    return str(milliseconds) if cluster.stamps == "string" else milliseconds


_PATH = re.compile(r"/v1\.0/([^/]+)/clusters(?:/([^/]+)(?:/logs/([a-z/]+))?)?/?")
_LOG_ENDPOINTS = {
    ("POST", "collect"): "collect",
    ("GET", "records"): "records",
    ("GET", "settings"): "settings",
    ("POST", "settings"): "settings_update",
    ("POST", "open"): "open",
    ("PUT", "close"): "close",
    ("POST", "policy/update"): "policy_update",
    ("PUT", "policy/close"): "policy_close",
    ("POST", "search"): "search",
    ("POST", "connectivity"): "connectivity",
}


@dataclass(frozen=True, slots=True)
class CssRoute:
    """CSS endpoint and the objects that a request path identifies."""

    endpoint: str
    project_id: str
    cluster_id: str = ""


def route(method: str, path: str) -> CssRoute | None:
    """Return the CSS endpoint of a request, or None if there is none."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    project_id, cluster_id, log = match.groups()
    if log is not None:
        endpoint = _LOG_ENDPOINTS.get((method, log.rstrip("/")), "")
    else:
        endpoint = ("detail" if cluster_id else "list") if method == "GET" else ""
    return CssRoute(endpoint, project_id, cluster_id or "") if endpoint else None


class CssService:
    """CSS service, answering from the simulated state."""

    def __init__(
        self,
        state: SimulatedCloud,
        tokens: TokenChecker,
        *,
        keys: KeyRing | None = None,
        foreign_projects: bool,
    ) -> None:
        """Create the service.

        Args:
            state: clusters and jobs.
            tokens: validates tokens.
            keys: validates signed requests; None to have none.
            foreign_projects: whether project ids come from another identity service. Each then
                stands for the first project of this simulator.
        """
        self._state = state
        self._tokens = tokens
        self._keys = keys
        self._foreign_projects = foreign_projects

    def refuse_token(self, where: CssRoute, request: RawRequest) -> RawReply | None:
        """Return the gateway's error if the token gives no access to the project, else None.

        A signed request needs no token: each key gives access to every project.
        """
        if self._keys is not None and self._keys.is_signed(request):
            own = where.project_id in self._state.projects
            if own and request.headers.get("x-project-id", where.project_id) == where.project_id:
                return self._keys.refuse(request)
            return self._keys.refuse(request) or gateway_error(
                403, "APIGW.0302", "The IAM user is not allowed to access", request.request_id
            )
        verdict = self._tokens.check(request.headers.get("x-auth-token", ""), where.project_id)
        if verdict is TokenVerdict.OK:
            return None
        if verdict is TokenVerdict.OTHER_PROJECT:
            return gateway_error(
                403, "APIGW.0302", "The IAM user is not allowed to access", request.request_id
            )
        if verdict is TokenVerdict.UNKNOWN:
            return gateway_error(500, "APIGW.0601", "Internal server error", request.request_id)
        return PRESETS["unauthorized"](request.request_id)

    def handle(self, where: CssRoute, request: RawRequest, script: JobScript) -> RawReply:
        """Answer a request with a valid token; `script` applies to a job that it creates."""
        try:
            if where.endpoint == "list":
                return self._list(where, request)
            cluster = self._cluster(where)
            if where.endpoint == "detail":
                return json_reply({**cluster_json(cluster), "vpcepIp": None, "supportVpcep": False})
            if where.endpoint == "settings":
                real_time = request.query.get("action") == logs.REAL_TIME
                return json_reply(settings_json(cluster, real_time=real_time))
            if where.endpoint == "records":
                return self._records(cluster, request)
            if where.endpoint == "collect":
                return self._collect(cluster, script)
            if where.endpoint == "search":
                return logs.search(cluster, request, self._state.clock)
            with self._state.lock:
                return logs.change(where.endpoint, self._state, cluster, request)
        except AbortRequest as refusal:
            return refusal.reply

    def _project_id(self, where: CssRoute) -> str:
        return self._state.first_project.id if self._foreign_projects else where.project_id

    def _cluster(self, where: CssRoute) -> SimulatedCluster:
        try:
            return self._state.find(where.cluster_id, self._project_id(where))
        except KeyError:
            raise AbortRequest(PRESETS["vanished"]("")) from None

    def _list(self, where: CssRoute, request: RawRequest) -> RawReply:
        clusters = self._state.clusters(self._project_id(where))
        engine = request.query.get("datastoreType")
        if engine:
            clusters = [cluster for cluster in clusters if cluster.engine == engine]
        shown = [
            {**cluster_json(cluster), "snapshotPolicy": None}
            for cluster in page(clusters, request.query)
        ]
        return json_reply({"totalSize": len(clusters), "clusters": shown})

    def _records(self, cluster: SimulatedCluster, request: RawRequest) -> RawReply:
        status = request.query.get("status", "")
        if status not in ("", "FAIL", "NOT_FAIL"):
            raise AbortRequest(
                css_error(400, "CSS.5038", "The parameter value is out of range.", status)
            )
        if cluster.log is None:  # it must have been enabled once
            raise AbortRequest(
                css_error(415, "CSS.0004", "Invalid operation.", "Log backup was never enabled")
            )
        records = self._state.records(cluster, status)
        shown = [record_json(cluster, job, word) for job, word in page(records, request.query)]
        return json_reply({"clusterLogRecord": shown, "totalSize": len(records)})

    def _collect(self, cluster: SimulatedCluster, script: JobScript) -> RawReply:
        with self._state.lock:
            if cluster.status != "200":
                raise AbortRequest(PRESETS["not_allowed"](""))
            if cluster.log is None or not cluster.log.enabled:
                raise AbortRequest(PRESETS["precondition"](""))
            if self._state.running_job(cluster):
                raise AbortRequest(PRESETS["backup_running"](""))
            if cluster.actions:
                raise AbortRequest(PRESETS["busy"](""))
            job = self._state.start_job(cluster, "Manual", script)
        return replace(RawReply(200), job_id=job.job_id)
