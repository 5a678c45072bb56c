"""Send one message to one place: through Apprise, as a signed webhook, or as a ping.

Each function sends once, in bounded time, and returns what became of it without raising. What it
returns is redacted: errors of libraries quote URLs, and these hold secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from django.conf import settings

from dashboard.http.addresses import RefusedAddress, is_allowed, networks, pinned_address
from dashboard.http.apprise_child import Job, Report
from dashboard.http.errors import TransportError
from dashboard.http.redact import one_line, redact
from dashboard.http.transport import new_session, send
from dashboard.http.wire import Timeouts

SECRET_PREFIX = "whsec_"  # noqa: S105 - of Standard Webhooks, before the key in base64
MOST_READ = 10_000  # bytes of an answer
USER_AGENT = "css-log-backup"
# Apprise's schemes that may be used. Others start programs, write files or talk to this machine.
SCHEMES = frozenset(
    {
        *("mailto", "mailtos", "slack", "workflow", "workflows", "discord"),
        *("mmost", "mmosts", "rocket", "rockets", "gchat", "webex", "wxteams", "zulip"),
        *("matrix", "matrixs", "tgram", "ntfy", "ntfys", "gotify", "gotifys"),
        *("pagerduty", "opsgenie", "splunk", "victorops", "pover", "signl4", "squadcast", "ilert"),
    }
)
# Those of them whose host is a host; for others it is part of a token.
HOSTED = frozenset(
    {
        *("http", "https", "mailto", "mailtos", "mmost", "mmosts", "rocket", "rockets"),
        *("gotify", "gotifys"),
    }
)
# Parameters that make a plugin read a file, that change what we bound, or with which a message that
# was not sent counts as sent.
_REFUSED_PARAMETERS = frozenset(
    {
        *("template", "pgp", "pgpkey", "pgppub", "pgpprv", "wkd", "keyfile", "key", "cert"),
        *("redirect", "optional", "retry", "wait", "store"),
    }
)
# As a plugin may read them: wherever the query begins, with whatever is trimmed.
_PARAMETER = re.compile(r"[?&;]\s*([\w-]+)\s*=")
_KEPT_VARIABLES = (
    *("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        id: the same at each attempt.
        kind: value of NoticeKind.
        title, body: plain text in English.
        at: when it was made.
        data: for webhooks, beside title and body.
        attachment: content of a file, with its name and type.
    """

    id: str
    kind: str
    title: str
    body: str
    at: datetime
    data: Mapping[str, Any]
    attachment: bytes = b""
    attachment_name: str = ""
    attachment_type: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt.

    Attributes:
        error: "" if it was accepted, else one redacted line.
        retry_after: seconds that the receiver asked for; None if it did not.
    """

    error: str = ""
    retry_after: float | None = None


def is_webhook(url: str) -> bool:
    """Return whether a URL is that of a webhook, and not one of Apprise's."""
    return scheme_of(url) in ("http", "https")


def scheme_of(url: str) -> str:
    """The scheme in lower case, "" for none."""
    return url.partition("://")[0].lower() if "://" in url else ""


