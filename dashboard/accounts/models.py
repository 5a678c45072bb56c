"""Accounts, their grants and their sessions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models, transaction
from django.db.models import Q
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from .roles import PERMISSIONS, Permission, Role


class UserQuerySet(models.QuerySet["User"]):
    """Accounts. Deactivating them in bulk ends their sessions, as `User.save` does."""

    def update(self, **values: Any) -> int:
        if "is_active" not in values:
            return super().update(**values)
        with transaction.atomic():
            pks = list(self.order_by().values_list("pk", flat=True))
            changed = super().update(**values)
            Session.objects.filter(user__in=pks, user__is_active=False).delete()
        return changed


class UserManager(DjangoUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    """Django's manager, with `UserQuerySet`."""

    use_in_migrations = False


class User(AbstractUser):
    """A person or a service account.

    Attributes:
        language: language code of the pages; empty: as the browser requests.
        time_zone: name in the time zone database; empty: as the browser reports.
    """

    language = models.CharField(max_length=16, blank=True)
    time_zone = models.CharField(max_length=64, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    def save(self, *args: Any, **options: Any) -> None:
        """Save the account, and delete its sessions if it was deactivated."""
        with transaction.atomic():
            super().save(*args, **options)
            written = options.get("update_fields")
            if not self.is_active and (written is None or "is_active" in written):
                self.sessions.all().delete()

    @cached_property
    def held_permissions(self) -> Mapping[int | None, frozenset[Permission]]:
        """Permissions by project key; under None, those for all projects.

        Read once for each request. Use the functions in `access`, which interpret it.
        """
        if not self.is_active:
            return {}
        if self.is_superuser:
            return {None: frozenset(Permission)}
        held: dict[int | None, frozenset[Permission]] = defaultdict(frozenset)
        own = Grant.objects.filter(Q(user=self) | Q(group__user=self))
        for role, project in own.values_list("role", "project_id"):
            held[project] |= PERMISSIONS[Role(role)]
        return dict(held)

    def has_role(self, roles: Collection[str]) -> bool:
        """Return whether this user has one of these roles anywhere, directly or through a group.

        Args:
            roles: values of `Role`. A superuser counts as an admin.
        """
        if self.is_superuser and Role.ADMIN in roles:
            return True
        own = Grant.objects.filter(Q(user=self) | Q(group__user=self))
        return own.filter(role__in=roles).exists()


class Grant(models.Model):
    """A role of a user or of a group, for one project or for all projects."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    group = models.ForeignKey(
        Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    role = models.CharField(max_length=10, choices=Role)
    project = models.ForeignKey(
        settings.PROJECT_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
        help_text="empty: all projects, those to come too",
    )
    granted_at = models.DateTimeField(auto_now_add=True)
    granted_by_name = models.CharField(max_length=255)
    # Granted through a group of the OpenID Connect provider, and withdrawn when the provider no
    # longer names the group. The same role granted by hand is a separate row, which stays.
    by_provider = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
                name="grant_to_user_or_group",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="grant_of_known_role"),
            # NULLs are distinct, so grants for all projects need their own constraint
            models.UniqueConstraint(
                fields=["user", "role", "project", "by_provider"],
                name="grant_once_per_user_and_project",
            ),
            models.UniqueConstraint(
                fields=["user", "role", "by_provider"],
                condition=Q(project__isnull=True),
                name="grant_once_per_user_for_all",
            ),
            models.UniqueConstraint(
                fields=["group", "role", "project"], name="grant_once_per_group_and_project"
            ),
            models.UniqueConstraint(
                fields=["group", "role"],
                condition=Q(project__isnull=True),
                name="grant_once_per_group_for_all",
            ),
        ]

    def __str__(self) -> str:
        where = self.project or _("all projects")
        return f"{Role(self.role).label}: {self.subject}, {where}"

    @property
    def subject(self) -> str:
        """The name of the user or of the group."""
        if self.user is not None:
            return self.user.get_username()
        return self.group.name if self.group is not None else ""


class Session(AbstractBaseSession):
    """The session of a browser, signed in or about to.

    Attributes:
        user: None before the sign-in.
        handle: identifies the session on pages; the session key is a secret.
        signed_in_at: time of the sign-in; None before.
        seen_at: last request made by a person, to the minute.
        ip: address at the sign-in.
        user_agent: as the browser reported it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="sessions",
    )
    handle = models.CharField(max_length=32, blank=True, editable=False)
    signed_in_at = models.DateTimeField(null=True, editable=False)
    seen_at = models.DateTimeField(null=True, editable=False)
    ip = models.GenericIPAddressField(null=True, editable=False)
    user_agent = models.CharField(max_length=300, blank=True, editable=False)

    class Meta(AbstractBaseSession.Meta):
        pass

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        return store
