"""``manage.py backup``: request backups from the command line."""

from __future__ import annotations

import getpass
import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Count
from django.http import QueryDict

from backups.choices import ACTIVE, RunState, Trigger
from backups.models import BackupRun, Batch, Cluster
from backups.serialize import batch_document, run_line
from backups.services.batches import selecting
from backups.services.batches.making import BatchKeyReused, BatchProblem, make_batch
from backups.services.batches.progress import Progress, progress_of
from backups.services.clusters.preflight import blocked_reason
from backups.services.runs.requests import (
    CannotBackUp,
    ReasonMissing,
    Requester,
    reason_required,
    request_backup,
)
from dashboard.accounts.access import Permission, may
from dashboard.accounts.models import User
from dashboard.commands import DatabaseCommand

NO_REASON = "a reason is required for every backup: give --reason"
BAR = 40  # characters of the progress bar


class Command(DatabaseCommand):
    help = (
        "Back up the logs of clusters and print a line for each run. "
        "Without --wait the exit status is 0 once every run is queued. With --wait it is 0 only if "
        "every backup was verified, 1 if one was not, 3 on timeout. "
        "If a name is unknown or ambiguous, nothing is requested and the exit status is 2."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("clusters", nargs="*", metavar="CLUSTER", help="name or cloud id")
        parser.add_argument("--all", action="store_true", help="every cluster that is not archived")
        parser.add_argument(
            "--filter",
            metavar="QUERY",
            help="all clusters that match, as one batch: the query of the clusters page's address, "
            "such as 'label=env=prod&protection=overdue'; 'show=present' for all",
        )
        parser.add_argument(
            "--anyway",
            action="store_true",
            help="with --filter: also clusters that the cloud would probably reject",
        )
        parser.add_argument(
            "--key", default="", help="with --filter: the same key again is the same batch"
        )
        parser.add_argument("--wait", action="store_true", help="wait until every run has ended")
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")
        parser.add_argument("--reason", default="", help="stored with the runs")
        parser.add_argument(
            "--user",
            default="",
            help="request as this account, which needs the permission; without it the command "
            "may back up every cluster",
        )
        parser.add_argument(
            "--wait-if-held",
            type=int,
            default=0,
            metavar="MINUTES",
            help="on a conflict retry for this long instead of ending the run",
        )
        parser.add_argument(
            "--timeout", type=float, default=7200.0, help="maximum seconds to --wait (default 7200)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["filter"] is not None:
            self._batch(options)
            return
        if options["anyway"] or options["key"]:
            raise CommandError("--anyway and --key need --filter", returncode=2)
        clusters = self._chosen(options["clusters"], everything=options["all"])
        requester = _requester(options["user"], options["reason"])
        _require_permission(requester.user, clusters)
        if reason_required(Trigger.CLI) and not requester.reason.strip():
            raise CommandError(NO_REASON, returncode=2)
        runs = []
        for cluster in clusters:
            wait_minutes = max(0, options["wait_if_held"])
            try:
                made = request_backup(cluster, requester, wait_minutes=wait_minutes)
            except CannotBackUp as error:  # archived or gone meanwhile
                self.stderr.write(f"{cluster.name} ({cluster.cluster_id}): {error}")
                continue
            runs.append(made.run)
        if not options["wait"]:
            for run in runs:
                self._print(run, as_json=options["json"])
            return
        self._wait([run.pk for run in runs], options["timeout"], as_json=options["json"])

    def _chosen(self, names: list[str], *, everything: bool) -> list[Cluster]:
        """Resolve all names before requesting anything."""
        if bool(names) == everything:
            raise CommandError("name clusters, or give --all (not both), or --filter", returncode=2)
        present = Cluster.objects.select_related("project").present()
        if everything:
            found = list(present.watched())
            if not found:
                raise CommandError(
                    "no cluster is registered: run `manage.py sync_clusters` first", returncode=2
                )
            return found
        chosen: dict[int, Cluster] = {}
        problems = []
        for name in names:
            matches = list(present.named(name))
            if len(matches) == 1 and (why := blocked_reason(matches[0])):
                problems.append(f"'{name}': {why}")
            elif len(matches) == 1:
                chosen[matches[0].pk] = matches[0]
            elif matches:
                ids = ", ".join(f"{m.cluster_id} ({m.project})" for m in matches)
                problems.append(f"'{name}' is not unique, give the id: {ids}")
            elif Cluster.objects.named(name).exists():
                problems.append(f"'{name}' is gone from the cloud")
            else:
                problems.append(f"'{name}' is not registered")
        if problems:
            raise CommandError("; ".join(problems), returncode=2)
        return list(chosen.values())

    def _batch(self, options: dict[str, Any]) -> None:
        """Request a batch, and follow it."""
        if options["clusters"] or options["all"]:
            raise CommandError("give --filter without clusters and without --all", returncode=2)
        if options["wait_if_held"]:
            raise CommandError("--wait-if-held does not go with --filter", returncode=2)
        requester = _requester(options["user"], options["reason"])
        query = QueryDict(options["filter"])
        selection, found = selecting.of_filter(query, requester.user)
        problem = selecting.filter_problem(query)
        if not problem and not found.is_valid():
            errors = found.form.errors.items()
            problem = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in errors)
        if problem:
            raise CommandError(f"--filter: {problem}", returncode=2)
        try:
            batch = make_batch(
                selection, requester, anyway=options["anyway"], idempotency_key=options["key"]
            ).batch
        except (BatchProblem, BatchKeyReused) as error:
            raise CommandError(str(error), returncode=2) from None
        except ReasonMissing:
            raise CommandError(NO_REASON, returncode=2) from None
        if options["wait"]:
            self._follow(batch, options["timeout"], as_json=options["json"])
            return
        progress = progress_of(batch, None)
        if options["json"]:
            self.stdout.write(json.dumps(batch_document(batch, progress)))
        else:
            self.stdout.write(f"batch {batch.pk}: {progress.total} clusters{_left_out(progress)}")

    def _follow(self, batch: Batch, timeout: float, *, as_json: bool) -> None:
        """Print each run of a batch as it ends; a bar on a terminal."""
        deadline = time.monotonic() + timeout
        printed: set[int] = set()
        while True:
            batch.refresh_from_db()  # before the runs: one that has ended has no more of them
            ended = BackupRun.objects.filter(batch_items__batch=batch).exclude(state__in=ACTIVE)
            for run in ended.order_by("finished_at", "pk"):
                if run.pk not in printed:
                    printed.add(run.pk)
                    self._print(run, as_json=as_json)
            progress = progress_of(batch, None)
            self._draw(progress)
            if batch.finished_at is not None or time.monotonic() >= deadline:
                break
            time.sleep(0.5)
        said = f"batch {batch.pk}: {progress.verified} of {progress.total} verified"
        if batch.finished_at is None:
            raise CommandError(
                f"{said}; not ended within {timeout:g} s, it continues in the background",
                returncode=3,
            )
        if progress.verified != progress.total or progress.skipped:
            raise CommandError(said + _left_out(progress), returncode=1)

    def _draw(self, progress: Progress) -> None:
        if not self.stderr.isatty():
            return
        filled = BAR * progress.done // max(progress.total, 1)
        left = f", {progress.left} left" if progress.left else ""
        self.stderr.write(
            f"\r[{'#' * filled}{'.' * (BAR - filled)}] {progress.done} of {progress.total}{left} ",
            ending="\n" if progress.done == progress.total else "",
        )

    def _wait(self, ids: list[int], timeout: float, *, as_json: bool) -> None:
        """Print each run as it ends."""
        deadline = time.monotonic() + timeout
        open_ids = set(ids)
        while open_ids and time.monotonic() < deadline:
            ended = BackupRun.objects.filter(pk__in=open_ids).exclude(state__in=ACTIVE)
            for run in ended.order_by("finished_at"):
                self._print(run, as_json=as_json)
                open_ids.discard(run.pk)
            if open_ids:
                time.sleep(0.5)
        for run in BackupRun.objects.filter(pk__in=open_ids):
            self._print(run, as_json=as_json)
        if open_ids:
            raise CommandError(
                f"{len(open_ids)} of {len(ids)} runs have not ended within {timeout:g} s; "
                "they continue in the background",
                returncode=3,
            )
        counts = dict(
            BackupRun.objects.filter(pk__in=ids).values_list("state").annotate(n=Count("pk"))
        )
        verified = counts.pop("succeeded", 0)
        if counts:
            others = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            raise CommandError(f"{verified} of {len(ids)} verified; {others}", returncode=1)

    def _print(self, run: BackupRun, *, as_json: bool) -> None:
        line = run_line(run)
        if as_json:
            self.stdout.write(json.dumps(line))
        else:
            code = f" {run.error_code}" if run.error_code else ""
            status = f" HTTP {run.http_status}{code}" if run.http_status else ""
            message = f": {run.failed_message or run.message}".rstrip(": ")
            self.stdout.write(
                f"{run.cluster_name} ({run.cluster_cloud_id}) run {run.pk}: "
                f"{run.state_label}{status}{message}"
            )
        self.stdout.flush()


def _left_out(progress: Progress) -> str:
    """What was not backed up, as the end of a sentence."""
    causes = {str(cause): n for cause, n in progress.skipped.items()}
    parts = [f"{n} skipped: {cause}" for cause, n in sorted(causes.items())]
    others = {str(s): n for s, n in progress.states.items() if s is not RunState.SUCCEEDED}
    parts += [f"{n} {state}" for state, n in sorted(others.items())]
    if progress.cancelled:
        parts.append(f"{progress.cancelled} cancelled while waiting")
    return "".join(f"; {part}" for part in parts)


def _require_permission(user: User | None, clusters: list[Cluster]) -> None:
    """An account needs the same permission as on the pages; without one, shell access is enough."""
    if user is None:
        return
    refused = [c for c in clusters if not may(user, Permission.RUN, c.project)]
    if refused:
        names = ", ".join(f"{c.name} ({c.project})" for c in refused[:10])
        raise CommandError(
            f"'{user.get_username()}' may not back up {names}: "
            "`manage.py grant` gives the role operator",
            returncode=2,
        )


def _requester(username: str, reason: str) -> Requester:
    """The named account, or the operating system's user."""
    if not username:
        return Requester(f"{getpass.getuser()} (command line)", Trigger.CLI, reason=reason)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"no active account '{username}'", returncode=2)
    return Requester(user.get_username(), Trigger.CLI, user=user, reason=reason)
