"""State of the simulated cloud: clock, projects, clusters and jobs."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime


class CloudClock:
    """Clock of the cloud, separate from the time that has elapsed.

    Shifting the clock changes the times in the cloud's answers, but not when a running job ends.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        """Return the Unix time in seconds on the cloud's clock."""
        return time.time() + self.offset

    def now_ms(self) -> int:
        """Return the Unix time in milliseconds on the cloud's clock."""
        return int(self.now() * 1000)

    @staticmethod
    def elapsed() -> float:
        """Return the seconds on a monotonic clock, which cannot be shifted."""
        return time.monotonic()

    @staticmethod
    def iso(timestamp: float) -> str:
        """Format `timestamp` as the identity service does: UTC with microseconds and a Z."""
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Ids are derived from names, so they stay the same after a restart and match existing databases.
NAMESPACE = uuid.UUID("6f1a3a52-0d0c-5f0a-9f39-5b8d3f6f0c55")
JOBS_KEPT = 5_000
NEVER = math.inf
STAMPS = ("ms", "seconds", "string")


@dataclass(frozen=True, slots=True)
class SimulatedProject:
    """A project; it belongs to one region, as on Open Telekom Cloud."""

    id: str
    name: str
    region: str


@dataclass(slots=True)
class LogConfiguration:
    """Log backup settings of a cluster; times in Unix milliseconds."""

    id: str
    bucket: str
    agency: str
    base_path: str
    enabled: bool = True
    auto_enabled: bool = False
    period: str = ""
    updated_ms: int = 0


@dataclass(slots=True)
class RealTimeCollection:
    """Real-time log collection of a cluster; times in Unix milliseconds."""

    id: str
    index_prefix: str
    keep_days: int
    target_cluster_id: str
    created_ms: int
    updated_ms: int


@dataclass(slots=True)
class SimulatedCluster:
    """A cluster; the control API accepts the fields up to `log_backup`.

    Attributes:
        stamps: format of times in records: ms (a number), seconds (milliseconds truncated to whole
            seconds, as in the documentation's example) or string (a number as a string).
        search_names: which names of the parameters a log search takes: those of today (new), or
            those that were documented until 2025-12 (old).
        job_seconds: duration of its jobs, in seconds; None for the simulator's default.
        files: number of files that each of its jobs writes.
        files_late: seconds after a job's end until its files are listed.
        base_path: folder of its files in the bucket; "" for one of its own.
        log_backup: whether log backup is on; False for a disabled configuration, None for no
            configuration.
    """

    name: str
    id: str = ""
    project_id: str = ""
    engine: str = "elasticsearch"
    version: str = "7.10.2"
    status: str = "200"
    actions: tuple[str, ...] = ()
    nodes: int = 3
    node_status: str = "200"
    description: str = ""
    created: float = 0.0
    tags: tuple[tuple[str, str], ...] = ()
    failed_code: str = ""
    failed_message: str = ""
    job_seconds: float | None = None
    stamps: str = "ms"
    search_names: str = "new"
    files: int = 4
    files_late: float = 0.0
    base_path: str = ""
    log_backup: bool | None = True
    log: LogConfiguration | None = None
    real_time: RealTimeCollection | None = None
    order: int = 0
    jobs: deque[Job] = field(default_factory=lambda: deque(maxlen=JOBS_KEPT))


@dataclass(frozen=True, slots=True)
class JobScript:
    """Script for the course of a job.

    Attributes:
        duration: seconds until it ends; None for the cluster's default, infinity for never.
        failed_message: message with which it ends as FAIL; "" to end as SUCCESS.
        hidden: seconds until its record is listed; infinity for never.
    """

    duration: float | None = None
    failed_message: str = ""
    hidden: float = 0.0


@dataclass(slots=True)
class Job:
    """A log backup job.

    `started`, `duration` and `visible_from` are in seconds of CloudClock.elapsed().
    """

    record_id: str
    job_id: str
    cluster_id: str
    type: str
    log_path: str
    created_ms: int
    started: float
    duration: float
    failed_message: str
    visible_from: float

    def status(self, elapsed: float) -> str:
        """Return RUNNING, SUCCESS or FAIL for this time."""
        if elapsed < self.started + self.duration:
            return "RUNNING"
        return "FAIL" if self.failed_message else "SUCCESS"


