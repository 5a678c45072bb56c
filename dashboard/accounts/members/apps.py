from django.apps import AppConfig


class MembersConfig(AppConfig):
    name = "dashboard.accounts.members"
    label = "members"
