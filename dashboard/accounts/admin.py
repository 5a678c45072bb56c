"""Accounts in Django's admin. There is no sign-up."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from .models import User


class AccountAdmin(UserAdmin):  # type: ignore[type-arg]
    """Accounts, with fewer lookups and editable fields than Django's default."""

    # facts that nobody needs to edit; a time at the end of the calendar cannot be displayed
    readonly_fields = ("last_login", "date_joined")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the filters of the page; otherwise a URL can filter by any column."""
        offered = lookup.partition("__")[0] in self.list_filter
        return offered and super().lookup_allowed(lookup, value, request)


admin.site.register(User, AccountAdmin)
# secrets of users, a second way to configure a provider, and unused models
admin.site.unregister([Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken])
