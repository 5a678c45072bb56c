"""Accounts and roles of users who sign in through an OpenID Connect provider."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Action, Actor, record
from dashboard.members import granting
from dashboard.members.granting import ProjectNotFound, find_project
from dashboard.members.recording import acting

from .adapters import RECORD_INTERVAL
from .oidc import OidcSession, oidc_is_configured, username_from
from .role_map import ALL_PROJECTS, GroupsOmitted, RoleMapping, groups_of, parse_role_map
from .second_factor import BY_PROVIDER

logger = logging.getLogger(__name__)
Wanted: TypeAlias = set[tuple[Role, Model | None]]

ANY_FACTOR = "*"
MAX_NAME_LENGTH = 140  # leaves room for a number
INVALID_CHARACTERS = re.compile(r"[^\w.@+-]")  # as in Django's user name validator


class OidcAccountAdapter(DefaultSocialAccountAdapter):
    """One provider, from the environment. Its groups decide who gets an account."""

    def get_requests_session(self) -> requests.Session:
        return OidcSession()

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """Return the provider from the environment, and none from the database."""
        if not oidc_is_configured():
            return []
        app = SocialApp(
            provider="openid_connect",
            provider_id=settings.OIDC_ISSUER,
            name=settings.OIDC_NAME,
            client_id=settings.OIDC_CLIENT_ID,
            secret=settings.OIDC_CLIENT_SECRET,
            settings={"server_url": settings.OIDC_ISSUER, "oauth_pkce_enabled": True},
        )
        return [app]

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Update the roles of an existing account before it is signed in."""
        sociallogin.token = None  # do not keep it in the session until the second factor
        # against session fixation, as at sign-in with a password
        request.session.cycle_key()
        if sociallogin.is_existing:
            self._sync_account(request, cast(User, sociallogin.user), sociallogin)

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return whether to create an account: for users in a mapped group, or for everybody."""
        entries = self._role_mappings(request, sociallogin)
        if entries or settings.OIDC_CREATE_ACCOUNTS:
            return True
        raise reject_sign_in(
            request,
            "no account and no mapped group",
            _("You have no account, and none of your groups has a role. Contact an admin."),
        )

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        """Create the account with its roles and events, in one transaction."""
        user = cast(User, sociallogin.user)
        with transaction.atomic():
            user.username = available_username(username_from(sociallogin.claims))
            user.set_unusable_password()
            details = {"issuer": settings.OIDC_ISSUER}
            with acting(Actor.of(request), details=details, created_as=Action.ACCOUNT_MADE):
                sociallogin.save(request)
            self._sync_account(request, user, sociallogin)
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: object,
        error: str = AuthError.UNKNOWN,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Return to the sign-in page, and record an event if the user came from the provider."""
        if error == AuthError.CANCELLED:
            messages.info(request, _("The sign-in was cancelled at the provider."))
        elif "state" not in (extra_context or {}):
            self._report_unknown_state(request)
        else:
            why = str(exception or request.GET.get("error") or "the provider's answer")
            raise reject_sign_in(
                request,
                why,
                _(
                    "The provider's response could not be verified. The log and the audit trail "
                    "have the reason."
                ),
            )
        raise ImmediateHttpResponse(redirect("login"))

    def _report_unknown_state(self, request: HttpRequest) -> None:
        """Record one event a minute for each address: anybody can open the callback URL."""
        messages.error(request, _("This sign-in was not started here or has expired. Try again."))
        actor = Actor.of(request)
        if cache.add(f"oidc-state:{actor.ip}", True, RECORD_INTERVAL):
            details = {"by": "OpenID Connect", "why": "not begun here, or too long ago"}
            record(Action.SIGN_IN_FAILED, actor=actor, details=details)

    def _role_mappings(self, request: HttpRequest, sociallogin: SocialLogin) -> list[RoleMapping]:
        try:
            return role_mappings_for(sociallogin.claims)
        except GroupsOmitted:
            raise reject_sign_in(
                request,
                "the provider left the groups out: too many",
                _(
                    "The provider left out your groups because there are too many. It must send "
                    "only the groups of this application."
                ),
            ) from None

    def _sync_account(self, request: HttpRequest, user: User, login: SocialLogin) -> None:
        apply_roles(request, user, self._role_mappings(request, login))
        if has_trusted_factor(login.claims):
            request.session[BY_PROVIDER] = user.pk
        else:
            request.session.pop(BY_PROVIDER, None)


