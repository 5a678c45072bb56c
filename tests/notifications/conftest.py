"""Real receivers: an SMTP server, and an HTTP server that does what a test tells it to."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from backups.models import Channel, Cluster, Delivery, Project
from backups.services.notifications import channels, delivering
from dashboard.audit.trail import Actor

ADMIN = Actor(name="admin", ip="10.0.0.1")
LOOPBACK = ["127.0.0.0/8"]
_numbers = itertools.count(1)


class Mailbox:
    """An SMTP server on loopback, and what it got."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(mail)  # type: ignore[arg-type]
        return "250 OK"

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=css@example.com&to=ops@example.com"

    def close(self) -> None:
        self._controller.stop()


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server on loopback.

    Attributes:
        answers: status and headers for the next requests; 200 when there are none left.
        hang: requests wait until it is set.
    """

    server: ThreadingHTTPServer
    requests: list[Request] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hooks/c4n-you-guess-me"


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Request(self.command, self.path, headers, body))
            made.hang.wait(30)
            status, extra = made.answers.pop(0) if made.answers else (200, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **extra}.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Receiver(server)
    made.hang.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.hang.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """Nothing waits for others like it, and loopback is allowed."""
    settings.NOTIFY_GROUP_SECONDS = 0.0
    settings.NOTIFY_ALLOWED_NETWORKS = LOOPBACK
    settings.NOTIFY_RETRY_BASE = 10.0
    settings.PUBLIC_URL = "https://css-logs.example.com"


@pytest.fixture
def project(db: None) -> Project:
    number = next(_numbers)
    return Project.objects.create(
        cloud="otc", region="eu-de", project_id=f"p{number}", name=f"shop-{number}"
    )


@pytest.fixture
def make_cluster(project: Project) -> Callable[..., Cluster]:
    def make(**values: Any) -> Cluster:
        number = next(_numbers)
        values = {"project": project, "name": f"orders-{number}", **values}
        return Cluster.objects.create(cluster_id=f"c{number}", **values)

    return make


@pytest.fixture
def webhook(db: None, receiver: Receiver) -> Channel:
    channel, secret = channels.add_channel("hook", receiver.url, actor=ADMIN)
    channel.__dict__["secret"] = secret
    return channel


@pytest.fixture
def mail_channel(db: None, mail: Mailbox) -> Channel:
    return channels.add_channel("mail", mail.url, actor=ADMIN)[0]


def deliver_due() -> list[Delivery]:
    """Deliver what is due, one after the other, as the notifier's threads do; returns them."""
    pks = [pk for pk, _channel in delivering.due(100) if delivering.deliver(pk)]
    return list(Delivery.objects.filter(pk__in=pks).order_by("pk"))


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
