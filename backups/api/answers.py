"""Schemas of the answers, for the OpenAPI description.

The documents themselves come from serialize.py and serialize_admin.py; tests compare both.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from ninja import Schema

from backups.choices import (
    AttentionCause,
    CatchUp,
    ChannelKind,
    ConnectionFault,
    DeliveryState,
    Evidence,
    FiringResult,
    NoticeKind,
    Outcome,
    Protection,
    Readiness,
    RunState,
    ScheduledWork,
    SyncStep,
    Trigger,
    WhenNotReady,
    Work,
)

T = TypeVar("T")
AnyObject = dict[str, Any]


class FieldProblem(Schema):
    field: str
    problem: str


class Problem(Schema):
    """Problem details (RFC 9457). Further members depend on the type: docs/api.md."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


class InvalidProblem(Problem):
    errors: list[FieldProblem]


class Page(Schema, Generic[T]):
    """A page of a list; `next` is the path of the next one."""

    items: list[T]
    next: str | None


class Project(Schema):
    id: int
    cloud: str
    region: str
    project_id: str
    name: str


class ProjectLine(Project):
    objective_hours: int


class Run(Schema):
    cluster_id: str
    cluster: str
    run_id: int
    state: RunState
    outcome: Outcome
    http_status: int | None
    error_code: str
    message: str
    request_id: str
    cloud: str
    region: str
    project_id: str
    project: str
    requested_by: str
    trigger: Trigger
    reason: str
    source_ip: str | None
    requested_at: datetime
    sent_at: datetime | None
    answered_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    attempts: int
    note: str
    job_id: str
    record_id: str
    job_type: str
    job_created_at: datetime | None
    job_finished_at: datetime | None
    log_path: str
    failed_message: str
    conflict_holder: str
    conflict_run_id: int | None
    evidence: Evidence
    corrected_from: str


class Runs(Page[Run]):
    window: str
    older: str | None
    newer: str | None


class Explanation(Schema):
    meaning: str
    actor: str
    next_step: str
    retryable: bool


class RunEvent(Schema):
    at: datetime
    from_state: str
    to_state: str
    outcome: str
    note: str
    actor: str


class ApiCall(Schema):
    attempt: int
    purpose: str
    method: str
    path: str
    started_at: datetime
    finished_at: datetime | None
    duration_ms: int | None
    http_status: int | None
    error_code: str
    message: str
    request_id: str
    transport_error: str
    sent: bool | None
    retry_after: float | None
    body_kind: str
    body_size: int | None
    excerpt: str
    url: str
    request_headers: AnyObject
    request_body: str


class RunNeighbour(Schema):
    run_id: int
    state: RunState


class ClusterState(Schema):
    readiness: Readiness
    readiness_detail: str
    checked_at: datetime | None
    check_error: str
    gone_at: datetime | None


class ChainedEvent(Schema):
    sequence: int
    at: datetime
    action: str
    actor: str
    ip: str
    user_agent: str
    masked: bool
    reason: str
    before: AnyObject | None
    after: AnyObject | None
    details: AnyObject | None
    request_id: str
    previous_hash: str
    hash: str


class AuditEvent(ChainedEvent):
    target_type: str
    target_id: str
    target: str
    project: str


class RunDocument(Run):
    explanation: Explanation
    personal_data_masked: bool
    events: list[RunEvent]
    api_calls: list[ApiCall]
    settled_by_hand: bool
    waited_seconds: float | None
    exchange_seconds: float | None
    job_seconds: float | None
    waits_if_busy_until: datetime | None
    not_before: datetime | None
    records_read: int
    records_readable_at: datetime | None
    run_before: RunNeighbour | None
    run_after: RunNeighbour | None
    resolved_by: RunNeighbour | None
    cluster_now: ClusterState
    audit_events: list[ChainedEvent] | None
    seal: AnyObject | None
    files: AnyObject | None


class ClusterProtection(Schema):
    state: Protection
    verified_at: datetime | None
    due_at: datetime | None
    overdue_at: datetime | None
    objective_hours: int


class Tag(Schema):
    origin: str
    key: str
    value: str


class Cluster(ClusterState):
    id: int
    cluster_id: str
    cluster: str
    engine: str
    version: str
    project: Project
    status: str
    status_in_words: str
    archived_at: datetime | None
    protection: ClusterProtection
    tags: list[Tag]
    latest_run: Run | None


class Clusters(Page[Cluster]):
    count: int


class LogSettings(Schema):
    enabled: bool
    bucket: str
    base_path: str
    agency: str
    automatic: bool
    period: str
    read_at: datetime


class ClusterDocument(Cluster):
    active_run: Run | None
    actions: list[Any]
    nodes: list[Any]
    endpoint: str
    failed_reason: str
    created_in_cloud_at: datetime | None
    registered_at: datetime
    log_settings: LogSettings | None


class ProtectionSummary(Schema):
    protected: int
    total: int
    by_state: dict[Protection, int]
    at: datetime


class Batch(Schema):
    batch_id: int
    work: Work
    values: AnyObject
    requested_at: datetime
    requested_by: str
    trigger: Trigger
    source_ip: str | None
    reason: str
    anyway: bool
    filter: str
    sha256: str
    retry_of: int | None
    cancelled_at: datetime | None
    cancelled_by: str
    finished_at: datetime | None


