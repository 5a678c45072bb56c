"""Search in a node's log: lines are read from the cloud and not stored."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from backups.css_api.errors import ApiError, CssApiError
from backups.css_api.types import LogLines, LogQuery
from backups.forms import LogSearchForm, form_problems
from backups.models import Cluster
from backups.rules.log_settings import LEVELS, LOG_TYPES, USUAL_LINES
from backups.services.cloud import INTERACTIVE, client_for
from dashboard.accounts.access import Permission, require

from .common import PageRequest
from .log_settings import explained


@require_safe
def log_search(request: PageRequest, pk: int) -> HttpResponse:
    """The form and the lines found. Logs may hold personal data, so only operators may search.

    It is answered by this process while the page waits, so that no line is stored anywhere, and
    with INTERACTIVE's short limits, so that a cloud that hangs holds a thread for seconds only.
    """
    visible = Cluster.objects.visible_to(request.user).select_related("project")
    cluster = get_object_or_404(visible, pk=pk)
    require(request.user, Permission.RUN, cluster.project)
    asked = "node" in request.GET
    form = LogSearchForm(request.GET if asked else None)
    found: LogLines | None = None
    problems: list[str] = []
    error: CssApiError | None = None
    nodes = [str(node["name"]) for node in cluster.nodes if node.get("name")]
    if asked and not form.is_valid():
        problems = form_problems(form)
    else:
        try:
            if asked:
                found = _search(cluster, form)
            elif not nodes:
                nodes = _ask_for_nodes(cluster)
        except CssApiError as raised:
            error = raised
    if error is not None and not isinstance(error, ApiError):
        problems = [str(error)]
    return render(
        request,
        "backups/log_search.html",
        {
            "cluster": cluster,
            "is_logstash": cluster.engine.lower() == "logstash",
            "nodes": _with(nodes, str(form["node"].value() or "")),
            "form": form,
            "types": LOG_TYPES,
            "levels": LEVELS,
            "usual": USUAL_LINES,
            "found": found,
            "problems": problems,
            "words": explained(error.answer) if isinstance(error, ApiError) else None,
            "failed": error is not None
            and (_("The logs cannot be searched.") if asked else _("The nodes cannot be read.")),
        },
        status=502 if error and asked else 400 if problems and asked else 200,
    )


def _with(nodes: list[str], node: str) -> list[str]:
    """The nodes to choose from, including the requested one where it is not among them."""
    return [*nodes, node] if nodes and node and node not in nodes else nodes


def _ask_for_nodes(cluster: Cluster) -> list[str]:
    info = client_for(cluster, timeouts=INTERACTIVE).get_cluster(cluster.cluster_id)
    return [node.name for node in info.instances if node.name]


def _search(cluster: Cluster, form: LogSearchForm) -> LogLines:
    cleaned = form.cleaned_data
    query = LogQuery(
        node=cleaned["node"],
        log_type=cleaned["type"] or LOG_TYPES[0],
        # deprecation logs have a level of their own, and are returned for ALL only
        levels=() if cleaned["type"] == "deprecation" else tuple(cleaned["level"]),
        limit=cleaned["limit"] or USUAL_LINES,
        before=cleaned["before"],
        keyword=cleaned["keyword"],
    )
    return client_for(cluster, timeouts=INTERACTIVE).search_logs(cluster.cluster_id, query)
