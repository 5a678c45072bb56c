"""Combine the product's data with the simulator's: match each request to a call of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from backups.choices import Trigger
from backups.models import ApiCall, BackupRun, BatchItem, Post, RunEvent
from simulator.client import ClusterView, JobView
from simulator.ledger import LedgerEntry

LATEST_ARRIVAL = 30.0  # maximum seconds that a request can wait in a socket's queue


@dataclass(frozen=True, slots=True)
class RunStep:
    """One event of a run; `at` in Unix seconds."""

    at: float
    from_state: str
    to_state: str
    outcome: str
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class Call:
    """One stored `POST …/logs/collect`; times in Unix seconds."""

    id: int
    run: int
    attempt: int
    cluster: str
    started: float
    finished: float | None
    status: int | None
    error_code: str
    request_id: str
    transport_error: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Item:
    """A cluster of a batch, by primary keys, and what became of it."""

    cluster: int
    state: str
    cause: str
    run: int | None

    @property
    def made(self) -> bool:
        """Whether the batch created the run; otherwise it joined it, or has none."""
        return self.run is not None and not self.cause


@dataclass(frozen=True, slots=True)
class StoredPost:
    """A stored POST.

    Attributes:
        job_id: the job that is credited to it.
        dated: the cloud's time is known both before and after it.
        accepted: the cloud accepted it.
    """

    job_id: str
    dated: bool
    accepted: bool


@dataclass(slots=True)
class Run:
    """A run in the product's database at the end; `posts` are its stored POSTs by attempt."""

    id: int
    cluster_pk: int
    cluster: str
    requester: str
    state: str
    outcome: str
    note: str
    job_id: str
    evidence: str
    corrected_from: str
    claimed_by: str
    requested: float
    steps: list[RunStep] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    posts: dict[int, StoredPost] = field(default_factory=dict)

    def passed_through(self, state: str) -> bool:
        """Whether the run ever was in this state."""
        return any(step.to_state == state for step in self.steps)


@dataclass(frozen=True)
class Findings:
    """All input of the checks.

    Attributes:
        runs: the product's own runs, by id.
        imported: `requested_by_name` of the rows imported from the cloud's records, by job id.
        requests: the collect requests in the simulator's ledger, in order of arrival.
        request_of: ledger entry of a stored call, by call id.
        call_of: stored call of a ledger entry, by its seq.
        jobs: the simulator's jobs by job id.
        guessed: seq of ledger entries that several stored calls could belong to.
        batches: the items of each batch, by its number.
    """

    runs: dict[int, Run]
    imported: dict[str, str]
    requests: list[LedgerEntry]
    request_of: dict[int, LedgerEntry]
    call_of: dict[int, Call]
    jobs: dict[str, JobView]
    guessed: set[int]
    batches: dict[int, list[Item]] = field(default_factory=dict)

    def maker(self, job_id: str) -> LedgerEntry | None:
        """The request that created a job; None if the schedule or the console did."""
        return self._makers.get(job_id)

    @cached_property
    def _makers(self) -> dict[str, LedgerEntry]:
        return {entry.job_id: entry for entry in self.requests if entry.job_id}

    def requests_of(self, run: Run) -> list[LedgerEntry]:
        """The requests that the cloud received on behalf of a run, in order."""
        found = [self.request_of[call.id] for call in run.calls if call.id in self.request_of]
        return sorted(found, key=lambda entry: entry.seq)

    def jobs_of(self, run: Run) -> list[JobView]:
        """The jobs that a run's own requests created."""
        return [self.jobs[entry.job_id] for entry in self.requests_of(run) if entry.job_id]


def gather(requests: Sequence[LedgerEntry], clusters: Iterable[ClusterView]) -> Findings:
    """Read the product's database and combine it with the simulator's ledger and jobs."""
    runs = load_runs()
    calls = [call for run in runs.values() for call in run.calls]
    request_of, call_of, guessed = attribute(calls, requests)
    jobs = {job.job_id: job for cluster in clusters for job in cluster.jobs}
    imported, batches = load_imported(), load_batches()
    return Findings(runs, imported, list(requests), request_of, call_of, jobs, guessed, batches)


