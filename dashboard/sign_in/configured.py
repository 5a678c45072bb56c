"""Whether there is an OpenID Connect provider."""

from __future__ import annotations

from django.conf import settings


def oidc_is_configured() -> bool:
    """Whether accounts can be signed in by a provider."""
    return bool(settings.OIDC_ISSUER and settings.OIDC_CLIENT_ID)
