"""Typed client of the simulator's control API, for tests and the chaos run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from .ledger import LedgerEntry

TIMEOUT = (5.0, 30.0)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the cloud knows it, even if its record is not listed yet.

    Attributes (the others are those of the record, with times in milliseconds):
        listed_in: seconds until the record is listed; 0 if it is listed, None for never.
        started_at: Unix seconds on this machine's clock, as in the ledger, not the cloud's.
    """

    job_id: str
    record_id: str
    type: str
    status: str
    created_ms: int
    finished_ms: int | None
    failed_message: str
    listed: bool
    listed_in: float | None = 0.0
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster with all its jobs, oldest first."""

    id: str
    name: str
    project_id: str
    status: str
    actions: tuple[str, ...]
    log_backup: bool
    jobs: tuple[JobView, ...]


class ControlError(Exception):
    """The control API rejected a request; the message is its reason."""


class SimulatorControl:
    """Controls a running simulator. Thread-safe."""

    def __init__(self, url: str) -> None:
        """Create a client; `url` is the one that the simulator printed, without a path."""
        self._url = url.rstrip("/") + "/_sim"

    def ledger(self, *, endpoint: str = "", cluster: str = "", after: int = 0) -> list[LedgerEntry]:
        """Return the received requests in order (GET /_sim/ledger).

        Raises:
            ControlError: requested entries were dropped, so the answer would be incomplete.
        """
        query = {"endpoint": endpoint, "cluster": cluster, "after": str(after)}
        answer = self._call("GET", "/ledger", query=query)
        if answer["dropped"] > after:
            raise ControlError(f"the ledger gave up its first {answer['dropped']} entries")
        entries = []
        for row in answer["entries"]:
            row.pop("processed")
            entries.append(LedgerEntry(**{**row, "faults": tuple(row["faults"])}))
        return entries

    def clusters(self) -> list[ClusterView]:
        """Return all clusters with their jobs, newest cluster first (GET /_sim/state)."""
        return [_cluster_view(row) for row in self._call("GET", "/state")["clusters"]]

    def cluster(self, cluster_id: str) -> ClusterView:
        """Return a cluster.

        Raises:
            KeyError: there is no such cluster.
        """
        for view in self.clusters():
            if view.id == cluster_id:
                return view
        raise KeyError(cluster_id)

    def faults(self) -> list[dict[str, Any]]:
        """Return the active faults (GET /_sim/state)."""
        return list(self._call("GET", "/state")["faults"])

    def add_cluster(self, name: str, **fields: Any) -> str:
        """Add a cluster and return its id; see the README for the fields (POST /_sim/clusters)."""
        return str(self._call("POST", "/clusters", {"name": name, **fields})["ids"][0])

    def add_clusters(self, count: int, name: str = "load", **fields: Any) -> list[str]:
        """Add `name`-0001 to `name`-`count` and return their ids (POST /_sim/clusters)."""
        answer = self._call("POST", "/clusters", {"name": name, "count": count, **fields})
        return [str(each) for each in answer["ids"]]

    def change_cluster(self, cluster_id: str, **fields: Any) -> None:
        """Change a cluster (PATCH /_sim/clusters/{id})."""
        self._call("PATCH", f"/clusters/{cluster_id}", fields)

    def remove_cluster(self, cluster_id: str) -> None:
        """Delete a cluster with its records (DELETE /_sim/clusters/{id})."""
        self._call("DELETE", f"/clusters/{cluster_id}")

    def fault(
        self,
        kind: str,
        cluster: str = "",
        *,
        endpoint: str = "collect",
        times: int | None = None,
        **parameters: Any,
    ) -> None:
        """Activate a fault for a cluster id, "" for all clusters; see `simulator.faults.Fault`."""
        data = {"kind": kind, "endpoint": endpoint, "times": times, **parameters}
        self._call("POST", _faults_path(cluster), data)

    def clear_faults(self, cluster: str = "") -> None:
        """Remove the faults of a cluster id; "" removes those that were set for all clusters."""
        self._call("DELETE", _faults_path(cluster))

    def start_job(
        self,
        cluster_id: str,
        job_type: str = "Auto",
        *,
        duration: float | str | None = None,
        failed_message: str = "",
    ) -> str:
        """Start a job that the product did not request.

        Args:
            cluster_id: the cluster.
            job_type: "Auto" for the schedule's job, "Manual" for one from the cloud's console.
            duration: seconds, "never" for a job that does not end, or None for the default.
            failed_message: message with which the job fails; "" for success.

        Returns:
            The job id.
        """
        data = {"type": job_type, "duration": duration, "failed_message": failed_message}
        return str(self._call("POST", f"/clusters/{cluster_id}/jobs", data)["job_id"])

    def end_jobs(self, cluster_id: str, failed_message: str = "") -> int:
        """End a cluster's running jobs now, as FAIL if a message is given; return their number."""
        data = {"failed_message": failed_message}
        return int(self._call("POST", f"/clusters/{cluster_id}/jobs/end", data)["ended"])

    def refuse_bucket(self, bucket: str, refusal: str) -> None:
        """Refuse to list a bucket: denied, missing, moved or busy; "" accepts requests again."""
        self._call("POST", f"/buckets/{bucket}", {"refusal": refusal})

    def add_objects(
        self, bucket: str, name: str, count: int = 1, *, size: int = 1, age: float = 0.0
    ) -> None:
        """Add objects to a bucket.

        Args:
            bucket: name of the bucket.
            name: of the object; with a count above 1 a number follows it.
            count: number of objects.
            size: bytes of each.
            age: how many seconds ago they were written.
        """
        data = {"object": name, "count": count, "size": size, "age": age}
        self._call("POST", f"/buckets/{bucket}", data)

    def expire_tokens(self) -> int:
        """Expire all tokens; return their number (POST /_sim/tokens/expire)."""
        return int(self._call("POST", "/tokens/expire")["expired"])

    def set_clock(self, offset: float) -> None:
        """Set the cloud's clock `offset` seconds ahead of this machine's (POST /_sim/clock)."""
        self._call("POST", "/clock", {"offset": offset})

    def set_listening(self, region: str, *, listening: bool) -> None:
        """Make a region refuse connections, or accept them again; not for the first region."""
        self._call("POST", f"/regions/{region}", {"listening": listening})

    def reset(self) -> None:
        """Reset the simulator to its initial state, with an empty ledger (POST /_sim/reset)."""
        self._call("POST", "/reset")

    def _call(
        self,
        method: str,
        path: str,
        data: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            body = None if method == "GET" else data or {}
            answer = session.request(
                method, self._url + path, json=body, params=query, timeout=TIMEOUT
            )
        value = answer.json()
        if not answer.ok:
            raise ControlError(f"{answer.status_code}: {value.get('error')}")
        return dict(value)


def _faults_path(cluster: str) -> str:
    return f"/clusters/{cluster}/faults" if cluster else "/faults"


def _cluster_view(row: dict[str, Any]) -> ClusterView:
    return ClusterView(
        id=row["id"],
        name=row["name"],
        project_id=row["projectId"],
        status=row["status"],
        actions=tuple(row["actions"]),
        log_backup=row["logBackup"],
        jobs=tuple(_job_view(job) for job in row["jobs"]),
    )


def _job_view(job: dict[str, Any]) -> JobView:
    finished = job["finishedAt"]
    return JobView(
        job_id=job["jobId"],
        record_id=job["id"],
        type=job["jobTypes"],
        status=job["status"],
        created_ms=int(job["createAt"]),
        finished_ms=None if finished is None else int(finished),
        failed_message=job["failedMsg"] or "",
        listed=job["listed"],
        listed_in=job["listedIn"],
        started_at=job["startedAt"],
    )
