"""``manage.py users``: list the accounts; `grant` changes their roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy

from backups.api.queries import page_of
from backups.api.token import ApiRequest
from backups.management.resources import Listing, ResourceCommand
from backups.serialize import Json, iso
from dashboard.accounts.models import User


def _line(user: User) -> Json:
    return {
        "id": user.pk,
        "name": user.get_username(),
        "active": user.is_active,
        "superuser": user.is_superuser,
        "roles": [
            {"role": each.role, "project": str(each.project) if each.project else None}
            for each in user.grants.all()
        ],
        "groups": [group.name for group in user.groups.all()],
        "last_sign_in_at": iso(user.last_login),
    }


def _prepare(rows: QuerySet[Any, Any]) -> Iterable[User]:
    found: Iterable[User] = rows.prefetch_related("grants__project", "groups")
    return found


def _list(request: ApiRequest) -> Json:
    order = [OrderBy(F("pk"))]
    return page_of(request, User.objects.all(), order, _line, kind="users", prepare=_prepare)


class Command(ResourceCommand):
    help = "List the accounts with the roles that they have themselves."
    resource = "user"
    operations = {
        "list": Listing(
            "List accounts.",
            _list,
            [
                ("USER", "name"),
                ("ACTIVE", "active"),
                ("SUPERUSER", "superuser"),
                ("LAST SIGN-IN (UTC)", "last_sign_in_at"),
                ("ROLES", "roles"),
            ],
        )
    }
