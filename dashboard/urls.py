"""URLs of the whole product."""

from django.urls import include, path

from .preferences.views import preferences
from .web.views import version

urlpatterns = [
    path("", include("dashboard.sign_in.urls")),
    path("account/preferences/", preferences, name="preferences"),
    path("version", version, name="version"),
    path("audit/", include("dashboard.audit.urls")),
    path("settings/access/", include("dashboard.members.urls")),
    path("", include("dashboard.tokens.urls")),
    path("api/", include("backups.api.urls")),
    path("", include("backups.urls")),
]
# records an event in the audit trail
handler403 = "dashboard.audit.views.permission_denied"
# called by django-allauth's rate limits
handler429 = "dashboard.sign_in.adapters.too_many_requests"
# does not use context processors: they query the database, which might be the cause
handler500 = "dashboard.web.views.server_error"
