"""Forms of the pages of accounts and groups."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.accounts.models import User


class FirstSignIn(TextChoices):
    """How the user of a new account signs in for the first time."""

    LINK = "link", gettext_lazy("One-time link")
    PASSWORD = "password", gettext_lazy("Password that you set")


class AccountNameForm(forms.Form):
    """The name of an account."""

    name = forms.CharField(
        max_length=150, label=gettext_lazy("User name"), validators=[User.username_validator]
    )


class NewAccountForm(AccountNameForm):
    """A new account."""

    how = forms.ChoiceField(choices=FirstSignIn, label=gettext_lazy("First sign-in"))


class GroupNameForm(forms.Form):
    """The name of a group: one printable line, for tables and events."""

    name = forms.CharField(max_length=150, label=gettext_lazy("Name"))

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError(_("Use a single line without control characters."))
        return name


class MemberForm(forms.Form):
    """An account that joins or leaves a group."""

    name = forms.CharField(max_length=150, label=gettext_lazy("User name"))

    def clean_name(self) -> User:
        name: str = self.cleaned_data["name"]
        user: User | None = User.objects.filter(username=name).first()
        if user is None:
            raise ValidationError(_("There is no account “%(name)s”.") % {"name": name})
        return user


class GroupChoiceForm(forms.Form):
    """A group that an account joins or leaves."""

    group = forms.ModelChoiceField(Group.objects.all(), label=gettext_lazy("Group"))


class PasswordForm(forms.Form):
    """A new password, typed twice.

    Args:
        data: the submitted data, if any.
        user: whose password it becomes; it must not be similar to the name.
    """

    password1 = forms.CharField(max_length=200, strip=False, label=gettext_lazy("New password"))
    password2 = forms.CharField(
        max_length=200, strip=False, label=gettext_lazy("Confirm new password")
    )

    def __init__(self, data: Any = None, *, user: User) -> None:
        super().__init__(data)
        self.user = user

    def clean_password1(self) -> str:
        password: str = self.cleaned_data["password1"]
        validate_password(password, self.user)
        return password

    def clean(self) -> dict[str, Any]:
        super().clean()
        first, second = (self.cleaned_data.get(f"password{number}") for number in (1, 2))
        if first and second and first != second:
            self.add_error("password2", _("The two passwords differ."))
        return self.cleaned_data
