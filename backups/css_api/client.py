"""Client of Cloud Search Service: one method for each endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote

from . import parse
from .answer import Reply
from .errors import ApiError, ConfigurationError, MalformedAnswer
from .exchange import Body, CallRecorder, Exchange, Exchanger, ShownRequest, time_index
from .pages import IncompleteList, read_list
from .parse import ShapeError, is_id
from .session import CloudConnection
from .types import (
    Answer,
    BodyKind,
    ClusterInfo,
    LogLines,
    LogPolicy,
    LogQuery,
    LogRecord,
    LogRecords,
    LogSettingsInfo,
    LogStorage,
)

__all__ = ["CallRecorder", "CssClient", "Exchange", "ShownRequest"]

T = TypeVar("T")

COLLECT_CAP = 64 * 1024  # bytes of decoded body: success is empty, an error is short
READ_CAP = 32 * 1024 * 1024
# Explicit although it is the documented default: real-time collection has the same paths.
_LOG_BACKUP = "action=base_log_collect"
# Codes of a 400 that may mean that parameters have other names.
_UNKNOWN_NAMES = frozenset({"CSS.0001", "CSS.0017", "CSS.5037"})


class CssClient:
    """Calls one project's Cloud Search Service.

    Args:
        connection: from `session.connect`.
        recorder: receives every request and its result.

    Every method also raises:
        ConfigurationError: the id or the configuration is not valid; nothing was sent.
        IdentityError: no token or endpoint; nothing was sent, or the response was a 401.
        NotSent: no byte of the request was sent.
        Unanswered: the request was sent, but no complete response came.

    After a 401 the token is renewed and the request is sent again, once.
    """

    def __init__(self, connection: CloudConnection, recorder: CallRecorder | None = None) -> None:
        self._exchanger = Exchanger(connection, recorder)

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

    def get_log_settings(self, cluster_id: str) -> LogSettingsInfo:
        """Log backup settings of a cluster: `GET /clusters/{id}/logs/settings`.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: the answer cannot be used.
        """
        return self._get(f"{_cluster_path(cluster_id)}/logs/settings", parse.log_settings)[0]

    def collect_logs(self, cluster_id: str) -> Answer:
        """Request a log backup: `POST /clusters/{id}/logs/collect`. No body, no job id in return.

        Returns:
            The answer, whatever its status; rules/outcomes.py classifies it.
        """
        path = f"{_cluster_path(cluster_id)}/logs/collect"
        return self._exchanger.call("POST", path, COLLECT_CAP).answer

    def open_logs(self, cluster_id: str, storage: LogStorage) -> Answer:
        """Turn log backup on: `POST /clusters/{id}/logs/open`.

        Requests that change settings are never repeated without a response: read
        `get_log_settings` to find out whether the change took effect.

        Returns:
            The answer, whatever its status; a 2xx has no body.
        """
        return self._change("POST", cluster_id, f"open?{_LOG_BACKUP}", storage)

    def update_log_settings(self, cluster_id: str, storage: LogStorage) -> Answer:
        """Change the destination of log backups: `POST /clusters/{id}/logs/settings`.

        Returns:
            The answer, whatever its status; a 2xx has no body.
        """
        return self._change("POST", cluster_id, f"settings?{_LOG_BACKUP}", storage)

    def close_logs(self, cluster_id: str) -> Answer:
        """Turn log backup off: `PUT /clusters/{id}/logs/close`.

        This also deletes the daily policy, manual backups and records of failed jobs.

        Returns:
            The answer, whatever its status; a 2xx has no body.
        """
        return self._change("PUT", cluster_id, f"close?{_LOG_BACKUP}")

    def update_policy(self, cluster_id: str, policy: LogPolicy) -> Answer:
        """Set the cloud's daily backup: `POST /clusters/{id}/logs/policy/update`.

        Returns:
            The answer, whatever its status; a 2xx has no body.
        """
        return self._change("POST", cluster_id, "policy/update", policy)

    def close_policy(self, cluster_id: str) -> Answer:
        """Stop the cloud's daily backups: `PUT /clusters/{id}/logs/policy/close`.

        Returns:
            The answer, whatever its status; a 2xx has no body.
        """
        return self._change("PUT", cluster_id, "policy/close")

    def search_logs(self, cluster_id: str, query: LogQuery) -> LogLines:
        """Search a node's current log: `POST /clusters/{id}/logs/search`. It changes nothing.

        The documents have two sets of parameter names. If the current ones are rejected, the
        former ones are tried once, and what they cannot say is applied here.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: the answer cannot be used.
        """
        path = f"{_cluster_path(cluster_id)}/logs/search"
        try:
            return _parsed(self._exchanger.call("POST", path, READ_CAP, query), parse.log_lines)
        except ApiError as error:
            if error.answer.status != 400 or error.answer.error_code not in _UNKNOWN_NAMES:
                raise
            former = replace(query, old_names=True)
            reply = self._exchanger.call("POST", path, READ_CAP, former)
            if not reply.answer.ok:  # the names were not the reason
                raise
            return _narrowed(_parsed(reply, parse.log_lines), query)

    def _change(self, method: str, cluster_id: str, what: str, body: Body | None = None) -> Answer:
        path = f"{_cluster_path(cluster_id)}/logs/{what}"
        return self._exchanger.call(method, path, COLLECT_CAP, body).answer

    def list_log_records(
        self,
        cluster_id: str,
        *,
        newest: int = 100,
        since: datetime | None = None,
        within: timedelta | None = None,
    ) -> LogRecords:
        """The cloud's log backup jobs: `GET /clusters/{id}/logs/records`.

        The cloud documents no order. Reading stops early only if the rows so far are sorted newest
        first and there are enough; the result is sorted here.

        Args:
            cluster_id: the cluster.
            newest: maximum number of records with a time; those without one are added.
            since: skip records created earlier, on the cloud's clock.
            within: the same, relative to the response's `Date`; ignored without one.

        Returns:
            The records, and the cloud's time of the reading.

        Raises:
            ApiError: the cloud answered something other than a 2xx.
            MalformedAnswer: an answer cannot be used, or the list cannot be read to its end.
        """

        def enough(rows: list[LogRecord]) -> bool:
            times = [row.created_at for row in rows]
            known = [time for time in times if time is not None]
            if len(known) < len(times) or len(set(known)) < 2 or known != sorted(known)[::-1]:
                return False
            oldest = since or (dates[0] - within if within and dates and dates[0] else None)
            return len(known) >= newest or (oldest is not None and known[-1] < oldest)

        dates: list[datetime | None] = []
        path = f"{_cluster_path(cluster_id)}/logs/records"
        rows = self._list(path, parse.log_records, lambda row: row.record_id, enough, dates)
        date = dates[0] if dates else None
        since = since or (date - within if within and date else None)
        undated = [row for row in rows if row.created_at is None]
        dated = [(row.created_at, row) for row in rows if row.created_at is not None]
        wanted = [(at, row) for at, row in dated if since is None or at >= since]
        wanted.sort(key=lambda item: item[0], reverse=True)
        return LogRecords((*(row for _, row in wanted[:newest]), *undated), date)

    def _list(
        self,
        path: str,
        parser: Callable[[object], parse.ListPage[T]],
        key: Callable[[T], str],
        enough: Callable[[list[T]], bool] = lambda rows: False,
        dates: list[datetime | None] | None = None,
    ) -> list[T]:
        last: list[Answer] = []

        def fetch(query: str) -> parse.ListPage[T]:
            page, answer = self._get(f"{path}?{query}", parser)
            last[:] = [answer]
            if dates is not None:
                dates.append(answer.date)
            return page

        try:
            return read_list(fetch, key, enough)
        except IncompleteList as error:
            raise MalformedAnswer(last[0], str(error)) from error

    def _get(self, path: str, parser: Callable[[object], T]) -> tuple[T, Answer]:
        reply = self._exchanger.call("GET", path, READ_CAP)
        return _parsed(reply, parser), reply.answer


def _narrowed(found: LogLines, query: LogQuery) -> LogLines:
    """The entries that a query asks for, of all that the cloud returned."""
    before = time_index(query.before) if query.before is not None else ""
    lines = [
        line
        for line in found.lines
        if query.keyword in line.content and (not before or line.date < before)
    ]
    complete = None if len(lines) <= query.limit else False
    return LogLines(tuple(lines[: query.limit]), complete, narrowed_here=True)


def _parsed(reply: Reply, parser: Callable[[object], T]) -> T:
    """The parsed document of a successful answer. Raises ApiError, MalformedAnswer."""
    answer = reply.answer
    if not answer.ok:
        raise ApiError(answer)
    if answer.body_kind is not BodyKind.JSON_OBJECT:
        words = answer.body_kind.value.replace("_", " ")
        raise MalformedAnswer(answer, f"the body is {words}, not a JSON object")
    try:
        return parser(reply.document)
    except ShapeError as error:
        raise MalformedAnswer(answer, str(error)) from error


def _cluster_path(cluster_id: str) -> str:
    if not is_id(cluster_id):
        raise ConfigurationError(
            "a cluster id is 1 to 64 letters, digits, dots, dashes, underscores"
        )
    return f"/clusters/{quote(cluster_id, safe='')}"
