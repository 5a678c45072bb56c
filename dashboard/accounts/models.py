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
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from .changes import AnnouncedQuerySet, announced
from .roles import PERMISSIONS, Permission, Role


class UserQuerySet(AnnouncedQuerySet):
    """Accounts. Deactivating them in bulk ends their sessions, as `User.save` does."""

    announced_fields = frozenset(
        {"username", "first_name", "last_name", "email", "is_active", "is_superuser", "password"}
    )

    def _update_announced(self, keys: list[Any], values: dict[str, Any]) -> int:
        changed = super()._update_announced(keys, values)
        if "is_active" in values:
            Session.objects.filter(user__in=keys, user__is_active=False).delete()
            SignInLink.objects.filter(user__in=keys, user__is_active=False).delete()
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

    # Whether the password is being hashed anew at a sign-in, which does not change it.
    _rehashing = False

    def get_absolute_url(self) -> str:
        return reverse("members:account", args=[self.pk])

    def save(self, *args: Any, **options: Any) -> None:
        """Save the account; if it is deactivated, delete its sessions and its one-time link."""
        written = options.get("update_fields")
        names = UserQuerySet.announced_fields
        if self._rehashing or (written is not None and not names & set(written)):
            super().save(*args, **options)
            return
        with announced(User, [self.pk] if self.pk is not None else []) as keys:
            if not self.is_active and (written is None or "is_active" in written):
                Session.objects.filter(user=self.pk).delete()
                SignInLink.objects.filter(user=self.pk).delete()
            super().save(*args, **options)
            if self.pk not in keys:
                keys.append(self.pk)

    def check_password(self, raw_password: str | None) -> bool:
        """Check the password; Django saves it again if its hash is outdated."""
        self._rehashing = True
        try:
            return super().check_password(raw_password)
        finally:
            self._rehashing = False

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


class GrantQuerySet(AnnouncedQuerySet):
    """Grants."""

    announced_fields = frozenset(
        {*("user", "user_id", "group", "group_id", "role", "project", "project_id")}
    )


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
        help_text="null: all projects, including future ones",
    )
    granted_at = models.DateTimeField(auto_now_add=True)
    granted_by_name = models.CharField(max_length=255)
    # Granted through a group of the OpenID Connect provider, and withdrawn when the provider no
    # longer names the group. The same role granted by hand is a separate row, which stays.
    by_provider = models.BooleanField(default=False)

    objects: ClassVar[models.Manager[Grant]] = GrantQuerySet.as_manager()

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

    def save(self, *args: Any, **options: Any) -> None:
        """Save the grant, and announce it."""
        with announced(Grant, [self.pk] if self.pk is not None else []) as keys:
            super().save(*args, **options)
            if self.pk not in keys:
                keys.append(self.pk)

    @property
    def subject(self) -> str:
        """The name of the user or of the group."""
        if self.user is not None:
            return self.user.get_username()
        return self.group.name if self.group is not None else ""


class SignInLink(models.Model):
    """A one-time link with which the user of an account sets a password.

    An account has one at most, the newest. The link itself is not stored.

    Attributes:
        digest: of the link's secret together with the state of the account: another password or
            another superuser status invalidates the link.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="sign_in_link",
    )
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"link of {self.user_id}"


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
