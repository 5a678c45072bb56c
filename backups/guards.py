"""Database triggers that keep ended runs as they are, on PostgreSQL and SQLite.

A run may change until it has ended. From then on its row, its events, its POSTs and its finished
calls stay, but for three doors, and each needs an event of the audit trail that tells who opened
it: masking, which empties names and addresses; a correction, which gives a run that ended without
its job this job and the state that it means, once; and a retention run, which deletes what ended
before its cutoff. Foreign keys may become NULL, since accounts and neighbours can go.
docs/retention.md and docs/run-states.md say more.
"""

from __future__ import annotations

from dashboard.db.triggers import Guards, RowGuard

from .choices import CORRECTABLE, TERMINAL, RunState

RUNS, EVENTS, CALLS = "backups_backuprun", "backups_runevent", "backups_apicall"
POSTS = "backups_post"
RETENTION, TOLD = "backups_retentionrun", "audit_event"

_ENDED = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(TERMINAL)))
_GONE_OR_SAME = (
    f"(NEW.{column} {{is}} OLD.{column} OR NEW.{column} IS NULL)"
    for column in ("requested_by_id", "conflict_run_id")
)
_NOT_MASKED = (
    "NEW.requested_by_name = OLD.requested_by_name AND NEW.source_ip {is} OLD.source_ip "
    "AND NEW.masked_by {is} OLD.masked_by"
)
_MASKED = (
    "OLD.masked_by IS NULL AND NEW.requested_by_name = '' AND NEW.source_ip IS NULL "
    f"AND NEW.requested_by_id IS NULL AND EXISTS (SELECT 1 FROM {RETENTION} AS retention "
    "WHERE retention.finished_at IS NULL AND retention.kind = 'personal' "
    "AND retention.told = NEW.masked_by AND OLD.requested_at < retention.cutoff)"
)
_OF_JOB = (
    *("state", "job_id", "record_id", "job_type", "job_created_at", "job_finished_at", "log_path"),
    *("failed_message", "evidence", "corrected_from", "corrected_by", "version"),
)
_NOT_CORRECTED = " AND ".join(f"NEW.{column} {{is}} OLD.{column}" for column in _OF_JOB)
_CORRECTED = (
    "OLD.state IN ({}) AND OLD.job_id IS NULL AND OLD.corrected_by IS NULL ".format(
        ", ".join(f"'{state}'" for state in sorted(CORRECTABLE))
    )
    + f"AND NEW.state IN ('{RunState.SUCCEEDED}', '{RunState.FAILED}') "
    "AND NEW.job_id IS NOT NULL AND NEW.corrected_from = OLD.state "
    f"AND EXISTS (SELECT 1 FROM {TOLD} AS told WHERE told.sequence = NEW.corrected_by "
    "AND told.action = 'run_corrected' AND told.target_type = 'backups.backuprun' "
    f"AND told.target_id = CAST(OLD.id AS {{text}})) AND {_NOT_MASKED}"
)
_CHANGING = (
    *("requested_by_id", "requested_by_name", "source_ip", "conflict_run_id", "masked_by"),
    *_OF_JOB,
)


def _covered(run: str) -> str:
    """Whether an open retention run is about a run: of its class, and ended before its cutoff."""
    return (
        f"EXISTS (SELECT 1 FROM {RETENTION} AS retention WHERE retention.finished_at IS NULL "
        f"AND {run}.{_ENDED} AND {run}.finished_at < retention.cutoff AND retention.kind = "
        f"CASE {run}.state WHEN '{RunState.SUCCEEDED}' THEN 'successes' ELSE 'failures' END)"
    )


