"""Template tags and filters for readiness and protection of clusters."""

from __future__ import annotations

from django import template
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from backups.choices import Outcome, Readiness, RunState
from backups.guide import READINESS, Explanation
from backups.models import BackupRun, Cluster
from backups.rules.readiness import readiness_of
from backups.views import badges

register = template.Library()

# text of the link to the log backup settings, where they are the cause
_FIXES: dict[Readiness, str | Promise] = {
    Readiness.BACKUP_OFF: gettext_lazy("Enable log backup"),
    Readiness.STORAGE_MISSING: gettext_lazy("Correct the log backup settings"),
}


@register.simple_tag
def readiness_badge(readiness: str) -> SafeString:
    """A readiness as icon, word and colour."""
    return badges.READINESS[readiness].render()


@register.simple_tag
def protection_badge(protection: str) -> SafeString:
    """A state of protection as icon, word and colour."""
    return badges.PROTECTION[protection].render()


@register.filter
def readiness_reason(cluster: Cluster) -> str:
    """Why a cluster is ready or not, or why that is not known."""
    if cluster.readiness_detail:
        return cluster.readiness_detail
    return cluster.check_error or _("Never checked.")


@register.filter
def readiness_explanation(cluster: Cluster) -> Explanation:
    """What a cluster's readiness means, who acts, and what is next."""
    return READINESS[Readiness(cluster.readiness)]


@register.filter
def readiness_fix(cluster: Cluster) -> str:
    """Text of the link to the log backup settings where they are the cause; else ""."""
    return str(_FIXES.get(Readiness(cluster.readiness), ""))


@register.filter
def fix(run: BackupRun) -> str:
    """Text of the link to the log backup settings where they are why a run failed; else ""."""
    if run.cluster.gone_at or run.cluster.archived_at or not readiness_explains(run):
        return ""
    return readiness_fix(run.cluster)


@register.filter
def readiness_explains(run: BackupRun) -> bool:
    """Whether a run ended for a reason that the cluster's readiness explains."""
    if run.run_state is RunState.FAILED:
        return True
    refused = run.run_state is RunState.REJECTED
    return refused and readiness_of(Outcome(run.outcome), run.error_code) is not None
