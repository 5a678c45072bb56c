"""Granting and withdrawing a role, each with its event in the audit trail."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Model, Q
from django.utils.translation import gettext as _

from dashboard.accounts.access import Permission, Role, all_projects, grantors
from dashboard.accounts.models import Grant, User
from dashboard.accounts.roles import roles_with
from dashboard.audit.trail import Action, Actor, record
from dashboard.db.concurrency import advisory_lock


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
    with transaction.atomic():
        try:
            with transaction.atomic():
                made = Grant.objects.create(
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
        _record(Action.GRANT_ADDED, made, actor)
    return made


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
    with transaction.atomic():
        advisory_lock("withdraw a role")  # else two requests could remove the last two admins
        gone, _rows = Grant.objects.filter(pk=made.pk).delete()
        if not gone:
            return False
        everywhere = made.project is None and made.role in roles_with(Permission.MEMBERS)
        if everywhere and not allow_last and not grantors(None, most=1):
            raise LastGrantor(
                _("Nobody else could grant roles for all projects. Add another admin first.")
            )
        _record(Action.GRANT_REMOVED, made, actor)
    return True


def _record(action: Action, made: Grant, actor: Actor) -> None:
    facts = {"role": made.role, "project": str(made.project or "all projects")}
    record(
        action,
        actor=actor,
        target=made.user or made.group,
        project=made.project,
        before=facts if action is Action.GRANT_REMOVED else None,
        after=facts if action is Action.GRANT_ADDED else None,
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
