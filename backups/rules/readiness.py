"""Expected result of a request for a log backup. No I/O, no models.

Each part that was read gives a verdict; the worst counts, in the order of RANK:

1. *not available*: being created, failed, frozen, not found.
2. *log backup is off*, 3. *bucket or agency missing*: somebody has to act.
4. *busy*: temporary.
5. *not known*: a part could not be read, or has an undocumented value.
6. *ready*: every part was read and passes the "ready test" of docs/css-api.md section 3.

The text of a verdict is stored with the cluster, and therefore in English.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from backups.choices import Outcome, Readiness, in_english
from backups.css_api.types import ClusterInfo, Instance, JobType, LogRecord, LogSettingsInfo
from backups.guide import CODES, code_family, explain

ReadinessVerdict = tuple[Readiness, str]

RANK: tuple[Readiness, ...] = (
    Readiness.UNAVAILABLE,
    Readiness.BACKUP_OFF,
    Readiness.STORAGE_MISSING,
    Readiness.BUSY,
    Readiness.UNKNOWN,
    Readiness.READY,
)

# Codes that are more specific about the cluster than their outcome.
STORAGE_CODES = frozenset({"CSS.0048", "CSS.5130"})
_UNAVAILABLE_CODES = frozenset({"CSS.0021", "CSS.5090", "CSS.5140", "CSS.5301"})
# Those that no reading shows: they count until a request is accepted again.
LASTING_CODES = STORAGE_CODES | _UNAVAILABLE_CODES - {"CSS.5090", "CSS.5140"}

UNSEEN = (
    "The cloud lists the cluster, but does not show it (CSS.0015): the dashboard's cloud user may"
    " not see it. Ask whoever manages IAM for css:cluster:get."
)

# From querying_the_cluster_list and observed by clients; the set is open.
_ACTIONS: dict[str, str] = {
    "CREATING": "being created",
    "GROWING": "being scaled out",
    "REBOOTING": "restarting",
    "RESIZING_VOLUME": "being given more storage",
    "RESTORING": "restoring a snapshot",
    "SNAPSHOTTING": "taking a snapshot",
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """A response other than 2xx, to a reading or to the last request.

    Attributes:
        outcome: its classification.
        code: error code in its body, "" for none.
        at: when it came, None for just now.
        run_id: the run that sent the request, None for a reading.
    """

    outcome: Outcome
    code: str = ""
    at: datetime | None = None
    run_id: int | None = None

    @property
    def may_be_denied(self) -> bool:
        """Whether the cloud gives the same answer for what is missing and for what is denied."""
        return code_family(self.code) == "CSS.0015"


def judge(
    info: ClusterInfo | None,
    settings: LogSettingsInfo | None,
    *,
    running: LogRecord | None = None,
    rejections: Sequence[Rejection] = (),
) -> ReadinessVerdict:
    """Evaluate a cluster's readiness.

    Args:
        info: the cluster's details, None if they could not be read.
        settings: its log backup settings, None if they could not be read.
        running: the running log backup job in the cloud's records, None for none.
        rejections: responses that say something about the cluster, of any age.

    Returns:
        The readiness and its reason, as a sentence.
    """
    verdicts = [_of_cluster(info), _of_settings(settings), *_of_rejections(rejections)]
    if running is not None:
        verdicts.append(_of_job(running))
    return min(verdicts, key=lambda verdict: RANK.index(verdict[0]))


def readiness_of(outcome: Outcome, code: str = "") -> Readiness | None:
    """The readiness that a response implies, None for none.

    Args:
        outcome: classification of the response.
        code: error code in its body.
    """
    family = code_family(code)
    if family.startswith("APIGW"):  # the gateway knows nothing of clusters
        return None
    if family in STORAGE_CODES:
        return Readiness.STORAGE_MISSING
    if family in _UNAVAILABLE_CODES:
        return Readiness.UNAVAILABLE
    return {
        Outcome.PRECONDITION_FAILED: Readiness.BACKUP_OFF,
        Outcome.CONFLICT: Readiness.BUSY,
        Outcome.NOT_FOUND: Readiness.UNAVAILABLE,
        Outcome.FORBIDDEN: Readiness.UNKNOWN,
    }.get(outcome)


def _of_cluster(info: ClusterInfo | None) -> ReadinessVerdict:
    if info is None:
        return Readiness.UNKNOWN, "The cluster's state could not be read."
    under_way = ", ".join(_ACTIONS.get(each.upper(), each) for each in info.actions)
    if info.status == "100":
        what = under_way or "being created, or another operation is under way"
        return Readiness.UNAVAILABLE, f"Not available yet: {what}."
    if info.status in ("300", "303"):
        why = " ".join(part for part in (info.failed_code, info.failed_message) if part)
        if not why:
            return Readiness.UNAVAILABLE, "The cloud calls the cluster failed or unavailable."
        return Readiness.UNAVAILABLE, f"The cloud calls it failed: {why}"
    if info.status != "200":
        return Readiness.UNKNOWN, (
            f"The cloud gives a status that is not documented: “{info.status}”."
        )
    if under_way:
        return Readiness.BUSY, f"The cluster is busy: {under_way}."
    return _of_nodes(info.instances)


def _of_nodes(nodes: Sequence[Instance]) -> ReadinessVerdict:
    """The ready test requires at least one node, and status 200 of each node that has one."""
    if not nodes:
        return Readiness.UNKNOWN, "The cloud names no node of the cluster."
    failed = next((node for node in nodes if node.status in ("300", "303")), None)
    odd = next((node for node in nodes if node.status not in ("200", "100", "")), None)
    new = next((node for node in nodes if node.status == "100"), None)
    if failed is not None:
        return Readiness.UNAVAILABLE, f"A node has failed: {_name(failed)} ({failed.status})."
    if odd is not None:
        text = f"A node's status is not documented: {_name(odd)} (“{odd.status}”)."
        return Readiness.UNKNOWN, text
    if new is not None:
        return Readiness.BUSY, f"The cluster is busy: node {_name(new)} is being set up."
    return Readiness.READY, "Available, and log backup is on."


def _name(node: Instance) -> str:
    return node.name or node.id


def _of_settings(settings: LogSettingsInfo | None) -> ReadinessVerdict:
    if settings is None:
        return Readiness.UNKNOWN, "The log backup settings could not be read."
    if not settings.enabled:
        return Readiness.BACKUP_OFF, "Log backup is switched off for the cluster."
    missing = [
        name
        for name, value in (("bucket", settings.bucket), ("agency", settings.agency))
        if not value.strip()
    ]
    if missing:
        what = " and ".join(missing)
        return Readiness.STORAGE_MISSING, f"Log backup is on, but without {what}."
    return Readiness.READY, "Available, and log backup is on."


def _of_job(running: LogRecord) -> ReadinessVerdict:
    since = f"{running.created_at:%Y-%m-%d %H:%M} UTC" if running.created_at else "an unknown time"
    if running.job_type is JobType.AUTO:
        return Readiness.BUSY, f"The cloud's scheduled log backup has been running since {since}."
    return Readiness.BUSY, f"A log backup has been running since {since}."


def _of_rejections(rejections: Sequence[Rejection]) -> Iterator[ReadinessVerdict]:
    for rejection in rejections:
        readiness = readiness_of(rejection.outcome, rejection.code)
        if readiness is not None:
            yield readiness, _in_words(rejection)


def _in_words(rejection: Rejection) -> str:
    meaning = in_english(explain(rejection.outcome, rejection.code).meaning)
    if rejection.code and code_family(rejection.code) not in CODES:
        meaning = f"{meaning} ({rejection.code})"
    if rejection.run_id is None or rejection.at is None:
        return meaning
    at = f"{rejection.at:%Y-%m-%d %H:%M} UTC"
    return f"{meaning} So the cloud answered run {rejection.run_id} at {at}."