class SimulatedCloud:
    """State of the cloud. Hold `lock` around reads and changes that must be atomic."""

    def __init__(self, clock: CloudClock, regions: tuple[str, ...], job_seconds: float) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.job_seconds = job_seconds
        self.projects = {
            project.id: project
            for project in (
                SimulatedProject(
                    uuid.uuid5(NAMESPACE, f"project {region}").hex, f"{region}_simulator", region
                )
                for region in regions
            )
        }
        self._clusters: dict[str, SimulatedCluster] = {}
        self._order = 0

    @property
    def first_project(self) -> SimulatedProject:
        """Default project of new clusters."""
        return next(iter(self.projects.values()))

    def project(self, region: str) -> SimulatedProject:
        """Return the project of `region`.

        Raises:
            KeyError: there is no such region.
        """
        for project in self.projects.values():
            if project.region == region:
                return project
        raise KeyError(region)

    def add_cluster(self, cluster: SimulatedCluster) -> SimulatedCluster:
        """Add a cluster and fill in its missing fields.

        Raises:
            ValueError: the id is already in use.
        """
        with self.lock:
            cluster.project_id = cluster.project_id or self.first_project.id
            cluster.id = cluster.id or str(
                uuid.uuid5(NAMESPACE, f"{cluster.project_id}/{cluster.name}")
            )
            if cluster.id in self._clusters:
                raise ValueError(f"there is a cluster {cluster.id} already")
            self._order += 1
            cluster.order = self._order
            cluster.created = cluster.created or self.clock.now()
            cluster.description = cluster.description or "Simulated cluster: not a real one"
            if cluster.log_backup is not None:
                cluster.log = LogConfiguration(
                    id=str(uuid.uuid5(NAMESPACE, f"{cluster.id} log")),
                    bucket="simulated-log-bucket",
                    agency="css_obs_agency",
                    base_path=cluster.base_path or f"css/log/{cluster.id[:8]}",
                    enabled=cluster.log_backup,
                    updated_ms=int(cluster.created * 1000),
                )
            self._clusters[cluster.id] = cluster
            return cluster

    def change_cluster(self, cluster_id: str, changes: dict[str, object]) -> SimulatedCluster:
        """Set fields of a cluster.

        Raises:
            KeyError: there is no such cluster.
            ValueError: there is no such field.
        """
        known = {entry.name for entry in fields(SimulatedCluster)}
        with self.lock:
            cluster = self._clusters[cluster_id]
            for name, value in changes.items():
                if name not in known:
                    raise ValueError(f"a cluster has no field {name}")
                setattr(cluster, name, value)
            if "log_backup" in changes and cluster.log is not None:
                cluster.log.enabled = bool(cluster.log_backup)
            return cluster

    def remove_cluster(self, cluster_id: str) -> None:
        """Delete a cluster with its records.

        Raises:
            KeyError: there is no such cluster.
        """
        with self.lock:
            del self._clusters[cluster_id]

    def find(self, cluster_id: str, project_id: str = "") -> SimulatedCluster:
        """Return a cluster by id, limited to a project if one is given.

        Raises:
            KeyError: there is no such cluster.
        """
        with self.lock:
            cluster = self._clusters[cluster_id]
            if project_id not in ("", cluster.project_id):
                raise KeyError(cluster_id)
            return cluster

    def clusters(self, project_id: str = "") -> list[SimulatedCluster]:
        """Return the clusters, of one project if given, newest first."""
        with self.lock:
            found = [c for c in self._clusters.values() if project_id in ("", c.project_id)]
        return sorted(found, key=lambda cluster: (cluster.created, cluster.order), reverse=True)

    def running_job(self, cluster: SimulatedCluster) -> Job | None:
        """Return the running job of the cluster, even if it is not listed, or None."""
        elapsed = self.clock.elapsed()
        with self.lock:
            for job in reversed(cluster.jobs):
                if job.status(elapsed) == "RUNNING":
                    return job
        return None

    def start_job(
        self, cluster: SimulatedCluster, job_type: str, script: JobScript | None = None
    ) -> Job:
        """Start a job of `job_type` (Manual or Auto), even if the cluster is busy."""
        script = script or JobScript()
        own = self.job_seconds if cluster.job_seconds is None else cluster.job_seconds
        elapsed = self.clock.elapsed()
        log = cluster.log
        job = Job(
            record_id=str(uuid.uuid4()),
            job_id=uuid.uuid4().hex,
            cluster_id=cluster.id,
            type=job_type,
            log_path=f"{log.bucket}/{log.base_path}" if log else "",
            created_ms=self.clock.now_ms(),
            started=elapsed,
            duration=own if script.duration is None else script.duration,
            failed_message=script.failed_message,
            visible_from=elapsed + script.hidden,
        )
        with self.lock:
            cluster.jobs.append(job)
        return job

    def end_jobs(self, cluster: SimulatedCluster, failed_message: str = "") -> int:
        """End a cluster's running jobs now, as FAIL if a message is given; return their number."""
        elapsed = self.clock.elapsed()
        with self.lock:
            running = [job for job in cluster.jobs if job.status(elapsed) == "RUNNING"]
            for job in running:
                job.duration = max(0.0, elapsed - job.started)
                job.failed_message = failed_message or job.failed_message
        return len(running)

    def records(self, cluster: SimulatedCluster, status: str = "") -> list[tuple[Job, str]]:
        """Return the listed jobs with their status, newest first.

        Args:
            cluster: the cluster.
            status: FAIL, NOT_FAIL or "" for all.
        """
        elapsed = self.clock.elapsed()
        with self.lock:
            jobs = [job for job in reversed(cluster.jobs) if job.visible_from <= elapsed]
        found = [(job, job.status(elapsed)) for job in jobs]
        if not status:
            return found
        return [(job, word) for job, word in found if (word == "FAIL") == (status == "FAIL")]

    def switch_log_backup_off(self, cluster: SimulatedCluster) -> None:
        """Disable log backup, and remove the automatic policy and the records of failed jobs."""
        elapsed = self.clock.elapsed()
        with self.lock:
            if cluster.log is not None:
                cluster.log.enabled = cluster.log.auto_enabled = False
                cluster.log.period = ""
                cluster.log.updated_ms = self.clock.now_ms()
            kept = [job for job in cluster.jobs if job.status(elapsed) != "FAIL"]
            cluster.jobs = deque(kept, maxlen=JOBS_KEPT)

    def clear(self) -> None:
        """Remove all clusters and jobs."""
        with self.lock:
            self._clusters.clear()
            self._order = 0
