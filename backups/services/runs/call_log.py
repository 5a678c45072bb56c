"""Store a run's exchanges with the cloud, and set the fence before each POST.

The row of a POST is written before its first byte is sent, the row of a reading together with the
conclusion drawn from it.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from dashboard.db.prepared import Param, Prepared, insert

from .posts import release

INSERTED = 20  # rows of calls in one statement
# the claim that an attempt must still have to send anything
_CLAIMED = Prepared(
    lambda: BackupRun.objects.filter(
        ~instance.is_elsewhere(Param("instance")),
        pk=Param("pk"),
        state=RunState.SENDING,
        attempt=Param("attempt"),
        claimed_by=Param("worker"),
    )
)
_CALL = Prepared(lambda: ApiCall.objects.filter(pk=Param("pk")))


@dataclass(frozen=True, slots=True)
class Baseline:
    """A cluster's records just before a POST.

    Attributes:
        keys: both ids of every listed record; None if the records could not be read.
        date: the cloud's time of the reading, None if not known.
    """

    keys: list[str] | None = None
    date: datetime | None = None


class ClaimLost(Exception):
    """This attempt no longer has the run, so nothing may be sent for it."""


class CallLog:
    """A recorder for ``CssClient`` that stores the readings made for one run.

    A GET needs no fence: `store` writes its row together with the conclusion drawn from it.

    Args:
        run: the run on whose behalf the calls are made.
        purpose: "collect", "records", "baseline" or "conflict".

    Attributes:
        calls: calls that have ended and are not stored yet.
    """

    def __init__(self, run: BackupRun, purpose: str) -> None:
        self.run = run
        self.purpose = purpose
        self.calls: list[ApiCall] = []
        self._open: ApiCall | None = None
        self._tried = False

    def before_send(self, request: ShownRequest) -> None:
        """Record the request; called directly before the first byte is sent."""
        self._open = self._made(request, timezone.now())

    def _made(self, request: ShownRequest, now: datetime) -> ApiCall:
        return ApiCall(
            run_id=self.run.pk,
            attempt=self.run.attempt,
            purpose=self.purpose,
            method=request.method,
            path=request.path[:500],
            started_at=now,
            url=request.url[:2000],
            request_headers=dict(request.headers),
            request_body=request.body,
        )

    def after(self, exchange: Exchange) -> None:
        """Record the result of the request."""
        call, self._open = self._open, None
        if call is not None:  # None if the error came before before_send
            fill(call, exchange)
            self.calls.append(call)

    def store(self) -> None:
        """Write the calls that have ended, in the caller's transaction; safe to call again."""
        again, self._tried = self._tried, True
        _insert(self.calls, again=again)


def _insert(calls: Sequence[ApiCall], *, again: bool) -> None:
    """Insert rows of calls.

    Args:
        calls: the rows.
        again: an earlier try may have inserted them, if the connection broke during its COMMIT.
    """
    for call in calls if again else ():
        same = ApiCall.objects.filter(
            run=call.run_id,
            attempt=call.attempt,
            purpose=call.purpose,
            method=call.method,
            path=call.path,
            started_at=call.started_at,
        )
        call.pk = same.values_list("pk", flat=True).first()
        call._state.adding = call.pk is None
    new = [call for call in calls if call.pk is None]
    for start in range(0, len(new), INSERTED):
        insert(*new[start : start + INSERTED], returning=True)


class ClusterTaken(Exception):
    """A run of the same cluster, through another entry of clouds.yaml, has an active POST."""


