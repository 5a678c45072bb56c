"""API tokens: their text, and the rows with its digest."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.accounts.roles import Permission

if TYPE_CHECKING:
    from dashboard.accounts.models import User


PREFIX = "csslb_"
_LOOKUP_BYTES = 6
_SECRET_BYTES = 32
_PATTERN = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as a program sends it.

    Attributes:
        lookup: finds its row; no secret.
        text: all of it, the secret too; in no `repr`.
    """

    lookup: str
    text: str = field(repr=False)

    @classmethod
    def make(cls) -> TokenText:
        """A new token that nobody can guess."""
        lookup = secrets.token_hex(_LOOKUP_BYTES)
        return cls(lookup, f"{PREFIX}{lookup}_{secrets.token_urlsafe(_SECRET_BYTES)}")

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """What was sent, None where it is no token."""
        match = _PATTERN.fullmatch(text)
        return cls(match[1], text) if match else None

    @property
    def digest(self) -> str:
        """What is stored. A random secret of 256 bits needs neither salt nor a slow hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether this is the token of a digest; as fast whether it is or not."""
        return hmac.compare_digest(self.digest, digest)


class Scope(TextChoices):
    """The most that a token may do; what its user may not do, it may not do either."""

    READ = "read", _("Read")
    RUN = "run", _("Read and run")

    @property
    def permissions(self) -> frozenset[Permission]:
        """What of the user's permissions is left to the token."""
        return _SCOPE_PERMISSIONS[self]

    @property
    def text(self) -> str:
        """What it is for, in words."""
        return str(_SCOPE_DESCRIPTIONS[self])

    def includes(self, other: Scope) -> bool:
        """Whether whatever needs the other scope is content with this one."""
        return self.permissions >= other.permissions


# an export has nothing that a list does not show, page by page
_READ = frozenset({Permission.SEE, Permission.AUDIT, Permission.EXPORT})
_SCOPE_PERMISSIONS = {Scope.READ: _READ, Scope.RUN: _READ | {Permission.RUN}}
_SCOPE_DESCRIPTIONS = {
    Scope.READ: _("sees clusters, protection and runs, and exports runs"),
    Scope.RUN: _("also requests backups and cancels queued runs"),
}


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def of(self, user: User) -> ApiTokenQuerySet:
        """The tokens of an account, those that still work first."""
        return self.filter(user=user)

    def active(self, now: datetime | None = None) -> ApiTokenQuerySet:
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
    def is_usable(self) -> bool:
        """Whether it can still be used, as far as the token itself goes."""
        return self.revoked_at is None and not self.is_expired

    @property
    def label(self) -> str:
        """How events name it: its name, and the part that is in the token's text."""
        return f"{self.name} ({self.lookup})"
