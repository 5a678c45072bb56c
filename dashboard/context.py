"""What every page's frame needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.presence import Absence, absences


@dataclass(frozen=True, slots=True)
class Alert:
    """A banner on every page.

    Attributes:
        tone: colour token.
        title: what is wrong.
        text: what it means for the runs, and what to do.
    """

    tone: str
    title: str
    text: str


def frame(request: HttpRequest) -> dict[str, Any]:
    """The simulator's ribbon, the server's clock, and banners about missing processes."""
    signed_in = getattr(request, "user", None) is not None and request.user.is_authenticated
    return {
        "demo_cloud": settings.DEMO_CLOUD,
        "server_now": timezone.now(),
        "alerts": [_alert(absence) for absence in absences()] if signed_in else [],
    }


def _alert(absence: Absence) -> Alert:
    seen = (
        _("last seen %(when)s UTC") % {"when": f"{absence.last_seen:%Y-%m-%d %H:%M:%S}"}
        if absence.last_seen
        else _("never seen")
    )
    if absence.kind == "worker":
        return Alert(
            "bad",
            _("No worker is running (%(seen)s).") % {"seen": seen},
            _(
                "Requests are stored and stay queued; none is sent to a cloud, and runs that were "
                "accepted are not followed until a worker is back. Nothing is lost."
            ),
        )
    return Alert(
        "bad",
        _("The scheduler (beat) is not running (%(seen)s).") % {"seen": seen},
        _(
            "New requests are still sent, but retries, lost messages and runs that wait for the "
            "cloud's records stand still until it is back. Nothing is lost."
        ),
    )
