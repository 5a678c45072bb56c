"""URLs of the pages of API tokens."""

from django.urls import path

from . import views

app_name = "tokens"
urlpatterns = [
    path("account/tokens/", views.own, name="own"),
    path("account/tokens/new/", views.create, name="create"),
    path("account/tokens/<int:pk>/revoke/", views.revoke, name="revoke"),
    path("settings/access/tokens/", views.all_tokens, name="all"),
    path("settings/access/tokens/<int:pk>/revoke/", views.revoke_any, name="revoke-any"),
]
