"""Readiness in words: what a request would meet, who acts, what to do."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from backups.choices import Readiness

from .explanation import Actor, Explanation

READINESS: dict[Readiness, Explanation] = {
    Readiness.READY: Explanation(
        _("The cluster is available and set up: the cloud should accept a request."),
        Actor.NOBODY,
        _("Back up when wanted."),
        True,
    ),
    Readiness.BACKUP_OFF: Explanation(
        _("Log backup is switched off for the cluster, so the cloud refuses a request."),
        Actor.OPERATOR,
        _("Enable log backup (bucket, path, agency), then back up."),
        False,
    ),
    Readiness.STORAGE_MISSING: Explanation(
        _("Log backup is on, but the bucket or the agency is missing or cannot be used."),
        Actor.OPERATOR,
        _("Correct bucket and agency in the log backup settings; the agency needs OBS rights."),
        False,
    ),
    Readiness.BUSY: Explanation(
        _("Something else is under way on the cluster, so the cloud refuses a request for now."),
        Actor.WAIT,
        _("Wait until it has ended, or back up with “wait and retry when free”."),
        True,
    ),
    Readiness.UNAVAILABLE: Explanation(
        _("The cluster is not available in the cloud, so nothing can be backed up."),
        Actor.OPERATOR,
        _("Look at the cluster in the cloud's console."),
        False,
    ),
    Readiness.UNKNOWN: Explanation(
        _("Whether a request would be accepted is not known."),
        Actor.DASHBOARD_ADMIN,
        _("Mend what the check names; backing up anyway stays possible."),
        True,
    ),
}
