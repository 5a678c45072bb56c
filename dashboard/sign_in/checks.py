"""System checks of sign-in; they run with the checks in dashboard/checks.py."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from dashboard.accounts.roles import Role
from dashboard.checks import TAG

from .role_map import ROLE_MAP_HINT


@register(TAG)
def check_sign_in(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the settings of sessions, second factors and the provider."""
    return [*_limits(), *_roles(), *_provider()]


def _limits() -> Iterator[CheckMessage]:
    wrong = [
        name
        for name in ("SESSION_MAX_HOURS", "SIGN_IN_TRIES", "SIGN_IN_FAILURES")
        if getattr(settings, name) <= 0
    ]
    if settings.SESSION_IDLE_MINUTES < 0:
        wrong.append("SESSION_IDLE_MINUTES")
    if wrong:
        yield Error(
            f"{', '.join(wrong)}: nobody could sign in or stay signed in.",
            hint="Set a number above 0, or omit the variable for its default.",
            id="css.E013",
        )


def _roles() -> Iterator[CheckMessage]:
    unknown = sorted(set(settings.MFA_REQUIRED_ROLES) - set(Role.values))
    if unknown:
        yield Error(
            f"MFA_REQUIRED_ROLES has unknown roles: {', '.join(map(repr, unknown))}.",
            hint=f"Set MFA_REQUIRED_ROLES to a list of {', '.join(Role.values)}.",
            id="css.E014",
        )


def _provider() -> Iterator[CheckMessage]:
    from .oidc import is_secure  # imports models of allauth: only once the apps are ready
    from .role_map import parse_role_map

    given = [
        name
        for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET")
        if getattr(settings, name)
    ]
    if given and len(given) < 3:
        yield Error(
            f"{', '.join(given)} alone cannot configure an OpenID Connect provider.",
            hint="Set OIDC_ISSUER, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET, or none of them.",
            id="css.E015",
        )
    if settings.OIDC_ISSUER and not is_secure(settings.OIDC_ISSUER):
        yield Error(
            "OIDC_ISSUER is not HTTPS: anyone on the network could sign in as any user.",
            hint="Set OIDC_ISSUER to the https:// URL that the provider uses as its issuer.",
            id="css.E015",
        )
    if settings.OIDC_CA_FILE and not os.access(settings.OIDC_CA_FILE, os.R_OK):
        yield Error(
            f"OIDC_CA_FILE={settings.OIDC_CA_FILE!r} is not a readable file.",
            hint="Set OIDC_CA_FILE to a PEM bundle, or omit it.",
            id="css.E015",
        )
    if settings.OIDC_ISSUER and "openid" not in settings.OIDC_SCOPES:
        yield Error(
            "OIDC_SCOPES lacks openid: the provider would send no ID token.",
            hint="Set OIDC_SCOPES=openid,profile and any scope that the provider needs for groups.",
            id="css.E015",
        )
    try:
        parse_role_map(settings.OIDC_ROLE_MAP)
    except ValueError as error:
        yield Error(
            f"OIDC_ROLE_MAP: {error}.",
            hint=ROLE_MAP_HINT,
            id="css.E016",
        )
