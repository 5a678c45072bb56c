"""URLs of the page that grants roles."""

from django.urls import path

from . import views

app_name = "members"
urlpatterns = [
    path("", views.grants, name="grants"),
    path("grant/", views.grant_add, name="grant-add"),
    path("<int:pk>/withdraw/", views.grant_withdraw, name="grant-withdraw"),
]
