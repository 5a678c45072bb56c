"""Pages of the domain."""

from django.urls import path
from django.views.generic import RedirectView

from .views import clusters, history, runs

app_name = "backups"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="backups:clusters"), name="home"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("clusters/live/", clusters.clusters_live, name="clusters-live"),
    path("clusters/<int:pk>/backup/", clusters.cluster_backup, name="cluster-backup"),
    path("history/", history.history, name="history"),
    path("history/live/", history.history_live, name="history-live"),
    path("runs/<int:pk>/", runs.run_detail, name="run-detail"),
    path("runs/<int:pk>/live/", runs.run_live, name="run-live"),
    path("runs/<int:pk>/cancel/", runs.run_cancel, name="run-cancel"),
    path("runs/<int:pk>.json", runs.run_json, name="run-json"),
]
