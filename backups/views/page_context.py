"""What every page's frame needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.accounts.access import Permission, has_access, may, may_somewhere
from dashboard.version import VERSION
from dashboard.web.display import look_of

if TYPE_CHECKING:
    from dashboard.accounts.models import User


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation.

    Attributes:
        label: its word.
        url: where it leads.
        key: the letter that goes there, after a g.
        current: for `aria-current`: "page" here, "true" further down, "" elsewhere.
    """

    label: str
    url: str
    key: str
    current: str


def frame(request: HttpRequest) -> dict[str, Any]:
    """Navigation, the ribbon, the clock, the version, and what the user may do."""
    user: Any = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "demo_cloud": settings.DEMO_CLOUD,
        "product_version": VERSION,
        "server_now": timezone.now(),
        "zone_name": timezone.get_current_timezone_name(),
        "look": look_of(request),
        "places": _places(request.path, user) if signed_in else [],
        "has_access": signed_in and has_access(user),
        "may_connect": signed_in and may(user, Permission.CONFIGURE),
        "may_audit": signed_in and may_somewhere(user, Permission.AUDIT),
        "may_retain": signed_in and may(user, Permission.AUDIT),
        "may_grant": signed_in and may_somewhere(user, Permission.MEMBERS),
    }


def _places(path: str, user: User) -> list[Place]:
    """The navigation; a run's page is a part of the history."""
    places = [
        (_("Home"), "backups:home", "", ()),
        (_("Clusters"), "backups:clusters", "c", ()),
        (_("History"), "backups:history", "h", ("runs/",)),
        (_("Protection"), "backups:protection", "p", ()),
        (_("Audit trail"), "audit:events", "a", ()),
        (_("Settings"), "backups:settings", "s", ()),
    ]
    if not may_somewhere(user, Permission.AUDIT):
        del places[-2]
    found, root = [], get_script_prefix()
    for label, name, key, more in places:
        url = reverse(name)
        below = url != root and path.startswith((url, *(root + part for part in more)))
        found.append(Place(label, url, key, "page" if path == url else "true" if below else ""))
    return found
