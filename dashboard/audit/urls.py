"""URLs of the audit trail."""

from django.urls import path

from . import views

app_name = "audit"
urlpatterns = [
    path("", views.events, name="events"),
    path("<int:sequence>/", views.event_detail, name="event-detail"),
    path("status/", views.chain_status, name="chain-status"),
    path("verify/", views.verify_now, name="verify"),
]
