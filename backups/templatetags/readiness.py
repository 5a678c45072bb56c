"""Tags and filters for readiness: the same words and looks on every page."""

from __future__ import annotations

from django import template
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from heroicons.templatetags.heroicons import heroicon_mini

from backups.choices import Outcome, Readiness, RunState
from backups.guide import READINESS, Explanation
from backups.models import BackupRun, Cluster
from backups.rules.readiness import readiness_of
from backups.views.presentation import Look

register = template.Library()

LOOKS: dict[Readiness, Look] = {
    Readiness.READY: Look("ok", "check-circle"),
    Readiness.BACKUP_OFF: Look("bad", "power"),
    Readiness.STORAGE_MISSING: Look("bad", "archive-box-x-mark"),
    Readiness.BUSY: Look("busy", "arrow-path"),
    Readiness.UNAVAILABLE: Look("bad", "no-symbol"),
    Readiness.UNKNOWN: Look("warn", "question-mark-circle"),
}

# What the page of the log backup settings is called where it would help.
_FIXES: dict[Readiness, str | Promise] = {
    Readiness.BACKUP_OFF: gettext_lazy("Enable log backup"),
    Readiness.STORAGE_MISSING: gettext_lazy("Correct the log backup settings"),
}


@register.simple_tag
def readiness_badge(readiness: str) -> SafeString:
    """A readiness as icon, word and colour."""
    which = Readiness(readiness)
    look = LOOKS[which]
    return format_html(
        '<span class="badge {}">{}<span>{}</span></span>',
        look.tone,
        heroicon_mini(look.icon, size=16, aria_hidden="true"),
        which.label,
    )


@register.filter
def readiness_why(cluster: Cluster) -> str:
    """In which way a cluster is ready or not, or why that is not known."""
    if cluster.readiness_detail:
        return cluster.readiness_detail
    return cluster.check_error or _("Never checked.")


@register.filter
def readiness_words(cluster: Cluster) -> Explanation:
    """What a cluster's readiness means, who acts, what is next."""
    return READINESS[Readiness(cluster.readiness)]


@register.filter
def readiness_fix(cluster: Cluster) -> str:
    """What the link to the log backup settings says where they are the cause; else ""."""
    return str(_FIXES.get(Readiness(cluster.readiness), ""))


@register.filter
def tells_readiness(run: BackupRun) -> bool:
    """Whether a run ended for a reason that the cluster's readiness explains."""
    if run.run_state is RunState.FAILED:
        return True
    refused = run.run_state is RunState.REJECTED
    return refused and readiness_of(Outcome(run.outcome), run.error_code) is not None
