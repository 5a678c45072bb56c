"""The search over clusters and runs, which every page offers."""

from __future__ import annotations

import re

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from backups.lists.clusters import ClusterFilter
from backups.lists.history import RUN_KEYSET, HistoryFilter
from backups.models import BackupRun, Cluster
from dashboard.db.keyset import PageQuery

from .cluster_rows import rows_in_order
from .common import PageRequest
from .history import listed_runs

MOST_FOUND = 8  # of each kind; the lists have the rest
LONGEST = 100  # characters that are looked for
_RUN = re.compile(r"(?:run\s*|#)([0-9]{1,18})\Z", re.IGNORECASE | re.ASCII)


@require_safe
def search(request: PageRequest) -> HttpResponse:
    """Clusters and runs for a text. A run's number and a cluster's id lead straight to it."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST]
    user = request.user
    if number := _RUN.match(text):
        run = BackupRun.objects.visible_to(user).filter(pk=int(number[1])).first()
        if run is not None:
            return redirect(run)
    same = list(Cluster.objects.visible_to(user).filter(cluster_id=text)[:2]) if text else []
    if len(same) == 1:
        return redirect(same[0])
    context: dict[str, object] = {"text": text}
    if text:
        everywhere = QueryDict(mutable=True)
        everywhere["q"] = text
        clusters = ClusterFilter(everywhere, user=user)
        runs = HistoryFilter(everywhere, user=user)
        if clusters.is_valid() and runs.is_valid():
            pks = clusters.matching.order_by("name", "pk").values_list("pk", flat=True)
            listed = list(pks[: MOST_FOUND + 1])
            page = RUN_KEYSET.read(runs.branches(), PageQuery(), MOST_FOUND, listed_runs)
            context |= {
                "rows": rows_in_order(listed[:MOST_FOUND], user),
                "more_clusters": len(listed) > MOST_FOUND,
                "runs": page.rows,
                "more_runs": page.has_older,
                "window": runs.window_in_force,
                "query": everywhere.urlencode(),
            }
    return render(request, "backups/search.html", context)