_OF_COVERED = (
    f"EXISTS (SELECT 1 FROM {RUNS} AS run WHERE run.id = OLD.run_id AND {_covered('run')})"
)
_OF_MASKED = (
    f"EXISTS (SELECT 1 FROM {RUNS} AS run WHERE run.id = OLD.run_id AND run.masked_by IS NOT NULL)"
)
# The event must be of this kind and time, and no earlier retention run's.
_ANNOUNCED = (
    "NEW.finished_at IS NULL AND NEW.done = 0 "
    f"AND NEW.told > COALESCE((SELECT MAX(told) FROM {RETENTION}), 0) "
    f"AND EXISTS (SELECT 1 FROM {TOLD} AS told WHERE told.sequence = NEW.told "
    "AND told.action = CASE NEW.kind WHEN 'personal' THEN 'personal_data_masked' "
    "ELSE 'retention_run' END AND {class} = NEW.kind AND {before})"
)

GUARDS = Guards(
    rows={
        "backups_run_stays": RowGuard(
            RUNS,
            "UPDATE",
            " AND ".join(
                [
                    "{same}",
                    *_GONE_OR_SAME,
                    f"({_NOT_CORRECTED} AND ({_NOT_MASKED} OR {_MASKED}) OR {_CORRECTED})",
                ]
            ),
            of=f"OLD.{_ENDED}",
            changing=_CHANGING,
        ),
        "backups_run_delete": RowGuard(RUNS, "DELETE", _covered("OLD")),
        "backups_event_stays": RowGuard(
            EVENTS,
            "UPDATE",
            "{same} AND (NEW.actor = OLD.actor OR NEW.actor = '' AND " + _OF_MASKED + ")",
            changing=("actor",),
        ),
        "backups_event_delete": RowGuard(EVENTS, "DELETE", _OF_COVERED),
        # until its answer is stored a call is written twice
        "backups_call_stays": RowGuard(CALLS, "UPDATE", "{same}", of="OLD.finished_at IS NOT NULL"),
        "backups_call_delete": RowGuard(CALLS, "DELETE", _OF_COVERED),
        # what a POST came to, when its window ended and which job it made are each written once
        "backups_post_stays": RowGuard(
            POSTS,
            "UPDATE",
            "{same} AND (OLD.job_id = '' OR NEW.job_id = OLD.job_id) AND (OLD.result = 'open' OR "
            "NEW.result = OLD.result AND NEW.status {is} OLD.status "
            "AND NEW.answered_at {is} OLD.answered_at AND NEW.date_after {is} OLD.date_after "
            "AND NEW.date_closed {is} OLD.date_closed)",
            changing=(
                "sent_at",
                "answered_at",
                "step_uptime",
                "result",
                "status",
                "date_after",
                "date_closed",
                "job_id",
                "active",
            ),
        ),
        "backups_post_delete": RowGuard(POSTS, "DELETE", _OF_COVERED),
        "backups_retention_announced": RowGuard(RETENTION, "INSERT", _ANNOUNCED),
        "backups_retention_stays": RowGuard(
            RETENTION,
            "UPDATE",
            "{same} AND OLD.finished_at IS NULL",
            changing=("done", "claimed_by", "changed_at", "finished_at"),
        ),
        "backups_retention_delete": RowGuard(RETENTION, "DELETE", "1 = 0"),
    },
    truncates={
        "backups_run_truncate": RUNS,
        "backups_event_truncate": EVENTS,
        "backups_call_truncate": CALLS,
        "backups_post_truncate": POSTS,
        "backups_retention_truncate": RETENTION,
    },
    refusal="The history does not change: %s of %s refused",
    refuse="backups_refuse",
    migration=("backups", "0011_guards"),
    words={
        "text": ("text", "TEXT"),
        "class": ("told.details->>'class'", "json_extract(told.details, '$.class')"),
        # a cutoff is a whole second: the text of an event and a column can be compared
        "before": (
            "(told.details->>'before')::timestamptz = NEW.cutoff",
            "substr(replace(json_extract(told.details, '$.before'), 'T', ' '), 1, 19) = "
            "substr(NEW.cutoff, 1, 19)",
        ),
    },
)
