"""What somebody decides about a cluster here: out of the way or not, its labels, its objective."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from backups.forms import ArchiveForm, LabelsForm, ObjectiveForm, form_problems
from backups.models import Cluster, Project
from backups.models.cluster import labels_as_text
from backups.services.clusters import manage
from backups.services.clusters.manage import CannotArchive, LabelsChanged
from backups.services.clusters.protection import set_objective
from dashboard.accounts.access import Permission, require
from dashboard.audit.trail import Actor

from .cluster_rows import permitted_cluster
from .common import PageRequest, bad_request, local_path


@require_POST
def cluster_archive(request: PageRequest, pk: int) -> HttpResponse:
    """Put a cluster out of the way, with a reason; it can be restored at any time."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = ArchiveForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form_problems(form))
    try:
        archived = manage.archive(cluster, Actor.of(request), form.cleaned_data["reason"])
    except CannotArchive as error:
        messages.error(request, str(error))
    else:
        messages.info(
            request,
            (
                _("%(cluster)s is archived: it is neither listed, checked nor counted.")
                if archived
                else _("%(cluster)s was archived already.")
            )
            % {"cluster": cluster.name},
        )
    return _back(request, cluster)


@require_POST
def cluster_restore(request: PageRequest, pk: int) -> HttpResponse:
    """Bring an archived cluster back."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    restored = manage.restore(cluster, Actor.of(request))
    text = _("%(cluster)s is restored.") if restored else _("%(cluster)s was not archived.")
    messages.info(request, text % {"cluster": cluster.name})
    return _back(request, cluster)


@require_POST
def cluster_labels(request: PageRequest, pk: int) -> HttpResponse:
    """Replace a cluster's labels, unless somebody else has changed them meanwhile."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = LabelsForm(request.POST)
    typed = request.POST.get("labels", "")[:6000]
    if not form.is_valid():
        seen = request.POST.get("seen", "")[:6000]
        return _labels_again(request, cluster, typed, seen, form_problems(form), 422)
    wanted, seen = form.cleaned_data["labels"], form.cleaned_data["seen"]
    try:
        changed = manage.set_labels(cluster, wanted, Actor.of(request), seen=seen)
    except LabelsChanged as error:
        now = labels_as_text(error.now)
        problem = f"{error} " + _("They are now: %(labels)s. Save again to replace them.") % {
            "labels": ", ".join(now.splitlines()) or _("none")
        }
        return _labels_again(request, cluster, typed, now, [problem], 409)
    if changed:
        messages.info(
            request, _("The labels of %(cluster)s are saved.") % {"cluster": cluster.name}
        )
    return _back(request, cluster)


def _labels_again(
    request: PageRequest, cluster: Cluster, typed: str, seen: str, problems: list[str], status: int
) -> HttpResponse:
    """The form again with what was typed; `seen` are the labels that this answer shows."""
    context = {"cluster": cluster, "typed": typed, "seen": seen, "problems": problems}
    return render(request, "backups/cluster_labels.html", context, status=status)


@require_POST
def cluster_objective(request: PageRequest, pk: int) -> HttpResponse:
    """Set a cluster's objective; empty gives it the project's again."""
    cluster = permitted_cluster(request, pk, Permission.CONFIGURE)
    form = ObjectiveForm(request.POST)
    if not form.is_valid():
        return bad_request(request, form)
    set_objective(cluster, form.cleaned_data["hours"], Actor.of(request))
    text = _("The objective of %(cluster)s is %(hours)d h.")
    messages.info(request, text % {"cluster": cluster.name, "hours": cluster.objective})
    return _back(request, cluster)


@require_POST
def project_objective(request: PageRequest, pk: int) -> HttpResponse:
    """Set the objective of all clusters of a project that have none of their own."""
    project = get_object_or_404(Project.objects.visible_to(request.user), pk=pk)
    require(request.user, Permission.CONFIGURE, project)
    form = ObjectiveForm(request.POST)
    form.fields["hours"].required = True
    if not form.is_valid():
        return bad_request(request, form)
    count = set_objective(project, form.cleaned_data["hours"], Actor.of(request))
    text = ngettext(
        "The objective of %(project)s is %(hours)d h; it decides for %(count)d cluster.",
        "The objective of %(project)s is %(hours)d h; it decides for %(count)d clusters.",
        count,
    )
    messages.info(
        request, text % {"project": project, "hours": project.objective_hours, "count": count}
    )
    return redirect(
        local_path(request, request.POST.get("back", ""), reverse("backups:protection"))
    )


def _back(request: PageRequest, cluster: Cluster) -> HttpResponse:
    return redirect(local_path(request, request.POST.get("back", ""), cluster.get_absolute_url()))
