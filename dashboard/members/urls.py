"""URLs of the pages of roles, accounts and groups."""

from django.urls import path

from . import account_views, group_views, views

app_name = "members"
urlpatterns = [
    path("", views.grants, name="grants"),
    path("grant/", views.grant_add, name="grant-add"),
    path("<int:pk>/withdraw/", views.grant_withdraw, name="grant-withdraw"),
    path("accounts/", account_views.accounts, name="accounts"),
    path("accounts/<int:pk>/", account_views.account_detail, name="account"),
    path("accounts/<int:pk>/sign-in/", account_views.account_sign_in, name="account-sign-in"),
    path("groups/", group_views.groups, name="groups"),
    path("groups/<int:pk>/", group_views.group_detail, name="group"),
]