class Refusal(Schema):
    state: RunState
    outcome: Outcome
    error_code: str
    count: int
    newest_run: int
    meaning: str
    next_step: str
    retryable: bool


class BatchDocument(Batch):
    clusters: int
    done: int
    waiting: int
    cancelled_waiting: int
    working: int
    worked: int
    failed_work: int
    joined: int
    runs: dict[str, int]
    skipped: dict[str, int]
    refusals: list[Refusal]
    requests_per_second: float
    seconds_left: float | None


class Connection(Schema):
    id: int | None
    cloud: str
    region: str
    configured: bool
    connected: bool
    project: ProjectLine | None
    connected_at: datetime | None
    disconnected_at: datetime | None
    file_checks: bool | None
    sync_step: SyncStep
    synced_at: datetime | None
    sync_ended_at: datetime | None
    sync_fault: ConnectionFault
    sync_error: str
    clusters_listed: int
    clusters_added: int
    clusters_gone: int


class Connections(Page[Connection]):
    """All connections: a file lists them, so there is one page. `problem`: why it is unreadable."""

    problem: str


class DiagnosisStep(Schema):
    step: str
    state: Literal["passed", "failed", "not_tried"]
    text: str
    fault: ConnectionFault


class Diagnosis(Schema):
    passed: bool
    steps: list[DiagnosisStep]


class Export(Schema):
    id: int
    format: Literal["csv", "jsonl"]
    filter: str
    state: Literal["running", "complete", "broken_off"]
    rows: int
    started_at: datetime
    finished_at: datetime | None


class RetentionDays(Schema):
    successes_days: int | None
    failures_days: int | None
    audit_days: int | None
    personal_days: int | None


class DueNow(Schema):
    kind: str
    days: int | None
    cutoff: datetime | None
    count: int
    more: bool


class CleanUp(Schema):
    kind: str
    cutoff: datetime
    audit_event: int
    automatic: bool
    started_at: datetime
    finished_at: datetime | None
    done: int


class Retention(Schema):
    policy: RetentionDays
    due_now: list[DueNow]
    clean_ups: list[CleanUp]


class Token(Schema):
    id: int
    name: str
    scope: Literal["read", "run", "manage"]
    lookup: str
    projects: list[int] | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    last_used_ip: str | None
    revoked_at: datetime | None
    revoked_by: str
    usable: bool


class Permissions(Schema):
    everywhere: list[str]
    somewhere: list[str]


class UsedToken(Schema):
    name: str
    scope: Literal["read", "run", "manage"]
    projects: list[int] | None
    created_at: datetime
    expires_at: datetime
    account: str
    may: Permissions
    now: datetime


class HeldRole(Schema):
    role: str
    project: ProjectLine | None
    group: str


class Account(Schema):
    id: int
    name: str
    superuser: bool
    roles: list[HeldRole]
    may: Permissions
    token: Token


class Version(Schema):
    version: str
    api: str


class Verification(Schema):
    id: int
    result: Literal["waiting", "intact", "broken"]
    requested_at: datetime
    finished_at: datetime | None
    complete: bool
    first: int | None
    last: int | None
    events: int
    head: str
    broken_at: int | None
    problem: str
    guards_missing: str
    records: int
    pending: int


class Schedule(Schema):
    id: int
    name: str
    work: ScheduledWork
    on: bool
    stopped_reason: str
    owner: str
    cron: str
    minutes: int | None
    zone: str
    jitter: int
    filter: str
    clusters: list[int]
    when_not_ready: WhenNotReady
    wait_minutes: int
    catch_up: CatchUp
    overlap: bool
    reason: str
    report_channel: int | None
    report_span: str
    ping: bool
    next_at: datetime | None
    created_at: datetime
    changed_at: datetime
    deleted_at: datetime | None


class Firing(Schema):
    id: int
    schedule: int
    slot: datetime
    fired_at: datetime
    result: FiringResult
    note: str
    matched: int
    requested: int
    by_hand: bool
    by: str
    batch_id: int | None


class Channel(Schema):
    id: int
    name: str
    kind: ChannelKind
    address: str
    enabled: bool
    created_at: datetime
    created_by: str


class SavedChannel(Channel):
    """`signing_secret` is in the answer to the request that made it, and "" in all others."""

    signing_secret: str


class Rule(Schema):
    id: int
    channel: int
    kinds: list[NoticeKind]
    project: int | None
    label: str


class Delivery(Schema):
    id: int
    message_id: str
    channel: int | None
    channel_name: str
    kind: NoticeKind
    notices: int
    state: DeliveryState
    attempts: int
    error: str
    created_at: datetime
    sent_at: datetime | None


class Handling(Schema):
    id: int
    cause: AttentionCause
    cluster: int | None
    project: int | None
    reason: str
    until: datetime | None
    made_at: datetime
    made_by: str
    ended_at: datetime | None
    ended_by: str


class Handlings(Schema):
    """One, or one for each project."""

    items: list[Handling]


class Report(Schema):
    """The figures by name, and the rows of each table by column, as in the CSV."""

    at: datetime
    figures: dict[str, int | str]
    clusters: list[dict[str, int | str]]
    causes: list[dict[str, int | str]]
    actions: list[dict[str, int | str]]
