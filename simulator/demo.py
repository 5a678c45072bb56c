"""Demo clusters, one for each outcome that a new user should see within a minute."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .config import SimulatorConfig
from .faults import Fault, FaultRegistry
from .state import NEVER, JobScript, SimulatedCloud, SimulatedCluster

ELASTICSEARCH = {"engine": "elasticsearch", "version": "7.10.2"}
OPENSEARCH = {"engine": "opensearch", "version": "2.19.0"}
NEWEST = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
# Arabic letters, then a right-to-left override, which reverses the rest of a line if not isolated.
RIGHT_TO_LEFT = "\u0633\u062c\u0644\u0627\u062a-\u202egol-" + "very-long-name-" * 4 + "end"


@dataclass(frozen=True)
class DemoCluster:
    """A demo cluster with its faults."""

    name: str
    description: str
    fields: dict[str, Any] = field(default_factory=lambda: dict(ELASTICSEARCH))
    faults: tuple[Fault, ...] = ()
    automatic_job: bool = False


def _status(preset: str, times: int | None = None) -> tuple[Fault, ...]:
    return (Fault("status", preset=preset, times=times),)


DEMO: dict[str, tuple[DemoCluster, ...]] = {
    "eu-de": (
        DemoCluster("orders-prod", "healthy"),
        DemoCluster("search-eu", "healthy, with a longer job", {**OPENSEARCH, "job_seconds": 15.0}),
        DemoCluster(
            "payments-logs", "log backup is off: 412", {**ELASTICSEARCH, "log_backup": False}
        ),
        DemoCluster(
            "billing-01", "the automatic schedule's job never ends: 409", automatic_job=True
        ),
        DemoCluster(
            "analytics-late-fail", "accepted, then the job fails", OPENSEARCH, (Fault("late_fail"),)
        ),
        DemoCluster("frozen-archive", "frozen: 400", faults=_status("frozen")),
        DemoCluster("forbidden-hr", "no permission: 403", faults=_status("forbidden")),
        DemoCluster(
            "vanished-test", "listed, but may not be seen: 403 CSS.0015", faults=_status("vanished")
        ),
        DemoCluster("throttled-iot", "429 twice, then well", OPENSEARCH, _status("throttled", 2)),
        DemoCluster(
            "flaky-gateway", "504 although the job started", faults=(Fault("error_after"),)
        ),
        DemoCluster(
            "black-hole", "the job starts, no answer ever comes", faults=(Fault("hang_after"),)
        ),
        DemoCluster("html-proxy", "200 with a page of a proxy", faults=_status("html_200")),
        DemoCluster("half-truth", "202 with an error in it", OPENSEARCH, _status("accepted_busy")),
        DemoCluster("hostile-message", "a message with <script>", faults=_status("hostile")),
        DemoCluster(RIGHT_TO_LEFT, "healthy, with a name that breaks pages", OPENSEARCH),
        DemoCluster(
            "brand-new",
            "still being created",
            {**OPENSEARCH, "status": "100", "actions": ("CREATING",), "node_status": "100"},
        ),
        DemoCluster(
            "never-created",
            "creation failed",
            {
                **ELASTICSEARCH,
                "status": "303",
                "node_status": "303",
                "failed_code": "CSS.6000",
                "failed_message": "Failed to create the cluster.",
            },
        ),
        DemoCluster(
            "growing-cache", "being scaled out: 409", {**ELASTICSEARCH, "actions": ("GROWING",)}
        ),
    ),
    "eu-nl": (
        DemoCluster("warehouse-nl", "healthy"),
        DemoCluster("webshop-nl", "healthy", OPENSEARCH),
        DemoCluster(
            "late-bird-nl",
            "its record appears six seconds late",
            {**OPENSEARCH, "job_seconds": 10.0},
            (Fault("late_record", seconds=6.0),),
        ),
    ),
}


def populate(config: SimulatorConfig, state: SimulatedCloud, faults: FaultRegistry) -> None:
    """Add the demo clusters and plain clusters that `config` specifies to an empty cloud."""
    if config.demo:
        for project in state.projects.values():
            for age, demo in enumerate(DEMO.get(project.region, ())):
                _add(state, faults, project.id, demo, NEWEST - timedelta(days=age))
    for number in range(1, config.clusters + 1):
        state.add_cluster(SimulatedCluster(name=f"load-{number:04}"))


def _add(
    state: SimulatedCloud,
    faults: FaultRegistry,
    project_id: str,
    demo: DemoCluster,
    created: datetime,
) -> None:
    cluster = state.add_cluster(
        SimulatedCluster(
            name=demo.name,
            project_id=project_id,
            description=f"Simulated cluster: {demo.description}",
            created=created.timestamp(),
            tags=(("simulated", "yes"),),
            **demo.fields,
        )
    )
    for fault in demo.faults:
        faults.add(cluster.id, fault)
    if demo.automatic_job:
        state.start_job(cluster, "Auto", JobScript(duration=NEVER))
