"""What every page's frame needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from backups.presence import Absence, absences
from dashboard.accounts.access import Permission, grantors, has_access, may, may_somewhere

if TYPE_CHECKING:
    from dashboard.accounts.models import User


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
    user: Any = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "demo_cloud": settings.DEMO_CLOUD,
        "server_now": timezone.now(),
        "zone_name": timezone.get_current_timezone_name(),
        "alerts": _alerts(user) if signed_in else [],
        "has_access": signed_in and has_access(user),
        "may_connect": signed_in and may(user, Permission.CONFIGURE),
        "may_audit": signed_in and may_somewhere(user, Permission.AUDIT),
        "may_retain": signed_in and may(user, Permission.AUDIT),
        "may_grant": signed_in and may_somewhere(user, Permission.MEMBERS),
    }


def _alerts(user: User) -> list[Alert]:
    alerts = [_alert(absence) for absence in absences()]
    return alerts if has_access(user) else [_no_access(), *alerts]


def _no_access() -> Alert:
    names = ", ".join(grantors())
    return Alert(
        "warn",
        _("Your account has no role yet, so there is nothing to see."),
        _("Who can grant one: %(names)s.") % {"names": names}
        if names
        else _("Whoever runs the server can grant one, with python manage.py grant."),
    )


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
