"""The layout around each page: navigation, banners and status; and the style guide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from backups import instance, work
from backups.choices import Protection, Readiness, RunState
from backups.heartbeats import Absence
from backups.work import Trouble
from dashboard.accounts.access import Permission, grantors, has_access, may, may_somewhere
from dashboard.accounts.models import User
from dashboard.version import VERSION
from dashboard.web.display import display_of

from .common import PageRequest
from .live import mark_live
from .presentation import steps


@dataclass(frozen=True, slots=True)
class NavLink:
    """A link of the navigation.

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
    """Context processor: navigation, ribbon, clock, version and permissions."""
    user: Any = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "demo_cloud": settings.DEMO_CLOUD,
        "product_version": VERSION,
        "server_now": timezone.now(),
        "zone_name": timezone.get_current_timezone_name(),
        "display": display_of(request),
        "theme": display_of(request).theme,
        "places": _nav_links(request.path, user) if signed_in else [],
        "has_access": signed_in and has_access(user),
        "may_connect": signed_in and may(user, Permission.CONFIGURE),
        "may_audit": signed_in and may_somewhere(user, Permission.AUDIT),
        "may_retain": signed_in and may(user, Permission.AUDIT),
        "may_grant": signed_in and may_somewhere(user, Permission.MEMBERS),
    }


def _nav_links(path: str, user: User) -> list[NavLink]:
    """The navigation; runs belong to the history, batches to the clusters."""
    places = [
        (_("Home"), "backups:home", "", ()),
        (_("Clusters"), "backups:clusters", "c", ("batches/",)),
        (_("History"), "backups:history", "h", ("runs/",)),
        (_("Protection"), "backups:protection", "p", ("attention/", "report/")),
        (_("Schedules"), "backups:schedules", "d", ()),
        (_("Audit trail"), "audit:events", "a", ()),
        (_("Settings"), "backups:settings", "s", ()),
    ]
    if not may_somewhere(user, Permission.AUDIT):
        del places[-2]
    found, root = [], get_script_prefix()
    for label, name, key, more in places:
        url = reverse(name)
        below = url != root and path.startswith((url, *(root + part for part in more)))
        found.append(NavLink(label, url, key, "page" if path == url else "true" if below else ""))
    return found


@dataclass(frozen=True, slots=True)
class Alert:
    """A banner on every page.

    Attributes:
        tone: colour token.
        title: what is wrong.
        text: what it means for the runs, and what to do.
        remedy: name of the URL where it can be ended, for those who may; else "".
    """

    tone: str
    title: str | Promise
    text: str | Promise
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Processes:
    """Why work does not flow: "" or the kind of the first trouble, and a token of all of them."""

    missing: str
    token: str


def alerts(request: HttpRequest) -> dict[str, Any]:
    """Context processor: banners, and whether work flows."""
    user: Any = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    troubles = work.troubles() if signed_in else []
    kinds = "".join(each.kind for each in troubles[:1])
    return {
        "processes": Processes(kinds, work.token(troubles)),
        "alerts": _alerts(user, troubles) if signed_in else [],
    }


def _alerts(user: User, troubles: list[Trouble]) -> list[Alert]:
    alerts = [_alert(trouble) for trouble in troubles]
    return alerts if has_access(user) else [_no_access(), *alerts]


def banner_changes(user: User, shown: Iterable[str]) -> tuple[list[Alert], list[Alert]]:
    """Banners for a page that was loaded before the situation changed.

    Args:
        user: who looks at it.
        shown: the kinds of trouble that it was made with.

    Returns:
        What stands in place of its banners, as high as they are, and the banners it has none for.
    """
    found = {trouble.kind: trouble for trouble in work.troubles()}
    known = [kind for kind in dict.fromkeys(shown) if kind in _RECOVERED]
    if "worker" in found and "worker" not in known:
        # without a worker there is no scheduler either: the one banner takes the other's place
        known = ["worker" if kind == "scheduler" else kind for kind in known]
    kept = [_alert(found[kind]) if kind in found else _RECOVERED[kind] for kind in known]
    fresh = [_alert(trouble) for kind, trouble in found.items() if kind not in known]
    return ([] if has_access(user) else [_no_access()]) + kept, fresh


