"""Cloud Search Service, a method per endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from urllib.parse import quote, urlsplit

from . import parse
from .answer import Reply, read_answer
from .errors import ApiError, ConfigurationError, MalformedAnswer, TransportError
from .fields import ShapeError, is_id
from .pages import IncompleteList, read_list
from .session import CloudConnection, Grant
from .transport import send
from .types import Answer, BodyKind, ClusterInfo, LogRecord, LogSettings

T = TypeVar("T")

COLLECT_CAP = 64 * 1024  # bytes of decoded body: success is empty, an error is short
READ_CAP = 32 * 1024 * 1024
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that was made, and what became of it.

    Attributes:
        method: HTTP method.
        path: path and query of the request.
        started_at: aware UTC time, before the connection was looked for.
        answer: the answer, None when there was none.
        error: why there was none.
    """

    method: str
    path: str
    started_at: datetime
    answer: Answer | None
    error: TransportError | None


class CallRecorder(Protocol):
    """Is told of every request before and after it is made."""

    def before_send(self, method: str, path: str) -> None:
        """Called with the token in hand, directly before the request goes out.

        If it raises, nothing is sent and its exception reaches the caller of the client.
        """

    def after(self, exchange: Exchange) -> None:
        """Called once for each `before_send` that returned.

        If it raises, its exception takes the place of the answer: a recorder that stores must do
        its own retrying.
        """


class CssClient:
    """Calls one project's Cloud Search Service.

    Args:
        connection: from `session.connect`.
        recorder: is told of every request.

    Every method raises, next to what it names:
        ConfigurationError: the id or the configuration cannot be used; nothing was sent.
        IdentityError: no token or endpoint could be had; nothing was sent, or it was answered 401.
        NotSent: not one byte of the request left.
        Unanswered: the request left and no whole answer came.

    A 401 renews the token and sends the request again, once: it was refused at the gate.
    """

    def __init__(self, connection: CloudConnection, recorder: CallRecorder | None = None) -> None:
        self._connection = connection
        self._recorder = recorder

    def list_clusters(self) -> tuple[ClusterInfo, ...]:
        """All clusters of the project: `GET /clusters`, page by page.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: an answer cannot be used, or the list cannot be read to its end.
        """
        return tuple(self._list("/clusters", parse.clusters, lambda cluster: cluster.id))

    def get_cluster(self, cluster_id: str) -> ClusterInfo:
        """One cluster: `GET /clusters/{id}`.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: the answer cannot be used.
        """
        return self._get(_cluster_path(cluster_id), parse.cluster)[0]

    def get_log_settings(self, cluster_id: str) -> LogSettings:
        """Whether and where to logs are backed up: `GET /clusters/{id}/logs/settings`.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: the answer cannot be used.
        """
        return self._get(f"{_cluster_path(cluster_id)}/logs/settings", parse.log_settings)[0]

    def collect_logs(self, cluster_id: str) -> Answer:
        """Ask for a log backup now: `POST /clusters/{id}/logs/collect`, no body, no job id back.

        Returns:
            The answer, whatever its status: what it means is not decided here.
        """
        path = f"{_cluster_path(cluster_id)}/logs/collect"
        return self._call("POST", path, COLLECT_CAP).answer

    def list_log_records(
        self, cluster_id: str, *, newest: int = 100, since: datetime | None = None
    ) -> tuple[LogRecord, ...]:
        """The cloud's log backup jobs: `GET /clusters/{id}/logs/records`.

        The cloud does not promise an order. Reading stops early only when the rows have come newest
        first so far and there are enough of them; the result is sorted here.

        Args:
            cluster_id: the cluster.
            newest: how many to return at most.
            since: leave out what was created before; rows without a time stay.

        Returns:
            Records, newest first by `created_at`, those without a time last.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: an answer cannot be used, or the list cannot be read to its end.
        """

        def enough(rows: list[LogRecord]) -> bool:
            times = [row.created_at for row in rows]
            known = [time for time in times if time is not None]
            if len(known) < len(times) or len(set(known)) < 2 or known != sorted(known)[::-1]:
                return False
            return len(known) >= newest or (since is not None and known[-1] < since)

        path = f"{_cluster_path(cluster_id)}/logs/records"
        rows = self._list(path, parse.log_records, lambda row: row.record_id, enough)
        wanted = [r for r in rows if not (since and r.created_at and r.created_at < since)]
        wanted.sort(key=lambda row: row.created_at or _LONG_AGO, reverse=True)
        return tuple(wanted[:newest])

    def _list(
        self,
        path: str,
        parser: Callable[[object], parse.Page[T]],
        key: Callable[[T], str],
        enough: Callable[[list[T]], bool] = lambda rows: False,
    ) -> list[T]:
        last: list[Answer] = []

        def fetch(query: str) -> parse.Page[T]:
            page, answer = self._get(f"{path}?{query}", parser)
            last[:] = [answer]
            return page

        try:
            return read_list(fetch, key, enough)
        except IncompleteList as error:
            raise MalformedAnswer(last[0], str(error)) from error

    def _get(self, path: str, parser: Callable[[object], T]) -> tuple[T, Answer]:
        reply = self._call("GET", path, READ_CAP)
        answer = reply.answer
        if not answer.ok:
            raise ApiError(answer)
        if answer.body_kind is not BodyKind.JSON_OBJECT:
            words = answer.body_kind.value.replace("_", " ")
            raise MalformedAnswer(answer, f"the body is {words}, not a JSON object")
        try:
            return parser(reply.document), answer
        except ShapeError as error:
            raise MalformedAnswer(answer, str(error)) from error

    def _call(self, method: str, path: str, cap: int) -> Reply:
        """Make one request, and once more with a new token where the first was answered 401."""
        grant = self._connection.grant()
        reply = self._exchange(method, path, cap, grant)
        if reply.answer.status == 401:
            grant = self._connection.grant(refused=grant.token)
            reply = self._exchange(method, path, cap, grant)
        return reply

    def _exchange(self, method: str, path: str, cap: int, grant: Grant) -> Reply:
        connection = self._connection
        url = f"{grant.identity.endpoint}{path}"
        shown = urlsplit(url)._replace(scheme="", netloc="").geturl()
        if self._recorder is not None:
            self._recorder.before_send(method, shown)
        started_at = datetime.now(UTC)
        try:
            raw = send(
                connection.http(),
                method,
                url,
                headers={
                    "Accept": "application/json",
                    "Content-Type": "application/json",
                    "X-Auth-Token": grant.token,
                },
                timeouts=connection.timeouts,
                cap=cap,
                verify=connection.verify,
                cert=connection.cert,
                secrets=connection.secrets,
            )
        except TransportError as error:
            self._report(Exchange(method, shown, started_at, None, error))
            raise
        reply = read_answer(raw, method=method, path=shown, secrets=connection.secrets)
        self._report(Exchange(method, shown, started_at, reply.answer, None))
        return reply

    def _report(self, exchange: Exchange) -> None:
        if self._recorder is not None:
            self._recorder.after(exchange)


def _cluster_path(cluster_id: str) -> str:
    if not is_id(cluster_id):
        raise ConfigurationError(
            "a cluster id is 1 to 64 letters, digits, dots, dashes, underscores"
        )
    return f"/clusters/{quote(cluster_id, safe='')}"
