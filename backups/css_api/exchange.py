"""One request to Cloud Search Service: its token, its record, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from dashboard.http.redact import Secret, redact
from dashboard.http.transport import send

from .answer import Reply, read_answer
from .bodies import Body, as_json
from .errors import TransportError
from .session import CloudConnection, Grant
from .types import Answer


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A request as it may be stored and shown: no secret is in it.

    Attributes:
        method: HTTP method.
        path: path and query.
        url: whole address; one with a password in it is refused before (identity.require_https).
        headers: those that we choose; in place of a secret stands that it was taken out.
        body: as text, "" for none.
    """

    method: str
    path: str
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


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

    def before_send(self, request: ShownRequest) -> None:
        """Called with the token in hand, directly before the request goes out.

        If it raises, nothing is sent and its exception reaches the caller of the client.
        """

    def after(self, exchange: Exchange) -> None:
        """Called once for each `before_send` that returned.

        If it raises, its exception takes the place of the answer: a recorder that stores must do
        its own retrying.
        """


class Exchanger:
    """Makes requests with a connection's tokens, and tells the recorder of each.

    Args:
        connection: from `session.connect`.
        recorder: is told of every request.
    """

    def __init__(self, connection: CloudConnection, recorder: CallRecorder | None = None) -> None:
        self._connection = connection
        self._recorder = recorder

    def call(self, method: str, path: str, cap: int, body: Body | None = None) -> Reply:
        """Make one request, and once more with a new token where the first was answered 401.

        Args:
            method: HTTP method.
            path: below the endpoint, with its query.
            cap: how many bytes of the answer's body are read.
            body: what is sent, None for nothing.

        Raises:
            IdentityError: no token or endpoint could be had.
            NotSent: not one byte of the request left.
            Unanswered: the request left and no whole answer came.
        """
        grant = self._connection.grant()
        sent = None if body is None else as_json(body)
        reply = self._exchange(method, path, cap, grant, sent)
        if reply.answer.status == 401:
            grant = self._connection.grant(refused=grant.token)
            reply = self._exchange(method, path, cap, grant, sent)
        return reply

    def _exchange(
        self, method: str, path: str, cap: int, grant: Grant, body: bytes | None
    ) -> Reply:
        connection = self._connection
        url = f"{grant.identity.endpoint}{path}"
        headers = self._headers(grant)
        request = self._shown(method, url, headers, body)
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

    def _headers(self, grant: Grant) -> dict[str, str | Secret]:
        return {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": self._connection.user_agent,
            "X-Auth-Token": grant.token,
        }

    def _shown(
        self, method: str, url: str, headers: Mapping[str, str | Secret], body: bytes | None
    ) -> ShownRequest:
        secrets = self._connection.secrets
        return ShownRequest(
            method,
            path=urlsplit(url)._replace(scheme="", netloc="").geturl(),
            url=redact(url, secrets),
            # a Secret formats as what stands in its place
            headers={name: redact(f"{value}", secrets) for name, value in headers.items()},
            body=redact(body.decode(), secrets) if body else "",
        )

    def _report(self, exchange: Exchange) -> None:
        if self._recorder is not None:
            self._recorder.after(exchange)
