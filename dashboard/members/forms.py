"""The form that grants a role."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Model, TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.accounts.access import Permission, Role, may, projects_with
from dashboard.accounts.models import User

ALL_PROJECTS = "all"  # explicit, so that a missing field is an error and does not grant everything
MAX_DIGITS = 18


class SubjectKind(TextChoices):
    """Kinds of subjects that can have a role."""

    USER = "user", gettext_lazy("User")
    GROUP = "group", gettext_lazy("Group")


class GrantForm(forms.Form):
    """A role for a user or a group, in a project where the sender may grant roles.

    Args:
        data: the submitted data.
        sender: the user who submitted it.
    """

    kind = forms.ChoiceField(choices=SubjectKind, label=gettext_lazy("For"))
    name = forms.CharField(max_length=150, label=gettext_lazy("Name"))
    role = forms.ChoiceField(choices=Role, label=gettext_lazy("Role"))
    project = forms.CharField(max_length=MAX_DIGITS, label=gettext_lazy("Project"))

    def __init__(self, data: Any, *, sender: User) -> None:
        super().__init__(data)
        self.sender = sender

    def clean_project(self) -> Model | None:
        """Return the project; None for all projects."""
        chosen: str = self.cleaned_data["project"]
        if chosen == ALL_PROJECTS:
            if not may(self.sender, Permission.MEMBERS):
                raise ValidationError(
                    _("Only an admin of all projects can grant a role for all projects.")
                )
            return None
        offered = projects_with(self.sender, Permission.MEMBERS)
        found = offered.filter(pk=int(chosen)).first() if chosen.isdecimal() else None
        if found is None:
            raise ValidationError(_("Choose a project in which you can grant roles."))
        project: Model = found
        return project

    def clean(self) -> dict[str, Any]:
        """Look up the account or the group."""
        super().clean()
        name, kind = self.cleaned_data.get("name"), self.cleaned_data.get("kind")
        if not name or not kind:
            return self.cleaned_data
        subject: User | Group | None
        if kind == SubjectKind.USER:
            subject = User.objects.filter(username=name, is_active=True).first()
            problem = _("There is no active account “%(name)s”.")
        else:
            subject = Group.objects.filter(name=name).first()
            problem = _("There is no group “%(name)s”.")
        if subject is None:
            self.add_error("name", problem % {"name": name})
        self.cleaned_data["subject"] = subject
        return self.cleaned_data
