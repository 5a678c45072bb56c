"""Ready answers of a cloud in trouble: statuses with their usual bodies, and bodies that hurt."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from .wire import HTML_TYPE, JSON_TYPE, Headers, Reply, css_error, gateway_error

Preset = Callable[[str], Reply]
"""Makes the answer for a request id (the gateway repeats it in its body)."""

HUGE_BYTES = 10 * 1024 * 1024
BOMB_BYTES = 64 * 1024 * 1024
HOSTILE = "<script>alert(1)</script>"


def _css(status: int, code: str, text: str, detail: str = "", headers: Headers = ()) -> Preset:
    return lambda request_id: css_error(status, code, text, detail, headers)


def _gateway(status: int, code: str, message: str, headers: Headers = ()) -> Preset:
    return lambda request_id: gateway_error(status, code, message, request_id, headers)


def _page(status: int, title: str) -> Preset:
    body = (
        f"<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>"
        f"<body><center><h1>{status} {title}</h1></center><hr>"
        "<center>css-simulator</center></body></html>\n"
    ).encode()
    return lambda request_id: Reply(status, body, (HTML_TYPE,))


PRESETS: dict[str, Preset] = {
    "parameters": _css(400, "CSS.0001", "Incorrect parameters."),
    "not_allowed": _css(400, "CSS.5090", "The operation is not allowed in the current status."),
    "frozen": _css(400, "CSS.5301", "The cluster is frozen."),
    "bucket": _css(400, "CSS.0048", "The OBS bucket does not exist or you have no permission."),
    "internal": _css(400, "CSS.0036", "Internal error"),
    "unauthorized": _gateway(401, "APIGW.0301", "Incorrect IAM authentication information"),
    "forbidden": _css(403, "CSS.0010", "The user is not authorized or the ID is null."),
    "vanished": _css(403, "CSS.0015", "No resource found or access denied."),
    "not_found": _css(404, "CSS.0022", "The instance does not exist."),
    "backup_running": _css(409, "CSS.3004", "A backup is in progress."),
    "busy": _css(409, "CSS.0011", "Another operation is running or the instance is faulty."),
    "precondition": _css(412, "CSS.0004", "Invalid operation.", "Log backup is not enabled"),
    "throttled": _gateway(
        429, "APIGW.0308", "The throttling threshold has been reached", (("Retry-After", "2"),)
    ),
    "error_500": _page(500, "Internal Server Error"),
    "bad_gateway": _page(502, "Bad Gateway"),
    "unavailable": _gateway(
        503, "APIGW.0613", "Service unavailable, try again later", (("Retry-After", "2"),)
    ),
    "gateway_timeout": _gateway(504, "APIGW.0201", "Backend timeout"),
    "accepted_busy": _css(
        202, "CSS.0011", "Another operation is running or the instance is faulty."
    ),
    "hostile": _css(400, "CSS.0001", f"Incorrect parameters. {HOSTILE}"),
    "html_200": _page(200, "Sign in to the proxy"),
}


def _huge() -> Iterator[bytes]:
    block = b'{"errCode": "' + b"A" * 65_536
    for _ in range(HUGE_BYTES // len(block) + 1):
        yield block


@cache
def _gzip_bomb() -> bytes:
    return gzip.compress(b"\0" * BOMB_BYTES, compresslevel=9)


BODY_KINDS: dict[str, Callable[[int], Reply]] = {
    "empty": Reply,
    "html": lambda status: replace(PRESETS["html_200"](""), status=status),
    "not_json": lambda status: Reply(status, b"upstream said no {", (JSON_TYPE,)),
    "huge": lambda status: Reply(status, headers=(JSON_TYPE,), chunks=_huge),
    "hostile": lambda status: css_error(status, "CSS.0001", HOSTILE),
    "gzip_bomb": lambda status: Reply(
        status, _gzip_bomb(), (JSON_TYPE, ("Content-Encoding", "gzip"))
    ),
    "wrong_shape": lambda status: Reply(status, b'[1, null, {"clusters": "none"}]', (JSON_TYPE,)),
    "invalid_utf8": lambda status: Reply(status, b'{"errCode": "\xff\xfe\xc3"}', (JSON_TYPE,)),
}
