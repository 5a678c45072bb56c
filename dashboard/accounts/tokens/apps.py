from django.apps import AppConfig


class TokensConfig(AppConfig):
    name = "dashboard.accounts.tokens"
    label = "tokens"