def _no_access() -> Alert:
    names = ", ".join(grantors())
    return Alert(
        "warn",
        _("Your account has no role yet, so there is nothing to see."),
        _("Who can grant one: %(names)s.") % {"names": names}
        if names
        else _("The server's administrator can grant one, with python manage.py grant."),
    )


def _alert(trouble: Trouble) -> Alert:
    if trouble.absence is not None:
        return _absent(trouble.absence)
    if trouble.kind == "instance":
        return Alert(
            "bad",
            trouble.words,
            _(
                "Runs that are queued stay queued, and new requests are refused. Accepted runs "
                "are still followed, which only reads."
            ),
            remedy="backups:adoption" if instance.awaits_adoption() else "",
        )
    last = (
        _("no message has been delivered yet")
        if trouble.seconds is None
        else _("the last message was delivered %(number)d s ago") % {"number": trouble.seconds}
    )
    text = _(
        "Requests are stored and stay queued. They are sent automatically as soon as messages "
        "are delivered again. Nothing is lost."
    )
    if trouble.kind == "broker":
        # what Redis says is English, as its documentation is
        title = _("%(words)s (%(last)s).") % {"words": trouble.words, "last": last}
        return Alert("bad", title, text)
    return Alert("bad", _("The queue is stalled (%(last)s).") % {"last": last}, text)


def _absent(absence: Absence) -> Alert:
    seen = _("never seen") if absence.seconds is None else _last_seen(absence.seconds)
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
        _("The scheduler is not running (%(seen)s).") % {"seen": seen},
        _(
            "New requests are still sent, but retries, lost messages and runs that wait for "
            "the cloud's records are on hold until it is back. Nothing is lost."
        ),
    )


def _last_seen(seconds: float) -> str:
    """Time since a process was last seen, by the monotonic clock: wall clocks may be set."""
    minutes = int(seconds // 60)
    if minutes < 2:
        return _("last seen %(number)d s ago") % {"number": seconds}
    if minutes < 120:
        return _("last seen %(number)d min ago") % {"number": minutes}
    return _("last seen %(number)d h ago") % {"number": minutes // 60}


_RECOVERED = {
    "worker": Alert(
        "ok",
        gettext_lazy("A worker is running again."),
        gettext_lazy("Queued requests are sent, and runs that were accepted are followed."),
    ),
    "scheduler": Alert(
        "ok",
        gettext_lazy("The scheduler is running again."),
        gettext_lazy("Retries, lost messages and runs that wait for records are processed again."),
    ),
    "broker": Alert(
        "ok",
        gettext_lazy("The queue takes messages again."),
        gettext_lazy("Queued requests are sent."),
    ),
    "instance": Alert(
        "ok",
        gettext_lazy("This database was adopted."),
        gettext_lazy("Requests are sent again."),
    ),
    "flow": Alert(
        "ok",
        gettext_lazy("The queue delivers messages again."),
        gettext_lazy("Queued requests are sent."),
    ),
}


@require_safe
def frame_live(request: PageRequest) -> HttpResponse:
    """Current status light and banners, for live.js; `was` names those of the page."""
    shown = request.GET.get("was", "")[:40].split(".")
    kept, fresh = banner_changes(request.user, shown)
    return mark_live(render(request, "components/frame.html", {"kept": kept, "fresh": fresh}))


@require_safe
def styleguide(request: PageRequest) -> HttpResponse:
    """The page."""
    return render(
        request,
        "styleguide.html",
        {
            "themes": ("light", "dark"),
            "tones": ("ok", "busy", "warn", "bad", "muted"),
            "states": RunState.values,
            "progress": [(state, steps(state)) for state in RunState],
            "readiness": Readiness.values,
            "protection": Protection.values,
            "kinds": ("verified", "failed", "rejected", "unproven", "none"),
        },
    )
