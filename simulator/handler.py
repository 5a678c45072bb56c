"""Request handling in the simulated cloud: route, ledger, token, faults, effect."""

from __future__ import annotations

import http
import socket
import struct
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from . import __version__, css
from .control import PREFIX
from .faults import Plan
from .identity import IdentityService
from .ledger import LedgerEntry
from .storage import StorageService
from .wire import RawReply, RawRequest, gateway_error, json_reply

if TYPE_CHECKING:
    from .server import Simulator


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request recorded in the ledger, with its plan; calling `process` makes it take effect."""

    request: RawRequest
    entry: LedgerEntry
    plan: Plan
    process: Callable[[], RawReply]


def begin(simulator: Simulator, request: RawRequest) -> PlannedRequest:
    """Record a request in the ledger and plan how it is handled."""
    if not simulator.config.external_identity:
        endpoint = IdentityService.route(request.method, request.path)
        if endpoint:
            plan = simulator.faults.plan(endpoint, "") if endpoint == "token" else Plan()
            entry = _enter(simulator, request, endpoint, "", plan)
            return PlannedRequest(
                request, entry, plan, lambda: simulator.identity.handle(endpoint, request)
            )
        if StorageService.route(request):
            plan = simulator.faults.plan("objects", "")
            entry = _enter(simulator, request, "objects", "", plan)
            return PlannedRequest(request, entry, plan, lambda: simulator.storage.handle(request))
    where = css.route(request.method, request.path)
    if where is None:
        entry = _enter(simulator, request, "unknown", "", Plan())
        unknown = gateway_error(
            404,
            "APIGW.0101",
            "The API does not exist or has not been published",
            request.request_id,
        )
        return PlannedRequest(request, entry, Plan(), lambda: unknown)
    refusal = simulator.css.refuse_token(where, request)
    plan = Plan() if refusal else simulator.faults.plan(where.endpoint, where.cluster_id)
    entry = _enter(simulator, request, where.endpoint, where.cluster_id, plan)
    entry.token_ok = refusal is None

    def process() -> RawReply:
        return refusal or simulator.css.handle(where, request, plan.job)

    return PlannedRequest(request, entry, plan, process)


def _enter(
    simulator: Simulator, request: RawRequest, endpoint: str, cluster_id: str, plan: Plan
) -> LedgerEntry:
    return simulator.ledger.open(
        time=time.time(),
        method=request.method,
        path=request.path,
        query=request.raw_query,
        endpoint=endpoint,
        cluster_id=cluster_id,
        request_id=request.request_id,
        user_agent=request.headers.get("user-agent", ""),
        faults=plan.faults,
    )


if TYPE_CHECKING:
    from .server import SimulatorServer

MAX_BODY = 1024 * 1024
IDLE_SECONDS = 300.0


class SocketHandler(BaseHTTPRequestHandler):
    """Handler of one connection: reads requests and executes their plans."""

    server: SimulatorServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = IDLE_SECONDS

    def version_string(self) -> str:
        """Return the value of the Server header."""
        return f"css-simulator/{__version__}"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the value of the Date header, by the cloud's clock."""
        moment = self.server.simulator.clock.now() if timestamp is None else timestamp
        return formatdate(moment, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing; the ledger records all requests."""

    def serve(self) -> None:
        """Answer one request."""
        request = self._read()
        if request is None:
            self.close_connection = True
            return
        simulator = self.server.simulator
        if request.path == PREFIX or request.path.startswith(f"{PREFIX}/"):
            self._write(request, simulator.control.handle(request))
            return
        self._carry_out(begin(simulator, request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def _carry_out(self, exchange: PlannedRequest) -> None:
        plan, entry = exchange.plan, exchange.entry
        if plan.delay_before and self._pause(plan.delay_before):
            return
        if plan.processed and plan.process_after is not None:
            reply = RawReply(200)
            self._process_later(exchange, plan.process_after)
        else:
            reply = self._process(exchange) if plan.processed else RawReply(500)
            entry.job_id = reply.job_id
        if plan.answer:
            reply = plan.answer(exchange.request.request_id)
        if plan.delay_after and self._pause(plan.delay_after):
            return
        # Record the ending before the client sees it, so that a test can read it immediately.
        entry.ending = plan.ending
        if plan.ending == "hang":
            self._hang()
        elif plan.ending == "reset":
            self._reset()
        else:
            entry.status = reply.status
            try:
                self._write(
                    exchange.request,
                    reply,
                    drip=plan.drip,
                    cut=plan.ending == "truncated",
                    date_shift=plan.date_shift,
                )
            except OSError:
                entry.ending = "client_gone"
                self.close_connection = True

    def _process(self, exchange: PlannedRequest) -> RawReply:
        try:
            return exchange.process()
        except Exception as error:
            # A bug in the simulator must not look like a fault of the cloud.
            traceback.print_exc()
            return json_reply({"simulator_error": repr(error)}, 500)

    def _process_later(self, exchange: PlannedRequest, seconds: float) -> None:
        """Process the request after its answer, as behind a gateway that timed out."""
        entry, stopping = exchange.entry, self.server.stopping
        entry.effect_pending = True

        def process() -> None:
            if not stopping.wait(seconds):
                entry.job_id = self._process(exchange).job_id
            entry.effect_pending = False

        threading.Thread(target=process, name="process later", daemon=True).start()

    def _read(self) -> RawRequest | None:
        """Read the request; return None if it is unusable, after answering if possible."""
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdigit():
            self.send_error(411)
            return None
        if int(length) > MAX_BODY:
            self.send_error(413)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None
        target = urlsplit(self.path)
        return RawRequest(
            method=self.command,
            path=target.path,
            query=dict(parse_qsl(target.query)),
            raw_query=target.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            client=str(self.client_address[0]),
            request_id=uuid.uuid4().hex,
        )

    def _write(
        self,
        request: RawRequest,
        reply: RawReply,
        *,
        drip: float | None = None,
        cut: bool = False,
        date_shift: float | None = 0.0,
    ) -> None:
        bodiless = request.method == "HEAD" or reply.status in (204, 304)
        head = [
            f"HTTP/1.1 {reply.status} {_reason(reply.status)}",
            f"Server: {self.version_string()}",
            f"X-Request-Id: {request.request_id}",
            *(f"{name}: {value}" for name, value in reply.headers),
        ]
        if date_shift is not None:
            moment = self.server.simulator.clock.now() + date_shift
            head.append(f"Date: {self.date_time_string(moment)}")
        if reply.chunks:
            head.append("Transfer-Encoding: chunked")
        elif reply.status != 204:
            head.append(f"Content-Length: {len(reply.body) + (64 if cut else 0)}")
        if cut:
            self.close_connection = True
        start = "\r\n".join([*head, "", ""]).encode("latin-1", "replace")
        if reply.chunks and not bodiless:
            self.wfile.write(start)
            for chunk in reply.chunks():
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if not cut:
                self.wfile.write(b"0\r\n\r\n")
        elif drip is not None:
            self._drip(start + (b"" if bodiless else reply.body), drip)
        else:
            self.wfile.write(start if bodiless else start + reply.body)
        self.wfile.flush()

    def _drip(self, data: bytes, interval: float) -> None:
        for index in range(len(data)):
            self.wfile.write(data[index : index + 1])
            self.wfile.flush()
            if self._pause(interval):
                return

    def _pause(self, seconds: float) -> bool:
        """Wait; return True if the server, and with it the connection, stops in the meantime."""
        stopping = self.server.stopping.wait(seconds)
        self.close_connection = self.close_connection or stopping
        return stopping

    def _hang(self) -> None:
        """Do not answer; return when the client disconnects or the server stops."""
        self.close_connection = True
        self.connection.settimeout(None)
        try:
            while self.connection.recv(4096):
                pass
        except OSError:
            return

    def _reset(self) -> None:
        """Send RST instead of an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The socket is closed only once both file objects on it are closed.
        self.rfile.close()
        self.wfile.close()
        self.connection.close()


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Simulated"
