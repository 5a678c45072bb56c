"""The product's pages, and what an answer costs that says nothing."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dashboard.urls import urlpatterns as product


@login_not_required
def bare(request: HttpRequest) -> HttpResponse:
    """204 to anyone: Django and its middleware alone."""
    return HttpResponse(status=204)


def signed_in(request: HttpRequest) -> HttpResponse:
    """204 to whoever is signed in: session, account and second factor are looked at."""
    return HttpResponse(status=204)


urlpatterns = [path("bare/", bare), path("signed-in/", signed_in), *product]
