"""The product's pages and the peers', served by the same processes."""

from django.contrib import admin
from django.urls import path

from benchmarks.history import peers
from dashboard.urls import urlpatterns as product

urlpatterns = [
    path("peer/offset/", peers.offset_page),
    path("peer/minimal/", peers.minimal_page),
    path("admin/", admin.site.urls),
    *product,
]