class CollectLog(CallLog):
    """The recorder of the POST, which also sets the fence.

    One transaction checks the claim, writes ``sent_at``, and stores the rows of the POST and of the
    call. So an empty ``sent_at`` on a dead worker's claim proves that nothing was sent, and a
    worker whose run was taken over finds no row to update and sends nothing.

    Args:
        run: the run to send.
        baseline: the records listed just before; None if not known.
        read: the readings before the POST, stored with the fence.
        with_transition: True: `store` writes the answer, in the transaction that moves the run.
            False: the answer is written as soon as it arrives.
    """

    def __init__(
        self,
        run: BackupRun,
        baseline: Baseline | None = None,
        *,
        read: Sequence[ApiCall] = (),
        with_transition: bool = False,
    ) -> None:
        super().__init__(run, "collect")
        self.baseline = baseline or Baseline()
        self.calls = list(read)
        self._with_transition = with_transition
        self._answered: list[ApiCall] = []
        self._fenced = False

    def before_send(self, request: ShownRequest) -> None:
        """Store the call as in flight, with the fence; called directly before the first byte.

        Raises:
            ClaimLost: this attempt no longer has the run.
            ClusterTaken: another run's active POST holds the cluster.
        """
        now, first = timezone.now(), not self._fenced
        try:
            self._open = retry_while_unavailable(lambda: self._store(request, now))
        except ClusterTaken:
            if not first:
                raise
            # The conflict may be with this attempt's own row, which the second try looks for.
            self._open = retry_while_unavailable(lambda: self._store(request, now))
        self.calls = []

    def _store(self, request: ShownRequest, now: datetime) -> ApiCall:
        again, self._fenced = self._fenced, True
        with transaction.atomic(savepoint=False):
            held = _CLAIMED.update(
                {"sent_at": now, "step_uptime": uptime.stamp()},
                instance=instance.uid(),
                pk=self.run.pk,
                attempt=self.run.attempt,
                worker=self.run.claimed_by,
            )
            if not held:
                raise ClaimLost(f"run {self.run.pk} attempt {self.run.attempt}")
            self.run.sent_at = now
            self.run.__dict__.pop("step_uptime", None)  # set by the database: loaded on access
            self._store_post(now, again=again)
            self._store_answers()
            call = self._made(request, now)
            _insert([*self.calls, call], again=again)
            return call

    def _store_post(self, now: datetime, *, again: bool) -> None:
        # again: the first try was answered 401, or the connection broke during its COMMIT
        if again and Post.objects.filter(run=self.run, attempt=self.run.attempt).update(
            sent_at=now, step_uptime=uptime.stamp()
        ):
            return
        if self.run.attempt > 1:  # this attempt takes the place of an earlier one
            release(self.run)
        try:
            insert(
                Post(
                    run_id=self.run.pk,
                    attempt=self.run.attempt,
                    sent_at=now,
                    step_uptime=uptime.stamp(),
                    project_id_in_cloud=self.run.project_id_in_cloud,
                    cluster_cloud_id=self.run.cluster_cloud_id,
                    baseline=self.baseline.keys,
                    date_before=self.baseline.date,
                )
            )
        except IntegrityError as error:
            raise ClusterTaken(f"run {self.run.pk} attempt {self.run.attempt}") from error

    def after(self, exchange: Exchange) -> None:
        """Record the result of the request, and store it unless `store` does."""
        call, self._open = self._open, None
        if call is None:
            return
        fill(call, exchange)
        self._answered.append(call)
        if not self._with_transition:
            retry_while_unavailable(self._store_answers)

    def store(self) -> None:
        """Write answers, and readings that no fence has stored, in the caller's transaction."""
        super().store()
        self._store_answers()

    def _store_answers(self) -> None:
        for call in self._answered:
            _CALL.update({name: getattr(call, name) for name in ANSWER}, pk=call.pk)


# the columns of a call that `fill` writes
ANSWER = (
    *("finished_at", "duration_ms", "transport_error", "message", "sent", "status", "request_id"),
    *("error_code", "body_kind", "body_size", "excerpt", "retry_after", "answer_date"),
)


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
    """Rebuild the answer from a call's row, for a run whose worker died before classifying it.

    Returns:
        The answer, None if the row has no status.
    """
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
