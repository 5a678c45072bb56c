"""What a token may be used for."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from dashboard.accounts.roles import Permission


class Scope(TextChoices):
    """The most that a token may do; what its user may not do, it may not do either."""

    READ = "read", _("Read")
    RUN = "run", _("Read and run")

    @property
    def permissions(self) -> frozenset[Permission]:
        """What of the user's permissions is left to the token."""
        return _PERMISSIONS[self]

    @property
    def text(self) -> str:
        """What it is for, in words."""
        return str(_TEXTS[self])

    def includes(self, other: Scope) -> bool:
        """Whether whatever needs the other scope is content with this one."""
        return self.permissions >= other.permissions


# an export has nothing that a list does not show, page by page
_READ = frozenset({Permission.SEE, Permission.AUDIT, Permission.EXPORT})
_PERMISSIONS = {Scope.READ: _READ, Scope.RUN: _READ | {Permission.RUN}}
_TEXTS = {
    Scope.READ: _("sees clusters, protection and runs, and exports runs"),
    Scope.RUN: _("also requests backups and cancels queued runs"),
}
