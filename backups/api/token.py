"""Bearer tokens: authentication and scopes."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security.base import AuthBase

from dashboard.accounts.access import Permission
from dashboard.accounts.models import User
from dashboard.tokens.authentication import authenticate
from dashboard.tokens.models import ApiToken, Scope

from .problems import OutOfScope


class ApiRequest(HttpRequest):
    """An authenticated request.

    Attributes:
        auth: the token.
        user: its account, limited to the permissions and projects of the token.
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


READ, RUN, MANAGE = (BearerToken(scope) for scope in Scope)


def require_scope(request: ApiRequest, permission: Permission) -> None:
    """Raise OutOfScope unless the token's scope includes a permission."""
    if permission not in Scope(request.auth.scope).permissions:
        raise OutOfScope(next(scope for scope in Scope if permission in scope.permissions))
