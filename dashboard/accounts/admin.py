"""Accounts are managed in Django's admin; nobody signs up."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from .models import User


class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    """Accounts, without what Django's admin would let a URL or a form do to their times."""

    # facts: nobody needs to edit them, and a time at the end of the calendar cannot be shown
    readonly_fields = ("last_login", "date_joined")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the page offers as a filter; a URL can name any column otherwise."""
        offered = lookup.partition("__")[0] in self.list_filter
        return offered and super().lookup_allowed(lookup, value, request)


admin.site.register(User, AccountAdmin)
# secrets of others, a second way to configure a provider, and what is not used here
admin.site.unregister([Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken])
