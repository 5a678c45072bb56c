"""Pages of the domain."""

from django.conf import settings
from django.urls import path

from .views import (
    api_reference,
    backup,
    batches,
    bucket,
    cluster_page,
    clusters,
    connection_entry,
    connections,
    exports,
    history,
    home,
    layout,
    log_search,
    log_settings,
    protection,
    retention,
    runs,
    search,
    settings_page,
)

app_name = "backups"
urlpatterns = [
    path("", home.home, name="home"),
    path("live/", home.home_live, name="home-live"),
    path("frame/live/", layout.frame_live, name="frame-live"),
    path("api-reference/", api_reference.api_reference, name="api-reference"),
    path("search/", search.search, name="search"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("clusters/live/", clusters.clusters_live, name="clusters-live"),
    path("clusters/<int:pk>/backup/", backup.cluster_backup, name="cluster-backup"),
    path("clusters/<int:pk>/", cluster_page.cluster_detail, name="cluster-detail"),
    path("clusters/<int:pk>/live/", cluster_page.cluster_detail_live, name="cluster-detail-live"),
    path("clusters/<int:pk>/check/", cluster_page.cluster_check, name="cluster-check"),
    path("clusters/<int:pk>/archive/", cluster_page.cluster_archive, name="cluster-archive"),
    path("clusters/<int:pk>/restore/", cluster_page.cluster_restore, name="cluster-restore"),
    path("clusters/<int:pk>/labels/", cluster_page.cluster_labels, name="cluster-labels"),
    path("clusters/<int:pk>/objective/", cluster_page.cluster_objective, name="cluster-objective"),
    path("protection/", protection.protection, name="protection"),
    path(
        "protection/projects/<int:pk>/objective/",
        cluster_page.project_objective,
        name="project-objective",
    ),
    path("clusters/<int:pk>/log-backup/", log_settings.log_settings, name="log-settings"),
    path("clusters/<int:pk>/files/", bucket.cluster_bucket, name="cluster-bucket"),
    path("clusters/<int:pk>/logs/", log_search.log_search, name="log-search"),
    path("clusters/register/", connections.cluster_register, name="cluster-register"),
    path("settings/", settings_page.settings_page, name="settings"),
    path("settings/display/", settings_page.display, name="display"),
    path("settings/list/", settings_page.list_look, name="list-look"),
    path("settings/connections/", connections.connections, name="connections"),
    path("settings/connections/add/", connection_entry.connection_entry, name="connection-entry"),
    path("settings/connections/live/", connections.connections_live, name="connections-live"),
    path("settings/connections/test/", connections.connection_test, name="connection-test"),
    path(
        "settings/connections/connect/", connections.connection_connect, name="connection-connect"
    ),
    path(
        "settings/connections/<int:pk>/disconnect/",
        connections.connection_disconnect,
        name="connection-disconnect",
    ),
    path(
        "settings/connections/<int:pk>/sync/", connections.connection_sync, name="connection-sync"
    ),
    path(
        "settings/connections/<int:pk>/file-checks/",
        connections.connection_file_checks,
        name="connection-file-checks",
    ),
    path("settings/adopt/", settings_page.adoption, name="adoption"),
    path("settings/retention/", retention.retention, name="retention"),
    path("settings/retention/change/", retention.retention_change, name="retention-change"),
    path("settings/retention/run/", retention.retention_run, name="retention-run"),
    path("batches/", batches.batches, name="batches"),
    path("batches/new/", batches.batch_new, name="batch-new"),
    path("batches/<int:pk>/", batches.batch_detail, name="batch"),
    path("batches/<int:pk>/live/", batches.batch_live, name="batch-live"),
    path("batches/<int:pk>/cancel/", batches.batch_cancel, name="batch-cancel"),
    path("batches/<int:pk>/retry/", batches.batch_retry, name="batch-retry"),
    path("batches/<int:pk>.json", batches.batch_json, name="batch-json"),
    path("history/", history.history, name="history"),
    path("history/live/", history.history_live, name="history-live"),
    path("history/count/", history.history_count, name="history-count"),
    path("history/views/", history.save_view, name="saved-views"),
    path("history/views/<int:pk>/delete/", history.delete_view, name="saved-view-delete"),
    path("history/exports/", exports.exports, name="exports"),
    path("history/exports/live/", exports.exports_live, name="exports-live"),
    path("runs/<int:pk>/", runs.run_detail, name="run-detail"),
    path("runs/<int:pk>/live/", runs.run_live, name="run-live"),
    path("runs/<int:pk>/cancel/", runs.run_cancel, name="run-cancel"),
    path("runs/<int:pk>/settle/", runs.run_settle, name="run-settle"),
    path("runs/<int:pk>.json", runs.run_json, name="run-json"),
]
if settings.DEBUG:
    urlpatterns.append(path("styleguide/", layout.styleguide, name="styleguide"))
