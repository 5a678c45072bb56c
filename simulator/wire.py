"""Requests and replies as plain values, and the formats of the cloud's error answers."""

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
    """A complete request.

    Attributes:
        method: HTTP method.
        path: path without the query, not decoded.
        query: query parameters, with the last value of each.
        raw_query: query string as sent.
        headers: headers, with names in lower case.
        body: request body.
        client: address of the peer.
        request_id: X-Request-Id of the answer.
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
        """Parse the body as a JSON object; {} if it is empty.

        Raises:
            ValueError: the body is not a JSON object.
        """
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
    """An answer.

    Attributes:
        status: HTTP status.
        body: response body, unless `chunks` is set.
        headers: headers other than Server, Date, X-Request-Id and the body's length.
        chunks: generates the body while it is sent (Transfer-Encoding: chunked).
        job_id: log backup job that this request created; used in the ledger and never sent.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    chunks: Callable[[], Iterator[bytes]] | None = None
    job_id: str = ""


class AbortRequest(Exception):
    """Abort the handling of a request with this reply."""

    def __init__(self, reply: RawReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def json_reply(value: object, status: int = 200, headers: Headers = ()) -> RawReply:
    """Return a JSON answer."""
    return RawReply(status, json.dumps(value).encode(), (JSON_TYPE, *headers))


def css_error(
    status: int, code: str, text: str, detail: str = "", headers: Headers = ()
) -> RawReply:
    """Return an error of CSS itself: errCode and externalMessage (docs/css-api.md §4, shape 1)."""
    message = f"{code} : {text}" + (f" ({detail})" if detail else "")
    return json_reply({"errCode": code, "externalMessage": message}, status, headers)


def gateway_error(
    status: int, code: str, message: str, request_id: str, headers: Headers = ()
) -> RawReply:
    """Return an error of the API gateway in front of CSS (docs/css-api.md §4, shape 3)."""
    body = {"error_msg": message, "error_code": code, "request_id": request_id}
    return json_reply(body, status, headers)


def keystone_error(status: int, title: str, message: str) -> RawReply:
    """Return an error of the identity service (docs/css-api.md §4, shape 4)."""
    return json_reply({"error": {"message": message, "code": status, "title": title}}, status)
