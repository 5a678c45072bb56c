"""The preferences page."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.accounts.models import User

from .forms import PreferencesForm
from .middleware import language_of


@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: HttpRequest) -> HttpResponse:
    """Show and save the language and time zone of one's own account.

    They only affect the display, so a change is not recorded in the audit trail.
    """
    user = cast(User, request.user)
    if request.method != "POST":
        form = PreferencesForm(initial={"language": user.language, "time_zone": user.time_zone})
        return render(request, "preferences/preferences.html", {"form": form})
    form = PreferencesForm(request.POST)
    if not form.is_valid():
        return render(request, "preferences/preferences.html", {"form": form}, status=422)
    user.language = form.cleaned_data["language"]
    user.time_zone = form.cleaned_data["time_zone"]
    user.save(update_fields=["language", "time_zone"])
    with translation.override(language_of(request)):  # in the newly chosen language
        messages.info(request, _("Your preferences have been saved."))
    return redirect("preferences")