def load_batches() -> dict[int, list[Item]]:
    """The items of all batches."""
    batches: dict[int, list[Item]] = defaultdict(list)
    rows = BatchItem.objects.order_by("pk").values_list("batch", "cluster", "state", "cause", "run")
    for batch, cluster, state, cause, run in rows:
        batches[batch].append(Item(cluster, state, cause, run))
    return dict(batches)


def load_imported() -> dict[str, str]:
    """The imported jobs with their `requested_by_name`; a job has one row."""
    rows = BackupRun.objects.filter(trigger=Trigger.CLOUD)
    return {job_id or "": name for job_id, name in rows.values_list("job_id", "requested_by_name")}


def load_runs() -> dict[int, Run]:
    """All of the product's own runs, with their events, calls and POSTs."""
    runs = {
        row.pk: Run(
            id=row.pk,
            cluster_pk=row.cluster_id,
            cluster=row.cluster_cloud_id,
            requester=row.requested_by_name,
            state=str(row.state),
            outcome=str(row.outcome),
            note=row.note,
            job_id=row.job_id or "",
            evidence=str(row.evidence),
            corrected_from=row.corrected_from,
            claimed_by=row.claimed_by,
            requested=row.requested_at.timestamp(),
        )
        for row in BackupRun.objects.exclude(trigger=Trigger.CLOUD).order_by("pk")
    }
    for event in RunEvent.objects.exclude(run__trigger=Trigger.CLOUD).order_by("id"):
        runs[event.run_id].steps.append(
            RunStep(
                event.at.timestamp(),
                event.from_state,
                event.to_state,
                event.outcome,
                event.actor,
                event.note,
            )
        )
    for call in ApiCall.objects.filter(purpose="collect").order_by("id"):
        run = runs[call.run_id]
        run.calls.append(
            Call(
                id=call.pk,
                run=run.id,
                attempt=call.attempt,
                cluster=run.cluster,
                started=call.started_at.timestamp(),
                finished=_seconds(call.finished_at),
                status=call.status,
                error_code=call.error_code,
                request_id=call.request_id,
                transport_error=call.transport_error,
                sent=call.sent,
            )
        )
    for post in Post.objects.all():
        dated = post.date_before is not None and post.date_after is not None
        accepted = post.result == Post.Result.ACCEPTED
        runs[post.run_id].posts[post.attempt] = StoredPost(post.job_id, dated, accepted)
    return runs


def attribute(
    calls: Iterable[Call], requests: Iterable[LedgerEntry]
) -> tuple[dict[int, LedgerEntry], dict[int, Call], set[int]]:
    """Match each request in the ledger to a stored call.

    An answered call has the request id. Any other request belongs to the last unanswered call of
    its cluster that was stored before the request arrived: both times are on this machine's clock,
    and a call is stored before it is sent.

    Returns:
        Ledger entry by call id, and call by the entry's seq; entries and calls in neither have no
        counterpart. Also the seqs of requests that several unanswered calls could belong to.
    """
    guessed: set[int] = set()
    request_of: dict[int, LedgerEntry] = {}
    call_of: dict[int, Call] = {}
    by_request_id = {call.request_id: call for call in calls if call.request_id}
    open_calls: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        # A call that was not sent (NotSent) has no request.
        if not call.request_id and call.sent:
            open_calls[call.cluster].append(call)
    for entry in requests:
        found = by_request_id.get(entry.request_id)
        if found is None:
            waiting = open_calls[entry.cluster_id]
            earlier = [c for c in waiting if 0 <= entry.time - c.started <= LATEST_ARRIVAL]
            found = max(earlier, key=lambda call: call.started, default=None)
            if found is not None:
                waiting.remove(found)
            if len(earlier) > 1:
                guessed.add(entry.seq)
        if found is not None and found.id not in request_of:
            request_of[found.id] = entry
            call_of[entry.seq] = found
    return request_of, call_of, guessed


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