def url_problem(url: str) -> str:
    """Return why an address cannot be used, or "". Does not connect."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
        networks(settings.NOTIFY_ALLOWED_NETWORKS)
    except ValueError:
        return "It is not a URL."
    if is_webhook(url):
        if not host or parts.username or parts.password or parts.fragment:
            return "A webhook is https://HOST/PATH, without user, password and fragment."
        return ""
    if scheme_of(url) not in SCHEMES:
        return f"Use https:// for a webhook, or one of {', '.join(sorted(SCHEMES))}."
    if found := _REFUSED_PARAMETERS & set(_PARAMETER.findall(unquote_plus(url).lower())):
        return f"The parameter {sorted(found)[0]} is not allowed."
    report = _in_child(Job(url, check=True))
    return "" if report.ok else _clean(report.error, url)


def shown_url(url: str) -> str:
    """An address without its secrets: the scheme, and the host where that is none."""
    scheme = scheme_of(url)
    return f"{scheme}://{_host_of(url)}/…"[:255]


def _host_of(url: str) -> str:
    """The host, where it is one and no secret; else ""."""
    parts = urlsplit(url)
    # rocket://TOKEN/TOKEN@HOST: the host comes after what looks like it
    if scheme_of(url) not in HOSTED or (not is_webhook(url) and "@" in parts.path + parts.fragment):
        return ""
    return parts.hostname or ""


def send_apprise(url: str, message: Message) -> Result:
    """Send through Apprise, in a process of its own that is killed after NOTIFY_TIMEOUT."""
    report = _in_child(
        Job(
            url,
            title=message.title,
            body=f"{message.body}\n\nMessage {message.id}",
            message_id=message.id,
            allowed=tuple(settings.NOTIFY_ALLOWED_NETWORKS),
            timeout=settings.NOTIFY_TIMEOUT / 2,
            attachment=base64.b64encode(message.attachment).decode(),
            attachment_name=message.attachment_name,
            attachment_type=message.attachment_type,
        )
    )
    return Result("" if report.ok else _clean(report.error, url))


def _in_child(job: Job) -> Report:
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dashboard.http.apprise_child"],
            input=json.dumps(asdict(job)),
            capture_output=True,
            text=True,
            timeout=settings.NOTIFY_TIMEOUT,
            cwd=settings.BASE_DIR,
            env=environment,
            check=False,
        )
        return Report(**json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Report(False, f"not sent within {settings.NOTIFY_TIMEOUT:g} s")
    except (OSError, ValueError, TypeError) as error:
        return Report(False, f"Apprise could not be run ({type(error).__name__})")


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of Standard Webhooks, with its version.

    Args:
        secret: `whsec_` and the key in base64.
        message_id, timestamp: as in the headers webhook-id and webhook-timestamp.
        body: the request's body.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def send_webhook(url: str, secret: str, message: Message) -> Result:
    """Send a signed POST. Any 2xx is a success; a redirect is an error and is not followed."""
    data = {"title": message.title, "text": message.body, **message.data}
    if message.attachment:
        data["attachment"] = {
            "name": message.attachment_name,
            "content_type": message.attachment_type,
            "content": base64.b64encode(message.attachment).decode(),
        }
    at = message.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    body = json.dumps({"type": message.kind, "timestamp": at, "data": data}).encode()
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, message.id, now, body),
    }
    return _request("POST", url, headers, body, secrets=(secret,))


def send_ping(url: str, *, failed: bool = False, text: str = "", trusted: bool = False) -> Result:
    """Request a dead man's ping URL, as healthchecks and others accept it.

    Args:
        url: http or https.
        failed: add `/fail` to its path.
        text: the body of a POST; without one it is a GET.
        trusted: the operator has set the URL, so any address is allowed.
    """
    head, mark, query = url.partition("?")
    if failed:
        head = head.rstrip("/") + "/fail"
    body = text.encode()[:10_000] or None
    headers = {"Content-Type": "text/plain; charset=utf-8"} if body else {}
    method = "POST" if body else "GET"
    return _request(method, head + mark + query, headers, body, trusted=trusted)


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    secrets: tuple[str, ...] = (),
    trusted: bool = False,
) -> Result:
    allowed = networks(settings.NOTIFY_ALLOWED_NETWORKS)
    plain = scheme_of(url) == "http"

    def pin(host: str, port: int) -> str:
        address = pinned_address(host, port, allowed)
        if plain and not is_allowed(address, allowed):
            raise RefusedAddress(f"refused to send to {host} without HTTPS")
        return address

    total = settings.NOTIFY_TIMEOUT
    try:
        with new_session(USER_AGENT, plain_http=True) as session:
            answer = send(
                session,
                method,
                url,
                headers=headers,
                body=body,
                timeouts=Timeouts(connect=min(5.0, total), read=total, total=total),
                cap=MOST_READ,
                secrets=(*secrets, *url_secrets(url)),
                pin=None if trusted else pin,
            )
    except TransportError as error:
        return Result(_clean(error.detail, url))
    if 200 <= answer.status < 300:
        return Result()
    said = answer.body.decode("utf-8", "replace")[:500]
    text = f"HTTP {answer.status}"
    if 300 <= answer.status < 400:
        text += ": redirects are not followed"
    elif said.strip():
        text += f": {said}"
    return Result(_clean(text, url), _retry_after(answer.headers.get("Retry-After", "")))


def _retry_after(text: str) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date; None for neither."""
    try:
        if text.strip().isascii() and text.strip().isdigit():
            return float(text[:9])
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def url_secrets(url: str) -> tuple[str, ...]:
    """The parts of a URL that may be secret: all but its scheme, and its host where it is one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        pieces = [url, parts.path, parts.query, parts.username or "", parts.password or ""]
    except ValueError:
        return (url,)
    pieces += [*parts.path.split("/"), *(value for _name, value in parse_qsl(parts.query))]
    if not _host_of(url):
        pieces += [parts.netloc, host]
    return tuple({form for piece in pieces for form in (piece, unquote(piece)) if len(form) > 3})


def _clean(text: str, url: str) -> str:
    return one_line(redact(text, url_secrets(url)), 500)
