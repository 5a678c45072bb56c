"""Runs get their project, projects their connections, clusters their last verified backup."""

from datetime import timedelta

from django.db import migrations
from django.db.models import F, Max, OuterRef, Subquery


def fill(apps, schema_editor):
    Project = apps.get_model("backups", "Project")
    Connection = apps.get_model("backups", "Connection")
    Cluster = apps.get_model("backups", "Cluster")
    BackupRun = apps.get_model("backups", "BackupRun")
    of_cluster = Cluster.objects.filter(pk=OuterRef("cluster")).values("project")[:1]
    BackupRun.objects.filter(project=None).update(project=Subquery(of_cluster))
    # An entry may have reached several projects: its connection is with the last one.
    for project in Project.objects.order_by(F("synced_at").asc(nulls_first=True)):
        Connection.objects.update_or_create(
            cloud=project.cloud,
            region=project.region,
            defaults={
                "project": project,
                "synced_at": project.synced_at,
                "sync_error": project.sync_error,
            },
        )
    # As services.protection has it: due in the last quarter of the objective.
    verified = (
        BackupRun.objects.filter(state="succeeded")
        .values("cluster", "cluster__project__objective_hours")
        .annotate(at=Max("finished_at"))
    )
    for row in verified.iterator():
        objective = timedelta(hours=row["cluster__project__objective_hours"])
        Cluster.objects.filter(pk=row["cluster"]).update(
            verified_at=row["at"],
            due_at=row["at"] + objective * 0.75,
            overdue_at=row["at"] + objective,
        )


class Migration(migrations.Migration):
    dependencies = [("backups", "0002_inventory")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
