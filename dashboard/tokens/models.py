"""API tokens as they are stored: a digest, and all that may be shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .secret import Scope

if TYPE_CHECKING:
    from dashboard.accounts.models import User


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def of(self, user: User) -> ApiTokenQuerySet:
        """The tokens of an account, those that still work first."""
        return self.filter(user=user)

    def living(self, now: datetime | None = None) -> ApiTokenQuerySet:
        """Tokens that are neither revoked nor expired."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=now or timezone.now())


class ApiToken(models.Model):
    """A token of an account. Its secret was shown once and is nowhere.

    Attributes:
        lookup: the part of the token that finds this row.
        digest: SHA-256 of the whole token.
        second_factor_by_provider: it was made in a session whose second factor the identity
            provider had asked for.
        last_used_at, last_used_ip: of a use that was let in, to the minute.
        revoked_why: "" by hand; else what ended it, in a word.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=8, choices=Scope)
    lookup = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    second_factor_by_provider = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    created_ip = models.GenericIPAddressField(null=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    last_used_ip = models.GenericIPAddressField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by_name = models.CharField(max_length=255, blank=True)
    revoked_why = models.CharField(max_length=20, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            # A form that is sent twice makes one token; events tell tokens apart by their names.
            models.UniqueConstraint(
                fields=["user", "name"],
                condition=Q(revoked_at__isnull=True),
                name="token_name_once_per_user",
            ),
            models.CheckConstraint(
                condition=Q(scope__in=Scope.values), name="token_of_known_scope"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at <= timezone.now()

    @property
    def is_living(self) -> bool:
        """Whether it can still be used, as far as the token itself goes."""
        return self.revoked_at is None and not self.is_expired

    @property
    def label(self) -> str:
        """How events name it: its name, and the part that is in the token's text."""
        return f"{self.name} ({self.lookup})"
