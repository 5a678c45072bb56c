"""What a request for a log backup would meet: pure, no I/O, no models.

Each part that was read gives a verdict; of several the worst counts, in the order of RANK:

1. *not available*: being created, failed, frozen, not found. Nothing else matters then.
2. *log backup is off*, 3. *bucket or agency missing*: somebody has to act, waiting does not help.
4. *busy*: it passes by itself.
5. *not known*: a part could not be read, or says what is not documented.
6. *ready*: every part was read and is as docs/css-api.md section 3 has it ("ready test").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .choices import Outcome, Readiness
from .css_api.types import ClusterInfo, Instance, JobType, LogRecord, LogSettings
from .guide import CODES, Text, code_family, explain

Verdict = tuple[Readiness, str]

RANK: tuple[Readiness, ...] = (
    Readiness.UNAVAILABLE,
    Readiness.BACKUP_OFF,
    Readiness.STORAGE_MISSING,
    Readiness.BUSY,
    Readiness.UNKNOWN,
    Readiness.READY,
)

# Codes that say more about the cluster than their outcome does.
STORAGE_CODES = frozenset({"CSS.0048", "CSS.5130"})
_UNAVAILABLE_CODES = frozenset({"CSS.0021", "CSS.5090", "CSS.5140", "CSS.5301"})
# Of these, the ones that no reading shows: they count until a request was accepted again.
LASTING_CODES = STORAGE_CODES | _UNAVAILABLE_CODES - {"CSS.5090"}

# querying_the_cluster_list, and what clients have seen; the set is open.
_ACTIONS: dict[str, Text] = {
    "CREATING": gettext_lazy("being created"),
    "GROWING": gettext_lazy("being scaled out"),
    "REBOOTING": gettext_lazy("restarting"),
    "RESIZING_VOLUME": gettext_lazy("being given more storage"),
    "RESTORING": gettext_lazy("restoring a snapshot"),
    "SNAPSHOTTING": gettext_lazy("taking a snapshot"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the cloud that was no 2xx, to a reading or to the last request.

    Attributes:
        outcome: what it is classified as.
        code: the code in its body, "" when there was none.
        at: when it came, None where that was just now.
        run_id: the run whose request it answered, None for a reading.
    """

    outcome: Outcome
    code: str = ""
    at: datetime | None = None
    run_id: int | None = None


def judge(
    info: ClusterInfo | None,
    settings: LogSettings | None,
    *,
    running: LogRecord | None = None,
    refusals: Sequence[Refusal] = (),
) -> Verdict:
    """Say what a request for a log backup would meet.

    Args:
        info: the cluster's detail, None where it could not be read.
        settings: its log backup settings, None where they could not be read.
        running: the log backup job that is running by the cloud's records.
        refusals: answers that say something about the cluster, of any age.

    Returns:
        The readiness, and in which way, as a sentence.
    """
    verdicts = [_of_cluster(info), _of_settings(settings), *_of_refusals(refusals)]
    if running is not None:
        verdicts.append(_of_job(running))
    return min(verdicts, key=lambda verdict: RANK.index(verdict[0]))


def readiness_of(outcome: Outcome, code: str = "") -> Readiness | None:
    """The readiness that an answer speaks of, None where it speaks of something else.

    Args:
        outcome: what the answer is classified as.
        code: the code in its body.
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


def _of_cluster(info: ClusterInfo | None) -> Verdict:
    if info is None:
        return Readiness.UNKNOWN, _("The cluster's state could not be read.")
    under_way = ", ".join(str(_ACTIONS.get(each.upper(), each)) for each in info.actions)
    if info.status == "100":
        what = under_way or _("being created, or another operation is under way")
        return Readiness.UNAVAILABLE, _("Not available yet: %(what)s.") % {"what": what}
    if info.status in ("300", "303"):
        why = " ".join(part for part in (info.failed_code, info.failed_message) if part)
        if not why:
            return Readiness.UNAVAILABLE, _("The cloud calls the cluster failed or unavailable.")
        return Readiness.UNAVAILABLE, _("The cloud calls it failed: %(why)s") % {"why": why}
    if info.status != "200":
        return Readiness.UNKNOWN, _(
            "The cloud gives a status that is not documented: “%(word)s”."
        ) % {"word": info.status}
    if under_way:
        return Readiness.BUSY, _("The cluster is busy: %(what)s.") % {"what": under_way}
    return _of_nodes(info.instances)


def _of_nodes(nodes: Sequence[Instance]) -> Verdict:
    """The ready test asks for at least one node, and for each that tells its status to be well."""
    if not nodes:
        return Readiness.UNKNOWN, _("The cloud names no node of the cluster.")
    failed = next((node for node in nodes if node.status in ("300", "303")), None)
    odd = next((node for node in nodes if node.status not in ("200", "100", "")), None)
    new = next((node for node in nodes if node.status == "100"), None)
    if failed is not None:
        text = _("A node has failed: %(name)s (%(status)s).")
        return Readiness.UNAVAILABLE, text % _named(failed)
    if odd is not None:
        text = _("A node's status is not documented: %(name)s (“%(status)s”).")
        return Readiness.UNKNOWN, text % _named(odd)
    if new is not None:
        return Readiness.BUSY, _("The cluster is busy: node %(name)s is being set up.") % _named(
            new
        )
    return Readiness.READY, _("Available, and log backup is on.")


def _named(node: Instance) -> dict[str, str]:
    return {"name": node.name or node.id, "status": node.status}


def _of_settings(settings: LogSettings | None) -> Verdict:
    if settings is None:
        return Readiness.UNKNOWN, _("The log backup settings could not be read.")
    if not settings.enabled:
        return Readiness.BACKUP_OFF, _("Log backup is switched off for the cluster.")
    missing = [
        name
        for name, value in ((_("bucket"), settings.bucket), (_("agency"), settings.agency))
        if not value.strip()
    ]
    if missing:
        return Readiness.STORAGE_MISSING, _("Log backup is on, but without %(what)s.") % {
            "what": _(" and ").join(missing)
        }
    return Readiness.READY, _("Available, and log backup is on.")


def _of_job(running: LogRecord) -> Verdict:
    since = (
        f"{running.created_at:%Y-%m-%d %H:%M} UTC" if running.created_at else _("an unknown time")
    )
    if running.job_type is JobType.AUTO:
        text = _("The cloud's scheduled log backup has been running since %(since)s.")
    else:
        text = _("A log backup has been running since %(since)s.")
    return Readiness.BUSY, text % {"since": since}


def _of_refusals(refusals: Sequence[Refusal]) -> Iterator[Verdict]:
    for refusal in refusals:
        readiness = readiness_of(refusal.outcome, refusal.code)
        if readiness is not None:
            yield readiness, _in_words(refusal)


def _in_words(refusal: Refusal) -> str:
    meaning = str(explain(refusal.outcome, refusal.code).meaning)
    if refusal.code and code_family(refusal.code) not in CODES:
        meaning = f"{meaning} ({refusal.code})"
    if refusal.run_id is None or refusal.at is None:
        return meaning
    return _("%(meaning)s So the cloud answered run %(id)d at %(time)s.") % {
        "meaning": meaning,
        "id": refusal.run_id,
        "time": f"{refusal.at:%Y-%m-%d %H:%M} UTC",
    }
