"""Send one message through Apprise, in a process of its own: `python -m` this module.

Apprise's plugins connect wherever their URL, a redirect or a name server says, and bound neither
the time nor the size of an answer. Here an audit hook of the interpreter checks the address of each
connection of the process, the parent kills it after its time, and it knows none of our secrets but
the URL. Reads a `Job` as JSON from standard input and prints a `Report` as JSON.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import socket
import sys
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .addresses import RefusedAddress, networks, require_address

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn")
_SENDS = ("socket.sendto", "socket.sendmsg", "socket.bind")


@dataclass(frozen=True, slots=True)
class Job:
    """What to send.

    Attributes:
        url: Apprise's, with its secrets.
        title, body: plain text.
        message_id: a header of mails.
        allowed: networks that may be connected to although they are not public.
        timeout: seconds for a connection, and between two bytes.
        attachment: content in base64; "" for none.
        attachment_name, attachment_type: file name and content type.
        check: only check the URL.
    """

    url: str
    title: str = ""
    body: str = ""
    message_id: str = ""
    allowed: tuple[str, ...] = ()
    timeout: float = 10.0
    attachment: str = field(default="", repr=False)
    attachment_name: str = ""
    attachment_type: str = ""
    check: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What became of it: `error` is not redacted."""

    ok: bool
    error: str = ""


class _Lines(logging.Handler):
    """Collects what Apprise says about a failure; its debug lines have payloads, except for one."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or text.startswith("Socket Exception"):
            self.said.append(text.replace("\n", " ")[:300])


def run(job: Job) -> Report:
    """Send the message; at most this once in a process, because the guard stays."""
    import apprise
    from apprise.attachment.memory import AttachMemory
    from apprise.common import PersistentStoreMode

    lines = _Lines()
    logger = logging.getLogger("apprise")
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(
        app_id="CSS Log Backup",
        app_desc="CSS Log Backup",
        app_url="",
        async_mode=False,
        http_redirects=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    plugin = apprise.Apprise.instantiate(job.url, asset=asset)
    if plugin is None:
        return Report(False, "; ".join(lines.said) or "Apprise does not understand the address.")
    if job.check:
        return Report(True)
    plugin.redirects = False  # whatever the URL says
    plugin.socket_connect_timeout = plugin.socket_read_timeout = job.timeout
    headers = getattr(plugin, "headers", None)
    if isinstance(headers, dict) and hasattr(plugin, "smtp_host"):
        headers["X-Message-ID"] = job.message_id
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    files = None
    if job.attachment:
        content = base64.b64decode(job.attachment)
        files = AttachMemory(  # type: ignore[no-untyped-call]
            content=content, name=job.attachment_name, mimetype=job.attachment_type
        )
    refused = _guard(job.allowed)
    ok = sender.notify(
        title=job.title, body=job.body, body_format=apprise.NotifyFormat.TEXT, attach=files
    )
    if ok:
        return Report(True)
    return Report(False, "; ".join([*refused, *lines.said]) or "Apprise reports a failure.")


def _guard(allowed: tuple[str, ...]) -> list[str]:
    """Check each connection from here on; returns the list to which refusals are added."""
    permitted = networks(allowed)
    proxies = _proxies()
    refused: list[str] = []

    def hook(event: str, args: tuple[Any, ...]) -> None:
        try:
            if event == "socket.connect":
                address = args[1]
                if not isinstance(address, tuple):
                    raise RefusedAddress("refused to connect to a local socket")
                if (address[0], address[1]) not in proxies:
                    require_address(str(address[0]), permitted)
            elif event in _PROCESSES or event in _SENDS:
                raise RefusedAddress(f"refused: {event}")
        except RefusedAddress as error:
            refused.append(str(error))
            raise

    sys.addaudithook(hook)
    return refused


def _proxies() -> set[tuple[str, int]]:
    """Addresses of the proxies in the environment, which the operator has set."""
    found = set()
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        value = os.environ.get(name) or os.environ.get(name.lower())
        if not value:
            continue
        with contextlib.suppress(OSError, ValueError):
            parts = urlsplit(value if "://" in value else f"http://{value}")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            for each in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
                found.add((str(each[4][0]), port))
    return found


def main() -> None:
    """Read the job, send it, print the report."""
    out = sys.stdout
    sys.stdout = sys.stderr  # nothing that a plugin prints becomes part of the report
    job = Job(**json.load(sys.stdin))
    try:
        report = run(job)
    except Exception as error:  # a plugin may raise anything
        report = Report(False, f"{type(error).__name__}: {error}")
    print(json.dumps(asdict(report)), file=out, flush=True)


if __name__ == "__main__":
    main()
