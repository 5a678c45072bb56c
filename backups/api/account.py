"""The token that is used, its account, the account's tokens, and the product's version."""

from __future__ import annotations

from django.db.models import F, Q
from django.db.models.expressions import OrderBy
from django.shortcuts import get_object_or_404
from django.utils import timezone

from backups.serialize import Json, iso
from backups.serialize_admin import project_line, token_line
from dashboard.accounts.access import Permission, may, may_somewhere
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Actor
from dashboard.tokens.issuing import revoke_token
from dashboard.tokens.models import ApiToken, ApiTokenQuerySet
from dashboard.version import VERSION

from . import answers
from .bodies import NoFields
from .declare import Resource
from .queries import PAGED, page_of
from .token import READ, ApiRequest, require_scope

router = Resource("account")
API_VERSION = "v1"


def _permissions(user: User) -> Json:
    return {
        "everywhere": [str(each) for each in Permission if may(user, each)],
        "somewhere": [str(each) for each in Permission if may_somewhere(user, each)],
    }


@router.read("/token", answers.UsedToken, name="token", summary="Describe the token")
def get_token(request: ApiRequest) -> Json:
    """What the token may do: the intersection of its scope, projects and its account's roles."""
    used = request.auth
    return {
        "name": used.name,
        "scope": used.scope,
        "projects": used.project_ids,
        "created_at": iso(used.created_at),
        "expires_at": iso(used.expires_at),
        "account": used.user.get_username(),
        "may": _permissions(request.user),
        "now": iso(timezone.now()),
    }


@router.read("/me", answers.Account, name="me", summary="Describe the account")
def get_me(request: ApiRequest) -> Json:
    """The token's account: its roles where the token is valid, and what it may do with it."""
    user, limits = request.user, request.auth.project_ids
    own = Grant.objects.filter(Q(user=user) | Q(group__user=user)).order_by("pk")
    if limits is not None:
        own = own.filter(Q(project=None) | Q(project__in=limits))
    return {
        "id": user.pk,
        "name": user.get_username(),
        "superuser": user.is_superuser,
        "roles": [
            {
                "role": grant.role,
                "project": project_line(grant.project) if grant.project else None,
                "group": grant.group.name if grant.group else "",
            }
            for grant in own.select_related("project", "group")
        ],
        "may": _permissions(user),
        "token": token_line(request.auth),
    }


@router.read("/version", answers.Version, name="version", summary="Get the version")
def get_version(request: ApiRequest) -> Json:
    """Versions of the product and of the API."""
    return {"version": VERSION, "api": API_VERSION}


@router.read(
    "/tokens", answers.Page[answers.Token], name="tokens", summary="List tokens", parameters=PAGED
)
def list_tokens(request: ApiRequest) -> Json:
    """The account's own tokens, newest first, without their secrets; a limited one lists itself."""
    newest = [OrderBy(F("pk"), descending=True)]
    return page_of(request, _in_reach(request), newest, token_line, kind="tokens")


def _in_reach(request: ApiRequest) -> ApiTokenQuerySet:
    """The account's tokens; for a token that is limited to projects itself alone.

    Others may be valid in other projects.
    """
    own = ApiToken.objects.of(request.user)
    return own if request.auth.project_ids is None else own.filter(pk=request.auth.pk)


@router.act(
    "/tokens/{int:pk}/revoke",
    {200: answers.Token},
    name="token-revoke",
    summary="Revoke a token",
    auth=READ,
)
def revoke_own_token(request: ApiRequest, pk: int, body: NoFields | None = None) -> Json:
    """Revoke one of the account's tokens: itself, or any if unlimited and of the scope “manage”."""
    if pk != request.auth.pk:
        require_scope(request, Permission.CONFIGURE)
    found = get_object_or_404(_in_reach(request).select_related("user"), pk=pk)
    revoke_token(found, Actor.of(request))
    found.refresh_from_db()
    return token_line(found)
