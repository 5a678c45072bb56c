"""Accounts are managed in Django's admin; nobody signs up."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from .models import User

admin.site.register(User, UserAdmin)
# secrets of others, a second way to configure a provider, and what is not used here
admin.site.unregister([Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken])
