"""Granting and withdrawing a role, each with its event in the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.utils.translation import gettext as _

from dashboard.accounts.access import Permission, Role, all_projects, grantors
from dashboard.accounts.models import Grant, User
from dashboard.accounts.roles import roles_with
from dashboard.audit.trail import Actor
from dashboard.db.concurrency import advisory_lock

from .recording import acting


class AlreadyGranted(Exception):
    """The user or group already has this role."""


class LastGrantor(Exception):
    """Without this grant, nobody could grant roles for all projects."""


def grant(
    subject: User | Group,
    role: Role,
    project: Model | None,
    actor: Actor,
    *,
    by_provider: bool = False,
) -> Grant:
    """Grant a role.

    Args:
        subject: who gets it; a group's members have it while they are in the group.
        role: the role.
        project: a project; None for all projects, including future ones.
        actor: who grants it. The caller checks whether they may.
        by_provider: it follows from the groups of an OpenID Connect provider, which also end it.

    Raises:
        AlreadyGranted: nothing was changed.
    """
    to = {"user": subject} if isinstance(subject, User) else {"group": subject}
    try:
        with acting(actor):
            return Grant.objects.create(
                **to,
                role=role,
                project=cast(Any, project),
                granted_by_name=actor.name[:255],
                by_provider=by_provider,
            )
    except IntegrityError as error:
        raise AlreadyGranted(
            _("%(name)s already has this role.") % {"name": _name_of(subject)}
        ) from error


def withdraw(made: Grant, actor: Actor, *, allow_last: bool = False) -> bool:
    """Withdraw a role, from the next request on.

    Args:
        made: the grant, with its user or group and its project.
        actor: who withdraws it. The caller checks whether they may.
        allow_last: also if nobody could grant roles for all projects afterwards.

    Returns:
        False if it was already withdrawn.

    Raises:
        LastGrantor: nothing was changed.
    """
    everywhere = made.project is None and made.role in roles_with(Permission.MEMBERS)
    with keeping_a_grantor(needed=everywhere and not allow_last), acting(actor):
        gone, _rows = Grant.objects.filter(pk=made.pk).delete()
    return bool(gone)


@contextmanager
def keeping_a_grantor(*, needed: bool = True) -> Iterator[None]:
    """Make a change in a transaction, unless nobody could grant roles for all projects afterwards.

    Args:
        needed: False if it does not matter.

    Raises:
        LastGrantor: nothing was changed.
    """
    with transaction.atomic():
        advisory_lock("withdraw a role")  # else two requests could remove the last two admins
        had_one = needed and bool(grantors(None, most=1))
        yield
        if had_one and not grantors(None, most=1):
            raise LastGrantor(
                _("Nobody else could grant roles for all projects. Add another admin first.")
            )


def _name_of(subject: User | Group) -> str:
    return subject.get_username() if isinstance(subject, User) else subject.name


class ProjectNotFound(Exception):
    """The text matches no project, or several."""


def find_project(text: str) -> Model:
    """Find a project by its id in the cloud, its name, or CLOUD/REGION/NAME.

    Raises:
        ProjectNotFound: no project matches, or several do; the message lists them.
    """
    named = Q(project_id=text) | Q(name=text)
    if len(parts := [part.strip() for part in text.split("/")]) == 3:
        cloud, region, name = parts
        named |= Q(cloud=cloud, region=region, name=name)
    found = list(all_projects().filter(named)[:10])
    if not found:
        raise ProjectNotFound(f"no project '{text}'")
    if len(found) > 1:
        ids = ", ".join(f"{each.project_id} ({each})" for each in found)
        raise ProjectNotFound(f"'{text}' is not unique, use CLOUD/REGION/NAME: {ids}")
    project: Model = found[0]
    return project
