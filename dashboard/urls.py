"""URLs of the whole product."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from .preferences.views import preferences
from .web.views import version

# the admin's own sign-in page enforces neither rate limits nor second factors
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("dashboard.sign_in.urls")),
    path("account/preferences/", preferences, name="preferences"),
    path("admin/", admin.site.urls),
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
