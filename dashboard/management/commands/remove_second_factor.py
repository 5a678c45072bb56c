"""``manage.py remove_second_factor``: for users who lost their phone and recovery codes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import CommandError
from django.db import transaction

from dashboard.accounts.models import Session, User
from dashboard.audit.trail import Action, Actor, record
from dashboard.commands import DatabaseCommand, shell_user, usage_error


class Command(DatabaseCommand):
    help = (
        "Remove all second factors and recovery codes of an account, and end its sessions. Verify "
        "who asks for it: afterwards, the password alone is enough to sign in."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="USER", help="user name")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise usage_error(f"no account '{options['name']}'")
        actor = Actor.process(shell_user())
        with transaction.atomic():
            factors = Authenticator.objects.filter(user=user)
            kinds = sorted(factors.values_list("type", flat=True))
            if not kinds:
                raise CommandError(f"{user} has no second factor")
            factors.delete()
            Session.objects.filter(user=user).delete()
            details = {"kind": kinds}
            record(Action.SECOND_FACTOR_REMOVED, actor=actor, target=user, details=details)
        self.stdout.write(f"removed: {', '.join(kinds)}")
