"""Control API under /_sim, for loopback only: read the ledger and the state, set faults."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .css import cluster_json, record_json
from .faults import ANY, fault_from_json
from .ledger import entry_json
from .state import STAMPS, JobScript, SimulatedCluster
from .wire import AbortRequest, RawReply, RawRequest, json_reply

if TYPE_CHECKING:
    from .server import Simulator

PREFIX = "/_sim"
_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "engine": (str,),
    "version": (str,),
    "status": (str,),
    "actions": (list,),
    "nodes": (int,),
    "node_status": (str,),
    "description": (str,),
    "created": (int, float),
    "tags": (dict,),
    "failed_code": (str,),
    "failed_message": (str,),
    "job_seconds": (int, float, type(None)),
    "stamps": (str,),
    "search_names": (str,),
    "files": (int,),
    "files_late": (int, float),
    "base_path": (str,),
    "log_backup": (bool, type(None)),
}
MAX_BULK = 20_000
MAX_OBJECTS = 200_000


class ControlApi:
    """Handler of the control API."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def handle(self, request: RawRequest) -> RawReply:
        """Answer one request; errors are `{"error": text}` with status 400, 403 or 404."""
        if not ipaddress.ip_address(request.client).is_loopback:
            return _error(403, "the control API answers clients of this machine only")
        # Web pages of other origins cannot send this type without a CORS preflight, which fails.
        json_sent = request.headers.get("content-type", "").startswith("application/json")
        if request.method != "GET" and not json_sent:
            return _error(400, "send Content-Type: application/json")
        parts = request.path.removeprefix(PREFIX).strip("/").split("/")
        try:
            return json_reply(self._route(request, parts))
        except KeyError as error:
            return _error(404, f"there is no {error.args[0]}")
        except (ValueError, TypeError) as error:
            return _error(400, str(error))
        except AbortRequest as refusal:
            return refusal.reply

    def _route(self, request: RawRequest, parts: list[str]) -> dict[str, Any]:
        handlers: dict[tuple[str, str], Callable[[RawRequest], dict[str, Any]]] = {
            ("GET", "ledger"): self._ledger,
            ("GET", "state"): self._state,
            ("POST", "clusters"): self._add_clusters,
            ("POST", "tokens/expire"): self._expire_tokens,
            ("POST", "reset"): self._reset,
            ("POST", "clock"): self._clock,
        }
        path = "/".join(parts)
        if handler := handlers.get((request.method, path)):
            return handler(request)
        if path == "faults":
            return self._faults(request, ANY)
        if parts[0] == "clusters" and len(parts) > 1:
            return self._cluster(request, parts[1], "/".join(parts[2:]))
        if parts[0] == "buckets" and len(parts) == 2 and request.method == "POST":
            return self._bucket(request, parts[1])
        if parts[0] == "regions" and len(parts) == 2 and request.method == "POST":
            self._simulator.set_listening(parts[1], listening=_flag(request, "listening"))
            return {}
        raise KeyError(f"{request.method} {request.path}")

    def _ledger(self, request: RawRequest) -> dict[str, Any]:
        ledger = self._simulator.ledger
        entries = ledger.entries(
            endpoint=request.query.get("endpoint", ""),
            cluster_id=request.query.get("cluster", ""),
            after=int(request.query.get("after", "0")),
        )
        return {"entries": [entry_json(entry) for entry in entries], "dropped": ledger.dropped}

    def _state(self, request: RawRequest) -> dict[str, Any]:
        simulator = self._simulator
        return {
            "simulator": True,
            "clock": {"now": simulator.clock.now(), "offset": simulator.clock.offset},
            "regions": {region: item.url for region, item in simulator.listeners.items()},
            "clusters": [self._cluster_state(cluster) for cluster in simulator.cloud.clusters()],
            "faults": simulator.faults.listing(),
        }

    def _cluster_state(self, cluster: SimulatedCluster) -> dict[str, Any]:
        cloud = self._simulator.cloud
        elapsed = cloud.clock.elapsed()
        with cloud.lock:
            jobs = list(cluster.jobs)
        return {
            **cluster_json(cluster),
            "projectId": cluster.project_id,
            "logBackup": bool(cluster.log and cluster.log.enabled),
            "jobs": [
                {
                    **record_json(cluster, job, job.status(elapsed)),
                    "listed": job.visible_from <= elapsed,
                    "listedIn": _seconds_until(job.visible_from, elapsed),
                    "startedAt": time.time() - (elapsed - job.started),
                }
                for job in jobs
            ],
        }

    def _add_clusters(self, request: RawRequest) -> dict[str, Any]:
        data = request.json_object()
        count = data.pop("count", None)
        region = data.pop("region", None)
        cluster_fields = _cluster_fields(data)
        cloud = self._simulator.cloud
        if region is not None:
            cluster_fields["project_id"] = cloud.project(region).id
        name = cluster_fields.pop("name", None)
        if not name:
            raise ValueError("a cluster needs a name")
        if count is None:
            return {"ids": [cloud.add_cluster(SimulatedCluster(name=name, **cluster_fields)).id]}
        if not isinstance(count, int) or not 1 <= count <= MAX_BULK:
            raise ValueError(f"count is a number from 1 to {MAX_BULK}")
        names = (f"{name}-{number:04}" for number in range(1, count + 1))
        return {
            "ids": [cloud.add_cluster(SimulatedCluster(name=n, **cluster_fields)).id for n in names]
        }

    def _cluster(self, request: RawRequest, cluster_id: str, what: str) -> dict[str, Any]:
        cloud = self._simulator.cloud
        cluster = cloud.find(cluster_id)
        if what == "faults":
            return self._faults(request, cluster_id)
        if request.method == "PATCH" and not what:
            return cluster_json(
                cloud.change_cluster(cluster_id, _cluster_fields(request.json_object()))
            )
        if request.method == "DELETE" and not what:
            cloud.remove_cluster(cluster_id)
            self._simulator.faults.clear(cluster_id)
            return {}
        if request.method == "POST" and what == "jobs":
            data = request.json_object()
            job_type = data.get("type", "Auto")
            if job_type not in ("Auto", "Manual"):
                raise ValueError("type is Auto or Manual")
            duration = data.get("duration")
            if duration == "never":
                duration = math.inf
            if not isinstance(duration, (int, float, type(None))):
                raise ValueError('duration is a number of seconds or "never"')
            script = JobScript(
                duration=duration,
                failed_message=data.get("failed_message", ""),
            )
            return {"job_id": cloud.start_job(cluster, job_type, script).job_id}
        if request.method == "POST" and what == "jobs/end":
            message = request.json_object().get("failed_message", "")
            return {"ended": cloud.end_jobs(cluster, message)}
        raise KeyError(f"{request.method} {request.path}")

    def _bucket(self, request: RawRequest, name: str) -> dict[str, Any]:
        data, storage = request.json_object(), self._simulator.storage
        if "refusal" in data:
            storage.refuse(name, str(data["refusal"]))
        if "object" in data:
            count = int(data.get("count", 1))
            if not 1 <= count <= MAX_OBJECTS:
                raise ValueError(f"count is a number from 1 to {MAX_OBJECTS}")
            size, age = int(data.get("size", 1)), float(data.get("age", 0.0))
            storage.add(name, str(data["object"]), count, size, age)
        return {}

    def _faults(self, request: RawRequest, scope: str) -> dict[str, Any]:
        if request.method == "POST":
            self._simulator.faults.add(scope, fault_from_json(request.json_object()))
            return {}
        if request.method == "DELETE":
            self._simulator.faults.clear(scope)
            return {}
        raise KeyError(f"{request.method} {request.path}")

    def _expire_tokens(self, request: RawRequest) -> dict[str, Any]:
        return {"expired": self._simulator.identity.expire_tokens()}

    def _reset(self, request: RawRequest) -> dict[str, Any]:
        self._simulator.reset()
        return {}

    def _clock(self, request: RawRequest) -> dict[str, Any]:
        offset = request.json_object().get("offset")
        if not isinstance(offset, (int, float)) or not math.isfinite(offset):
            raise ValueError("offset is a number of seconds")
        self._simulator.clock.offset = float(offset)
        return {"offset": self._simulator.clock.offset}


