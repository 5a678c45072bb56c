"""``manage.py grant``: grant or withdraw a role."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, cast

from django.contrib.auth.models import Group
from django.core.management.base import CommandError
from django.db.models import Model

from dashboard.accounts.access import Role
from dashboard.accounts.models import Grant, User
from dashboard.audit.trail import Actor
from dashboard.commands import DatabaseCommand, shell_user, usage_error
from dashboard.commands.output import json_line
from dashboard.members import granting
from dashboard.members.granting import ProjectNotFound, find_project


class Command(DatabaseCommand):
    help = (
        "Grant a role to a user or a group, for one project or for all projects, or withdraw it. "
        "Granting it again changes nothing. The command itself requires no role. Exit status: 0, "
        "but 1 if the role cannot be withdrawn, 2 for an unknown name, 4 if the database cannot "
        "be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="USER", help="user name, or group name with --group")
        parser.add_argument("role", choices=Role.values)
        parser.add_argument("--group", action="store_true", help="USER is the name of a group")
        parser.add_argument(
            "--project",
            metavar="PROJECT",
            help="id in the cloud, name, or CLOUD/REGION/NAME; default: all projects",
        )
        parser.add_argument("--withdraw", action="store_true", help="withdraw the role")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        subject = _subject(options["name"], is_group=options["group"])
        project = _project(options["project"]) if options["project"] is not None else None
        role = Role(options["role"])
        actor = Actor.process(shell_user())
        changed = True
        if options["withdraw"]:
            said = f"withdrawn: {_withdraw(subject, role, project, actor)}"
        else:
            try:
                said = f"granted: {granting.grant(subject, role, project, actor)}"
            except granting.AlreadyGranted as error:
                said, changed = f"nothing changed: {error}", False
        if options["json"]:
            where = str(project) if project else None
            held = {"name": options["name"], "role": str(role), "project": where}
            said = json_line({**held, "granted": not options["withdraw"], "changed": changed})
        self.stdout.write(said)


def _withdraw(subject: User | Group, role: Role, project: Model | None, actor: Actor) -> Grant:
    """Withdraw a role. Raises CommandError."""
    whose = {"user": subject} if isinstance(subject, User) else {"group": subject}
    held = Grant.objects.filter(**whose, role=role, project=cast(Any, project))
    made: Grant | None = held.order_by(
        "by_provider"
    ).first()  # the provider would grant its own again
    if made is None:
        raise CommandError(f"{subject} does not have the role {role} there")
    try:
        granting.withdraw(made, actor)
    except granting.LastGrantor as error:
        raise CommandError(str(error)) from None
    return made


def _subject(name: str, *, is_group: bool) -> User | Group:
    if is_group:
        group = Group.objects.filter(name=name).first()
        if group is None:
            raise usage_error(f"no group '{name}'")
        return group
    user: User | None = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise usage_error(f"no active account '{name}'")
    return user


def _project(text: str) -> Model:
    if not text.strip():
        raise usage_error("--project is empty: omit it for all projects")
    try:
        return find_project(text)
    except ProjectNotFound as error:
        raise usage_error(str(error)) from None
