"""How protected the clusters are, and what the token is."""

from __future__ import annotations

from django.http import JsonResponse
from django.utils import timezone
from ninja import Router

from backups.lists.clusters import ProtectionFilter
from backups.serialize import iso
from backups.services.clusters.protection import summarised
from dashboard.accounts.access import Permission, may, may_somewhere
from dashboard.accounts.models import User

from .queries import described, refuse_unknown, valid
from .security import READ, ApiRequest

router = Router()

# of a list there is no page here, and of the states all are counted
_LEFT_OUT = ("page", "protection")


@router.get(
    "/protection",
    auth=READ,
    url_name="protection",
    summary="How protected the clusters are",
    tags=["clusters"],
    openapi_extra={"parameters": described(ProtectionFilter, leave_out=_LEFT_OUT)},
)
def protection(request: ApiRequest) -> JsonResponse:
    """How many of the clusters that count are protected, due, overdue, or never backed up."""
    refuse_unknown(request, set(ProtectionFilter.base_filters) - set(_LEFT_OUT))
    found = ProtectionFilter(request.GET, user=request.user)
    valid(found)
    summary = summarised(found.counts_by_state())
    return JsonResponse(
        {
            "protected": summary.protected,
            "total": summary.total,
            "by_state": {str(state): count for state, count in summary.by_state.items()},
            "at": iso(found.now),
        }
    )


@router.get("/token", auth=READ, url_name="token", summary="The token itself", tags=["token"])
def token(request: ApiRequest) -> JsonResponse:
    """What the token may do: what both its scope and its account's roles allow."""
    refuse_unknown(request, ())
    used = request.auth
    return JsonResponse(
        {
            "name": used.name,
            "scope": used.scope,
            "created_at": iso(used.created_at),
            "expires_at": iso(used.expires_at),
            "account": used.user.get_username(),
            "may": {
                "everywhere": _held(request.user),
                "somewhere": [str(p) for p in Permission if may_somewhere(request.user, p)],
            },
            "now": iso(timezone.now()),
        }
    )


def _held(user: User) -> list[str]:
    return [str(permission) for permission in Permission if may(user, permission)]
