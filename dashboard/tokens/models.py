"""API tokens: their format, and the stored rows.

A token is `csslb_`, which secret scanners can recognise, 12 characters that identify its row, `_`,
and 43 characters of a random 256-bit secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import Q, QuerySet, TextChoices
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.accounts.access import all_projects
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
        lookup: identifies its row; not secret.
        text: the whole token with its secret; left out of `repr`.
    """

    lookup: str
    text: str = field(repr=False)

    @classmethod
    def make(cls) -> TokenText:
        """Generate a token."""
        lookup = secrets.token_hex(_LOOKUP_BYTES)
        return cls(lookup, f"{PREFIX}{lookup}_{secrets.token_urlsafe(_SECRET_BYTES)}")

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """Parse a token; None if the text is not one."""
        match = _PATTERN.fullmatch(text)
        return cls(match[1], text) if match else None

    @property
    def digest(self) -> str:
        """The stored digest. A random 256-bit secret needs neither a salt nor a slow hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Return whether this token has a digest, in constant time."""
        return hmac.compare_digest(self.digest, digest)


class Scope(TextChoices):
    """The upper limit of what a token allows, in addition to the permissions of its user."""

    READ = "read", _("Read")
    RUN = "run", _("Read and run")
    MANAGE = "manage", _("Read, run and configure")

    @property
    def permissions(self) -> frozenset[Permission]:
        """The permissions that the scope allows."""
        return _SCOPE_PERMISSIONS[self]

    @property
    def text(self) -> str:
        """A description of the scope."""
        return str(_SCOPE_DESCRIPTIONS[self])

    def includes(self, other: Scope) -> bool:
        """Return whether this scope allows everything that the other one does."""
        return self.permissions >= other.permissions


# an export has no more than the pages of a list
_READ = frozenset({Permission.SEE, Permission.AUDIT, Permission.EXPORT})
_RUN = _READ | {Permission.RUN}
_SCOPE_PERMISSIONS = {
    Scope.READ: _READ,
    Scope.RUN: _RUN,
    # never MEMBERS: a program cannot grant roles
    Scope.MANAGE: _RUN | {Permission.CONFIGURE, Permission.SETTLE},
}
_SCOPE_DESCRIPTIONS = {
    Scope.READ: _("views clusters, protection and runs, and exports runs"),
    Scope.RUN: _("also requests backups and cancels queued runs"),
    Scope.MANAGE: _(
        "also changes clusters, connections, schedules, notifications and log backup settings"
    ),
}


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def of(self, user: User) -> ApiTokenQuerySet:
        """Return the tokens of an account."""
        return self.filter(user=user)

    def active(self, now: datetime | None = None) -> ApiTokenQuerySet:
        """Return tokens that are neither revoked nor expired."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=now or timezone.now())


class ApiToken(models.Model):
    """A token of an account. Its secret is not stored.

    Attributes:
        lookup: the part of the token that identifies this row.
        digest: SHA-256 of the whole token.
        second_factor_by_provider: created in a session for which the identity provider verified a
            second factor.
        last_used_at, last_used_ip: of the last accepted request, to the minute.
        project_ids: keys of the projects that the token is limited to; None: all of its account.
            Plain keys: a token of deleted projects must not become one of all.
        revoked_why: "password" or "expired"; "" if a person revoked it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=8, choices=Scope)
    project_ids = models.JSONField(null=True, blank=True)
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
            # A form sent twice creates one token, and events identify tokens by their names.
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
        """Whether the token has expired."""
        return self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        """Whether the token is neither revoked nor expired. Its account may be deactivated."""
        return self.revoked_at is None and not self.is_expired

    @property
    def projects(self) -> QuerySet[Any] | None:
        """The projects that the token is limited to; None: all of its account."""
        if self.project_ids is None:
            return None
        return all_projects().filter(pk__in=self.project_ids)

    @property
    def label(self) -> str:
        """The name of the token in events, with its lookup."""
        return f"{self.name} ({self.lookup})"
