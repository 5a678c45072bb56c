"""``manage.py backup``: request backups from the command line."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Count
from django.http import QueryDict

from backups.choices import ACTIVE, RunState, Trigger
from backups.forms import BackupForm
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
from dashboard.commands import DatabaseCommand, Exit, shell_user, usage_error
from dashboard.commands.arguments import seconds
from dashboard.commands.output import json_line, plain

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
            "--timeout",
            type=seconds,
            default=7200.0,
            help="maximum seconds to --wait (default 7200)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_bad_values(options)
        try:
            self._request(options)
        except KeyboardInterrupt:
            text = "interrupted; what was requested continues in the background"
            raise CommandError(text, returncode=Exit.INTERRUPTED) from None

    def _request(self, options: dict[str, Any]) -> None:
        if options["filter"] is not None:
            self._batch(options)
            return
        if options["anyway"] or options["key"]:
            raise usage_error("--anyway and --key need --filter")
        clusters = self._chosen(options["clusters"], everything=options["all"])
        requester = _requester(options["user"], options["reason"])
        _require_permission(requester.user, clusters)
        if reason_required(Trigger.CLI) and not requester.reason.strip():
            raise usage_error(NO_REASON)
        runs = []
        for cluster in clusters:
            try:
                made = request_backup(cluster, requester, wait_minutes=options["wait_if_held"])
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
            raise usage_error("name clusters, or give --all (not both), or --filter")
        present = Cluster.objects.select_related("project").present()
        if everything:
            found = list(present.watched())
            if not found:
                raise CommandError(
                    "no cluster is registered: run `manage.py sync_clusters` first",
                    returncode=Exit.USAGE,
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
            raise usage_error("; ".join(problems))
        return list(chosen.values())

    def _batch(self, options: dict[str, Any]) -> None:
        """Request a batch, and follow it."""
        if options["clusters"] or options["all"]:
            raise usage_error("give --filter without clusters and without --all")
        if options["wait_if_held"]:
            raise usage_error("--wait-if-held does not go with --filter")
        requester = _requester(options["user"], options["reason"])
        query = QueryDict(options["filter"])
        selection, found = selecting.of_filter(query, requester.user)
        problem = selecting.filter_problem(query)
        if not problem and not found.is_valid():
            errors = found.form.errors.items()
            problem = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in errors)
        if problem := problem or selecting.vague(options["filter"], requester.user):
            raise usage_error(f"--filter: {problem}")
        try:
            batch = make_batch(
                selection, requester, anyway=options["anyway"], idempotency_key=options["key"]
            ).batch
        except (BatchProblem, BatchKeyReused) as error:
            raise usage_error(str(error)) from None
        except ReasonMissing:
            raise usage_error(NO_REASON) from None
        if options["wait"]:
            self._follow(batch, options["timeout"], as_json=options["json"])
            return
        progress = progress_of(batch, None)
        if options["json"]:
            self.stdout.write(json_line(batch_document(batch, progress)))
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
            self._draw(progress.done, progress.total, str(progress.left or ""))
            if batch.finished_at is not None or time.monotonic() >= deadline:
                break
            time.sleep(0.5)
        said = f"batch {batch.pk}: {progress.verified} of {progress.total} verified"
        if batch.finished_at is None:
            raise CommandError(
                f"{said}; not ended within {timeout:g} s, it continues in the background",
                returncode=Exit.LATE,
            )
        if progress.verified != progress.total or progress.skipped:
            raise CommandError(said + _left_out(progress), returncode=Exit.NOT_WELL)

    def _draw(self, done: int, total: int, left: str = "") -> None:
        """Draw a bar, on a terminal only."""
        if not self.stderr.isatty():
            return
        filled = BAR * done // max(total, 1)
        text = f"[{'#' * filled}{'.' * (BAR - filled)}] {done} of {total}"
        text += f", {left} left" if left else ""
        self.stderr.write(f"\r{text} ", ending="\n" if done == total else "")

    def _wait(self, ids: list[int], timeout: float, *, as_json: bool) -> None:
        """Print each run as it ends."""
        deadline = time.monotonic() + timeout
        open_ids = set(ids)
        while open_ids and time.monotonic() < deadline:
            ended = BackupRun.objects.filter(pk__in=open_ids).exclude(state__in=ACTIVE)
            for run in ended.order_by("finished_at"):
                self._print(run, as_json=as_json)
                open_ids.discard(run.pk)
            self._draw(len(ids) - len(open_ids), len(ids))
            if open_ids:
                time.sleep(0.5)
        for run in BackupRun.objects.filter(pk__in=open_ids):
            self._print(run, as_json=as_json)
        if open_ids:
            raise CommandError(
                f"{len(open_ids)} of {len(ids)} runs have not ended within {timeout:g} s; "
                "they continue in the background",
                returncode=Exit.LATE,
            )
        counts = dict(
            BackupRun.objects.filter(pk__in=ids).values_list("state").annotate(n=Count("pk"))
        )
        verified = counts.pop("succeeded", 0)
        if counts:
            others = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            raise CommandError(
                f"{verified} of {len(ids)} verified; {others}", returncode=Exit.NOT_WELL
            )

    def _print(self, run: BackupRun, *, as_json: bool) -> None:
        line = run_line(run)
        if as_json:
            self.stdout.write(json_line(line))
        else:
            code = f" {run.error_code}" if run.error_code else ""
            status = f" HTTP {run.http_status}{code}" if run.http_status else ""
            message = f": {run.failed_message or run.message}".rstrip(": ")
            self.stdout.write(
                plain(
                    f"{run.cluster_name} ({run.cluster_cloud_id}) run {run.pk}: "
                    f"{run.state_label}{status}{message}"
                )
            )
        self.stdout.flush()


def _refuse_bad_values(options: dict[str, Any]) -> None:
    """Validate what the page's form has too, by the form. Raises CommandError."""
    names = {"reason": "reason", "wait_minutes": "wait_if_held", "idempotency_key": "key"}
    form = BackupForm({field: options[name] for field, name in names.items()})
    form.fields["reason"].required = False  # `_request` tells how to give it
    if not form.is_valid():
        found = [(names[field], " ".join(map(str, texts))) for field, texts in form.errors.items()]
        raise usage_error("; ".join(f"--{name.replace('_', '-')}: {why}" for name, why in found))


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
            returncode=Exit.USAGE,
        )


def _requester(username: str, reason: str) -> Requester:
    """The named account, or the operating system's user."""
    if not username:
        return Requester(shell_user(), Trigger.CLI, reason=reason)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise usage_error(f"no active account '{username}'")
    return Requester(user.get_username(), Trigger.CLI, user=user, reason=reason)