def reject_sign_in(request: HttpRequest, why: str, text: str) -> ImmediateHttpResponse:
    """Record a failed sign-in, and return the response.

    Args:
        request: the callback.
        why: for the log and the audit trail.
        text: for the user.
    """
    logger.warning("OpenID Connect: %s", why[:300])
    details = {"by": "OpenID Connect", "why": why[:300]}
    record(Action.SIGN_IN_FAILED, actor=Actor.of(request), details=details)
    messages.error(request, text)
    return ImmediateHttpResponse(cast(HttpResponse, redirect("login")))


def has_trusted_factor(claims: dict[str, Any]) -> bool:
    """Return whether the claims contain a second factor listed in OIDC_TRUSTED_FACTORS."""
    trusted = set(settings.OIDC_TRUSTED_FACTORS)
    if ANY_FACTOR in trusted:
        return True
    methods = claims.get("amr")
    said = (
        {each for each in methods if isinstance(each, str)} if isinstance(methods, list) else set()
    )
    if isinstance(claims.get("acr"), str):
        said.add(claims["acr"])
    return not trusted.isdisjoint(said)


def available_username(wanted: str) -> str:
    """Return a user name like the wanted one that no account has, ignoring case.

    An existing account of that name is another user: providers let users choose their names.
    """
    base = (
        INVALID_CHARACTERS.sub("", unicodedata.normalize("NFKC", wanted))[:MAX_NAME_LENGTH]
        or "user"
    )
    name, number = base, 1
    while User.objects.filter(username__iexact=name).exists():
        number += 1
        name = f"{base}-{number}"
    return name


def role_mappings_for(claims: Mapping[str, Any]) -> list[RoleMapping]:
    """Return the entries of OIDC_ROLE_MAP whose groups are in these claims.

    Raises:
        GroupsOmitted: see `role_map.groups_of`.
    """
    groups = groups_of(claims, settings.OIDC_GROUPS_CLAIM)
    return [entry for entry in parse_role_map(settings.OIDC_ROLE_MAP) if entry.group in groups]


def apply_roles(request: HttpRequest, user: User, entries: list[RoleMapping]) -> None:
    """Grant the roles of the provider's groups, and withdraw those that no longer apply.

    Roles granted by hand stay. The last admin can lose the role: a user who left the group must not
    keep it because nobody else has it. `manage.py grant` and superusers can add another admin.

    Args:
        request: the sign-in.
        user: who signs in.
        entries: the matching entries of OIDC_ROLE_MAP.
    """
    actor = replace(Actor.of(request), name=f"{settings.OIDC_NAME} (OpenID Connect)", user=None)
    wanted = _resolve(entries)
    with transaction.atomic():
        held = Grant.objects.filter(user=user, by_provider=True).select_related("project", "user")
        for grant in held:
            if (Role(grant.role), grant.project) in wanted:
                wanted.discard((Role(grant.role), grant.project))
            else:
                granting.withdraw(grant, actor, allow_last=True)
        for role, project in sorted(wanted, key=str):
            try:
                granting.grant(user, role, project, actor, by_provider=True)
            except granting.AlreadyGranted:  # by a concurrent sign-in
                continue


def _resolve(entries: list[RoleMapping]) -> Wanted:
    found: Wanted = set()
    for entry in entries:
        if entry.project == ALL_PROJECTS:
            found.add((entry.role, None))
            continue
        try:
            found.add((entry.role, find_project(entry.project)))
        except ProjectNotFound as error:
            logger.warning("OIDC_ROLE_MAP: %s", error)
    return found
