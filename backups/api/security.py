"""Who may ask: a token, and its scope."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security.base import AuthBase

from dashboard.accounts.models import User
from dashboard.tokens.authentication import authenticate
from dashboard.tokens.models import ApiToken, Scope

from .problems import OutOfScope


class ApiRequest(HttpRequest):
    """A request whose token was found good.

    Attributes:
        auth: the token.
        user: its account, which may do no more than the token.
    """

    auth: ApiToken
    user: User


class BearerToken(AuthBase):
    """`Authorization: Bearer TOKEN`, with a scope that includes what is asked for."""

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
