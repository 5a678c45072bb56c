"""Requests and replies as plain values, and the shapes in which the cloud reports errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

JSON_TYPE = ("Content-Type", "application/json;charset=utf-8")
HTML_TYPE = ("Content-Type", "text/html; charset=utf-8")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request, wholly read.

    Attributes:
        method: HTTP method.
        path: path without the query, not decoded.
        query: query parameters, the last value of each.
        raw_query: the query as it was sent.
        headers: header names in lower case.
        body: the body.
        client: the peer's address.
        request_id: the X-Request-Id of the answer.
    """

    method: str
    path: str
    query: Mapping[str, str]
    raw_query: str
    headers: Mapping[str, str]
    body: bytes
    client: str
    request_id: str

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object ({} when empty); raises ValueError when it is none."""
        if not self.body:
            return {}
        try:
            value = json.loads(self.body)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError("the body is not JSON") from error
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class RawReply:
    """One answer.

    Attributes:
        status: HTTP status.
        body: the body, unless `chunks` makes it.
        headers: headers besides Server, Date, X-Request-Id and the body's length.
        chunks: makes the body while it is sent (Transfer-Encoding: chunked).
        job_id: the log backup job that this request created; for the ledger, never sent.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    chunks: Callable[[], Iterator[bytes]] | None = None
    job_id: str = ""


class AbortRequest(Exception):
    """Ends the handling of a request with this reply."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def json_reply(value: object, status: int = 200, headers: Headers = ()) -> RawReply:
    """A JSON answer."""
    return RawReply(status, json.dumps(value).encode(), (JSON_TYPE, *headers))


def css_error(
    status: int, code: str, text: str, detail: str = "", headers: Headers = ()
) -> RawReply:
    """An error of CSS itself: errCode and externalMessage (docs/css-api.md §4, shape 1)."""
    message = f"{code} : {text}" + (f" ({detail})" if detail else "")
    return json_reply({"errCode": code, "externalMessage": message}, status, headers)


def gateway_error(
    status: int, code: str, message: str, request_id: str, headers: Headers = ()
) -> RawReply:
    """An error of the API gateway before CSS (docs/css-api.md §4, shape 3)."""
    body = {"error_msg": message, "error_code": code, "request_id": request_id}
    return json_reply(body, status, headers)


def keystone_error(status: int, title: str, message: str) -> RawReply:
    """An error of the identity service (docs/css-api.md §4, shape 4)."""
    return json_reply({"error": {"message": message, "code": status, "title": title}}, status)
