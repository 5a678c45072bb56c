"""``manage.py tokens``: list and revoke the API tokens of all accounts."""

from __future__ import annotations

from django.db.models import F
from django.db.models.expressions import OrderBy
from django.shortcuts import get_object_or_404

from backups.api.queries import page_of
from backups.api.token import ApiRequest
from backups.management.resources import Listing, OfOne, ResourceCommand
from backups.serialize import Json
from backups.serialize_admin import token_line
from dashboard.audit.trail import Actor
from dashboard.tokens.issuing import revoke_token
from dashboard.tokens.models import ApiToken


def _line(token: ApiToken) -> Json:
    return {**token_line(token), "account": token.user.get_username()}


def _list(request: ApiRequest) -> Json:
    rows = ApiToken.objects.select_related("user")
    newest = [OrderBy(F("pk"), descending=True)]
    return page_of(request, rows, newest, _line, kind="all tokens")


def _revoke(request: ApiRequest, pk: int) -> Json:
    token = get_object_or_404(ApiToken.objects.select_related("user"), pk=pk)
    revoke_token(token, Actor.of(request))  # again changes nothing
    token.refresh_from_db()
    return _line(token)


class Command(ResourceCommand):
    help = "List the API tokens of all accounts, without their secrets, or revoke one."
    resource = "token"
    operations = {
        "list": Listing(
            "List tokens, newest first.",
            _list,
            [
                ("TOKEN", "id"),
                ("ACCOUNT", "account"),
                ("NAME", "name"),
                ("SCOPE", "scope"),
                ("USABLE", "usable"),
                ("EXPIRES (UTC)", "expires_at"),
                ("USED (UTC)", "last_used_at"),
            ],
        ),
        "revoke": OfOne("Revoke a token, from the next request on.", _revoke, "revoked"),
    }
