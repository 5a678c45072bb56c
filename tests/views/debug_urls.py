"""The site as it is with DEBUG."""

from django.urls import path

from backups.views.layout import styleguide
from dashboard.urls import urlpatterns as product

urlpatterns = [path("styleguide/", styleguide), *product]
