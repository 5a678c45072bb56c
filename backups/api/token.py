"""Bearer tokens: authentication, scopes, and what a token may do."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from ninja import Router
from ninja.security.base import AuthBase

from backups.serialize import iso
from dashboard.accounts.access import Permission, may, may_somewhere
from dashboard.accounts.models import User
from dashboard.tokens.authentication import authenticate
from dashboard.tokens.models import ApiToken, Scope

from .problems import OutOfScope
from .queries import refuse_unknown

router = Router(tags=["token"])


class ApiRequest(HttpRequest):
    """An authenticated request.

    Attributes:
        auth: the token.
        user: its account, limited to the permissions of the token.
    """

    auth: ApiToken
    user: User


class BearerToken(AuthBase):
    """`Authorization: Bearer TOKEN` with a sufficient scope."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, needed: Scope) -> None:
        super().__init__()
        self.needed = needed

    def __call__(self, request: HttpRequest) -> ApiToken:
        token = authenticate(request)
        if not Scope(token.scope).includes(self.needed):
            raise OutOfScope(self.needed)
        return token


READ, RUN = BearerToken(Scope.READ), BearerToken(Scope.RUN)


@router.get("", auth=READ, url_name="token", summary="Describe the token")
def token(request: ApiRequest) -> JsonResponse:
    """What the token may do: the intersection of its scope and its account's roles."""
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
