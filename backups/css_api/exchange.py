"""One request to Cloud Search Service: token or signature, body, sending and recording."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from dashboard.http.redact import Secret, redact
from dashboard.http.transport import send

from .answer import Reply, read_answer
from .errors import TransportError
from .session import Authorization, CloudConnection
from .signing import Signature
from .types import Answer, LogPolicy, LogQuery, LogStorage


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A request as it is stored and shown, without secrets.

    Attributes:
        method: HTTP method.
        path: path and query.
        url: full URL; URLs with a password are rejected earlier (identity.require_https).
        headers: those that the client sets, secrets redacted.
        body: as text, "" for none.
    """

    method: str
    path: str
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its result.

    Attributes:
        method: HTTP method.
        path: path and query of the request.
        started_at: aware UTC time before connecting.
        answer: the answer, None without one.
        error: why there is no answer.
    """

    method: str
    path: str
    started_at: datetime
    answer: Answer | None
    error: TransportError | None


class CallRecorder(Protocol):
    """Receives every request before it is sent, and its result."""

    def before_send(self, request: ShownRequest) -> None:
        """Called directly before the request is sent, with a valid token.

        If it raises, nothing is sent and the exception propagates to the client's caller.
        """

    def after(self, exchange: Exchange) -> None:
        """Called once for each `before_send` that returned.

        If it raises, its exception replaces the answer, so a recorder that stores must retry
        itself.
        """


# Called after each exchange, whoever made it. They must neither block nor raise.
observers: list[Callable[[Exchange], None]] = []


class Exchanger:
    """Sends requests with a connection's tokens, and records them.

    Args:
        connection: from `session.connect`.
        recorder: receives every request and its result.
    """

    def __init__(self, connection: CloudConnection, recorder: CallRecorder | None = None) -> None:
        self._connection = connection
        self._recorder = recorder

    def call(self, method: str, path: str, cap: int, body: Body | None = None) -> Reply:
        """Send a request, and once more with a new token after a 401.

        A signed request is not repeated: five wrong signatures in a row lock an access key.

        Args:
            method: HTTP method.
            path: below the endpoint, with its query.
            cap: maximum number of bytes to read of the response body.
            body: request body, None for none.

        Raises:
            IdentityError: no token or endpoint.
            NotSent: no byte of the request was sent.
            Unanswered: the request was sent, but no complete response came.
        """
        authorization = self._connection.authorization()
        sent = None if body is None else as_json(body)
        reply = self._exchange(method, path, cap, authorization, sent)
        if reply.answer.status == 401 and authorization.key is not None:
            raise self._connection.key_rejected(reply.answer)
        if reply.answer.status == 401:
            authorization = self._connection.authorization(rejected=authorization.token)
            reply = self._exchange(method, path, cap, authorization, sent)
        return reply

    def _exchange(
        self, method: str, path: str, cap: int, authorization: Authorization, body: bytes | None
    ) -> Reply:
        connection = self._connection
        url = f"{authorization.identity.endpoint}{path}"
        headers = self._headers(authorization)
        added = authorization.key.shown_headers() if authorization.key else {}
        request = self._shown(method, url, {**headers, **added}, body)
        if self._recorder is not None:
            self._recorder.before_send(request)
        started_at = datetime.now(UTC)
        try:
            raw = send(
                connection.http(),
                method,
                url,
                headers={
                    name: value.reveal() if isinstance(value, Secret) else value
                    for name, value in headers.items()
                },
                timeouts=connection.timeouts,
                cap=cap,
                body=body,
                auth=Signature(authorization.key) if authorization.key else None,
                verify=connection.verify,
                cert=connection.cert,
                secrets=connection.secrets,
            )
        except TransportError as error:
            self._report(Exchange(method, request.path, started_at, None, error))
            raise
        reply = read_answer(raw, method=method, path=request.path, secrets=connection.secrets)
        self._report(Exchange(method, request.path, started_at, reply.answer, None))
        return reply

    def _headers(self, authorization: Authorization) -> dict[str, str | Secret]:
        if authorization.token is not None:
            by: dict[str, str | Secret] = {"X-Auth-Token": authorization.token}
        else:
            by = {"X-Project-Id": authorization.identity.project_id}
        return {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": self._connection.user_agent,
            **by,
        }

    def _shown(
        self, method: str, url: str, headers: Mapping[str, str | Secret], body: bytes | None
    ) -> ShownRequest:
        secrets = self._connection.secrets
        return ShownRequest(
            method,
            path=urlsplit(url)._replace(scheme="", netloc="").geturl(),
            url=redact(url, secrets),
            # a Secret formats as its placeholder
            headers={name: redact(f"{value}", secrets) for name, value in headers.items()},
            body=redact(body.decode(), secrets) if body else "",
        )

    def _report(self, exchange: Exchange) -> None:
        for observe in observers:
            observe(exchange)
        if self._recorder is not None:
            self._recorder.after(exchange)


# The levels that the documents had before they had ALL.
_OLD_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")

Body = LogStorage | LogPolicy | LogQuery


def as_json(body: Body) -> bytes:
    """Encode the body of a request; docs/css-api.md sections 1a and 1d have the sources."""
    if isinstance(body, LogStorage):
        fields = _storage(body)
    elif isinstance(body, LogPolicy):
        fields = {"period": body.period}
    else:
        fields = _query(body)
    return json.dumps(fields).encode()


def _storage(storage: LogStorage) -> dict[str, object]:
    # The documents have two other spellings of two of these names; these are known to work.
    # Without auto_enable, because the policy has its own requests.
    return {
        "agency": storage.agency,
        "logBasePath": storage.base_path,
        "logBucket": storage.bucket,
    }


def _query(query: LogQuery) -> dict[str, object]:
    if query.old_names:
        return {
            "instanceName": query.node,
            "logType": query.log_type,
            "level": "|".join(query.levels or _OLD_LEVELS),
        }
    fields: dict[str, object] = {
        "instance_name": query.node,
        "log_type": query.log_type,
        "level": "|".join(query.levels) or "ALL",
        "limit": query.limit,
    }
    if query.before is not None:
        fields["time_index"] = time_index(query.before)
    if query.keyword:
        fields["keyword"] = query.keyword
    return fields


def time_index(moment: datetime) -> str:
    """A moment as the cloud writes those of log entries."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S},{utc.microsecond // 1000:03d}"
