"""Every exchange with the cloud leaves a row, written before the bytes leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from backups import instance, uptime
from backups.choices import RunState
from backups.css_api.client import Exchange, ShownRequest
from backups.css_api.errors import NotSent
from backups.css_api.types import Answer
from backups.models import ApiCall, BackupRun, Post
from dashboard.db.concurrency import retry_while_unavailable


@dataclass(frozen=True, slots=True)
class Baseline:
    """A cluster's records just before a POST.

    Attributes:
        keys: both ids of every record that was listed; None where they could not be read.
        date: the cloud's time of it, None where it is not known.
    """

    keys: list[str] | None = None
    date: datetime | None = None


class ClaimLost(Exception):
    """The run is no longer this attempt's: nothing may be sent for it."""


class CallLog:
    """A recorder for ``CssClient`` that stores ApiCall rows of one run.

    Args:
        run: the run on whose behalf the calls are made.
        purpose: "collect", "records", "baseline" or "conflict".
    """

    def __init__(self, run: BackupRun, purpose: str) -> None:
        self.run = run
        self.purpose = purpose
        self._open: ApiCall | None = None

    def before_send(self, request: ShownRequest) -> None:
        """Store the call as in flight; called directly before the first byte."""
        now = timezone.now()
        self._open = retry_while_unavailable(lambda: self._store(request, now))

    def _store(self, request: ShownRequest, now: datetime) -> ApiCall:
        # Not create: a try whose COMMIT was cut off may have left the row.
        return ApiCall.objects.get_or_create(
            run=self.run,
            attempt=self.run.attempt,
            purpose=self.purpose,
            method=request.method,
            path=request.path[:500],
            started_at=now,
            defaults={
                "url": request.url[:2000],
                "request_headers": dict(request.headers),
                "request_body": request.body,
            },
        )[0]

    def after(self, exchange: Exchange) -> None:
        """Store what came of it, holding on while the database is away."""
        call, self._open = self._open, None
        if call is None:  # the error came before before_send: there is no row to close
            return
        fill(call, exchange)
        retry_while_unavailable(call.save)


class ClusterTaken(Exception):
    """A run of the same cluster, through another entry of clouds.yaml, has a POST under way."""


class CollectLog(CallLog):
    """The recorder of the POST itself: it also holds the fence.

    The claim is checked, ``sent_at`` written and the POST's row made in one transaction. Whoever
    finds ``sent_at`` empty on a dead worker's claim knows that nothing was sent; a worker that was
    overtaken finds no row to update and sends nothing.

    Args:
        run: whose request it is.
        baseline: what was listed just before; None where that is not known.
    """

    def __init__(self, run: BackupRun, baseline: Baseline | None = None) -> None:
        super().__init__(run, "collect")
        self.baseline = baseline or Baseline()

    def _store(self, request: ShownRequest, now: datetime) -> ApiCall:
        ticked = uptime.now()
        with transaction.atomic():
            held = BackupRun.objects.filter(
                ~instance.is_elsewhere(),
                pk=self.run.pk,
                state=RunState.SENDING,
                attempt=self.run.attempt,
                claimed_by=self.run.claimed_by,
            ).update(sent_at=now, step_uptime=ticked)
            if not held:
                raise ClaimLost(f"run {self.run.pk} attempt {self.run.attempt}")
            self.run.sent_at, self.run.step_uptime = now, ticked
            self._store_post(now, ticked)
            return super()._store(request, now)

    def _store_post(self, now: datetime, ticked: float) -> None:
        try:
            with transaction.atomic():
                Post.objects.update_or_create(
                    run=self.run,
                    attempt=self.run.attempt,
                    # again, where the first try was answered 401
                    defaults={"sent_at": now, "step_uptime": ticked},
                    create_defaults={
                        "sent_at": now,
                        "step_uptime": ticked,
                        "project_id_in_cloud": self.run.project_id_in_cloud,
                        "cluster_cloud_id": self.run.cluster_cloud_id,
                        "baseline": self.baseline.keys,
                        "date_before": self.baseline.date,
                    },
                )
        except IntegrityError as error:
            raise ClusterTaken(f"run {self.run.pk} attempt {self.run.attempt}") from error


def fill(call: ApiCall, exchange: Exchange) -> None:
    """Copy an exchange's result into its row."""
    call.finished_at = timezone.now()
    if exchange.error is not None:
        call.duration_ms = exchange.error.duration_ms
        call.transport_error = exchange.error.kind
        call.message = exchange.error.detail
        call.sent = not isinstance(exchange.error, NotSent)
    elif exchange.answer is not None:
        answer = exchange.answer
        call.status = answer.status
        call.request_id = answer.request_id
        call.error_code = answer.error_code
        call.message = answer.message
        call.duration_ms = answer.duration_ms
        call.body_kind = answer.body_kind
        call.body_size = answer.size
        call.excerpt = answer.excerpt
        call.retry_after = answer.retry_after
        call.answer_date = answer.date


def stored_result(call: ApiCall) -> Answer | None:
    """The answer as a call's row keeps it, for a run whose worker died before it was judged."""
    from backups.css_api.types import BodyKind

    if call.status is None:
        return None
    return Answer(
        method=call.method,
        path=call.path,
        status=call.status,
        request_id=call.request_id,
        error_code=call.error_code,
        message=call.message,
        body_kind=BodyKind(call.body_kind or BodyKind.EMPTY),
        excerpt=call.excerpt,
        size=call.body_size,
        duration_ms=call.duration_ms or 0,
        retry_after=call.retry_after,
        date=call.answer_date,
    )
