"""What the bucket holds of a cluster, by day."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from backups.css_api.errors import CssApiError
from backups.models import Cluster, LogSettings
from backups.services.clusters.bucket import BucketContent, read_bucket
from dashboard.accounts.access import Permission, require

from .common import PageRequest


@require_safe
def cluster_bucket(request: PageRequest, pk: int) -> HttpResponse:
    """The button that lists the bucket, and the days once it was pressed.

    The list is read while the page waits, with INTERACTIVE's short limits.
    """
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    cluster = get_object_or_404(visible, pk=pk)
    require(request.user, Permission.RUN, cluster.project)
    found: BucketContent | None = None
    problem = ""
    if request.GET.get("list") == "1":
        try:
            found = read_bucket(cluster)
        except CssApiError as error:
            problem = str(error)
    return render(
        request,
        "backups/bucket.html",
        {
            "cluster": cluster,
            "settings": LogSettings.objects.filter(cluster=cluster).first(),
            "found": found,
            "problem": problem,
        },
        status=502 if problem else 200,
    )
