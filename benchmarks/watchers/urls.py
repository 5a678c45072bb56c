"""The product's pages, and two views with empty answers."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dashboard.urls import urlpatterns as product


@login_not_required
def bare(request: HttpRequest) -> HttpResponse:
    """204 to anyone: Django and its middleware alone."""
    return HttpResponse(status=204)


def signed_in(request: HttpRequest) -> HttpResponse:
    """204 to a signed-in user: session, account and second factor are checked."""
    return HttpResponse(status=204)


urlpatterns = [path("bare/", bare), path("signed-in/", signed_in), *product]
