"""Causes of attention in SQL, and who has handled them; `rules.causes` is the same in Python."""

from __future__ import annotations

from datetime import datetime

from django.db.models import (
    Case,
    CharField,
    Exists,
    F,
    OuterRef,
    Q,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Left, NullIf
from django.utils.translation import gettext_lazy as _

from backups.choices import AttentionCause, Outcome, Protection, RunState
from backups.models import BackupRun, Handling
from backups.models.cluster import ClusterQuerySet, protection_q
from backups.models.run import BackupRunQuerySet
from backups.rules.causes import (
    BAD_ENDS,
    BLOCKED,
    BUCKET_WORDS,
    ENDED_AS,
    REJECTED_AS,
    SCHEDULE_HOLDS,
)
from backups.rules.readiness import STORAGE_CODES

_REJECTED, _FAILED = Q(state=RunState.REJECTED), Q(state=RunState.FAILED)


class HandledChoice(TextChoices):
    """Whether somebody has handled a cluster's need."""

    NO = "no", _("No")
    YES = "yes", _("Yes")


def last_result(column: str) -> Subquery:
    """A column of a cluster's last run with a result: bad, or verified."""
    return Subquery(_results().values(column)[:1])


def last_cause() -> Coalesce:
    """`rules.causes.run_cause` of a cluster's last run with a result; "" for None."""
    words = Q(*(Q(failed_message__icontains=word) for word in BUCKET_WORDS), _connector=Q.OR)
    by_schedule = Q(outcome=Outcome.CONFLICT, held=SCHEDULE_HOLDS)
    found = Case(
        When(state=RunState.SUCCEEDED, then=Value("")),
        _when(_REJECTED & Q(error_code__in=sorted(STORAGE_CODES)), AttentionCause.BUCKET_REFUSED),
        _when(_REJECTED & by_schedule, AttentionCause.CONFLICT_SCHEDULE),
        *(_when(_REJECTED & Q(outcome=each), REJECTED_AS[each]) for each in REJECTED_AS),
        _when(_REJECTED, AttentionCause.MALFORMED),
        _when(_FAILED & words, AttentionCause.BUCKET_REFUSED),
        *(_when(Q(state=state), cause) for state, cause in ENDED_AS.items()),
        output_field=CharField(),
    )
    runs = _results().annotate(held=Left("conflict_holder", len(SCHEDULE_HOLDS)), found=found)
    return Coalesce(Subquery(runs.values("found")[:1]), Value(""))


def _results() -> BackupRunQuerySet:
    runs = BackupRun.objects.filter(
        cluster=OuterRef("pk"), state__in=[*BAD_ENDS, RunState.SUCCEEDED]
    )
    return runs.order_by("-requested_at", "-id")


def _when(condition: Q, cause: AttentionCause) -> When:
    return When(condition, then=Value(cause.value))


def with_cause(clusters: ClusterQuerySet, now: datetime) -> ClusterQuerySet:
    """Clusters with the alias `attention_cause`: `rules.causes.cause_of`, "" for None.

    Each branch reads the last run at most once.

    Args:
        clusters: any.
        now: the time at which protection is evaluated.
    """
    never, overdue = (protection_q(each, now) for each in (Protection.NEVER, Protection.OVERDUE))
    blocked = Q(readiness__in=BLOCKED)
    cause = Case(
        When(blocked & (never | Q(due_at__lte=now)), then=F("readiness")),
        When(blocked & Q(last_cause=""), then=Value("")),
        When(blocked, then=F("readiness")),
        default=Coalesce(
            NullIf(F("last_cause"), Value("")),
            Case(
                _when(overdue, AttentionCause.OVERDUE),
                _when(never, AttentionCause.NEVER),
                default=Value(""),
                output_field=CharField(),
            ),
        ),
        output_field=CharField(),
    )
    return clusters.alias(last_cause=last_cause()).alias(attention_cause=cause)


def handled_q(now: datetime) -> Exists:
    """A condition for clusters of `with_cause`: somebody has handled what they need."""
    holding = Handling.objects.holding(now).filter(cause=OuterRef("attention_cause"))
    same_time = Q(verified_at=F("cluster__verified_at")) | Q(
        verified_at=None, cluster__verified_at=None
    )
    whole = Q(cluster=None) & (Q(project=None) | Q(project=OuterRef("project_id")))
    return Exists(holding.filter((Q(cluster=OuterRef("pk")) & same_time) | whole))