def _cluster_fields(data: dict[str, Any]) -> dict[str, Any]:
    for name, value in data.items():
        if name not in _FIELDS:
            raise ValueError(f"a cluster has no field {name}; known: {', '.join(_FIELDS)}, region")
        if not isinstance(value, _FIELDS[name]):
            raise ValueError(f"{name} has the wrong type")
    if data.get("stamps", "ms") not in STAMPS:
        raise ValueError(f"stamps is one of {', '.join(STAMPS)}")
    if data.get("search_names", "new") not in ("new", "old"):
        raise ValueError("search_names is new or old")
    cleaned = dict(data)
    if "actions" in cleaned:
        cleaned["actions"] = tuple(map(str, cleaned["actions"]))
    if "tags" in cleaned:
        cleaned["tags"] = tuple((str(key), str(value)) for key, value in cleaned["tags"].items())
    return cleaned


def _seconds_until(moment: float, elapsed: float) -> float | None:
    """Return the seconds until `moment`; None for never, since JSON has no infinity."""
    return max(0.0, moment - elapsed) if math.isfinite(moment) else None


def _flag(request: RawRequest, name: str) -> bool:
    value = request.json_object().get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false")
    return value


def _error(status: int, text: str) -> RawReply:
    return json_reply({"error": text}, status)
