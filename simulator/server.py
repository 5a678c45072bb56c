"""Simulator with its listeners, which can be started and stopped within a process."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from http.server import ThreadingHTTPServer
from typing import Any

from . import clouds_file
from .config import SimulatorConfig
from .control import ControlApi
from .css import CssService
from .demo import populate
from .faults import FaultRegistry
from .handler import SocketHandler
from .identity import AnyToken, IdentityService, KeystoneTokens, OwnTokens, TokenChecker
from .ledger import Ledger
from .state import CloudClock, SimulatedCloud
from .storage import StorageService


class SimulatorServer(ThreadingHTTPServer):
    """Listening socket with its connections, which `stop` terminates."""

    daemon_threads = True
    timeout = 0.5  # seconds per wait for a connection, in case closing the socket does not end it
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, SocketHandler)
        self._accepting = threading.Thread(target=self._accept, name="simulator", daemon=True)
        self._accepting.start()

    def server_bind(self) -> None:
        """Bind without resolving the host name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection and register it."""
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and unregister it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnecting clients; report all other errors, which are bugs."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop listening, terminate all connections and end all waits."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread on Linux
        self._accepting.join()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        # Unlike serve_forever, this does not poll: no load when idle, and stopping is immediate.
        while not self.stopping.is_set():
            self.handle_request()


class Listener:
    """Address that can be closed, so that connections are refused, and reopened."""

    def __init__(self, simulator: Simulator, host: str, port: int, advertised: str) -> None:
        self._simulator = simulator
        self._host = host
        self._advertised = advertised
        self._server: SimulatorServer | None = None
        self.port = port
        self.open()

    @property
    def url(self) -> str:
        """Base URL, whether or not it is listening."""
        return f"http://{self._advertised}:{self.port}"

    def open(self) -> None:
        """Listen, on the same port as before if it was closed.

        Raises:
            OSError: the port is in use.
        """
        if self._server is not None:
            return
        server = SimulatorServer((self._host, self.port), self._simulator)
        self.port = server.server_address[1]
        self._server = server

    def close(self) -> None:
        """Refuse new connections and terminate the existing ones."""
        if self._server is not None:
            self._server.stop()
            self._server = None


class Simulator:
    """A running simulator.

    Attributes:
        cloud: clusters and jobs.
        faults: active faults.
        ledger: received requests.
        clock: the cloud's clock.
        listeners: listeners by region.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        """Start listening.

        Raises:
            OSError: the port is in use.
            ValueError: an option is invalid.
        """
        self.config = config
        self.clock = CloudClock(config.clock_offset)
        self.cloud = SimulatedCloud(self.clock, config.regions, config.job_seconds)
        self.faults = FaultRegistry(config.seed)
        self.ledger = Ledger()
        self.identity = IdentityService(
            self.clock, self.cloud.projects, config.token_seconds, self._urls
        )
        self.css = CssService(
            self.cloud,
            self._token_checker(),
            keys=None if config.external_identity else self.identity.keys,
            foreign_projects=config.external_identity,
        )
        self.storage = StorageService(
            self.cloud,
            config.regions,
            lambda: (self.identity.credentials.key, self.identity.credentials.temporary_key),
            self.identity.lent_keys,
        )
        self.control = ControlApi(self)
        populate(config, self.cloud, self.faults)
        self.listeners: dict[str, Listener] = {}
        for number, region in enumerate(config.regions):
            port = 0 if number else config.port
            self.listeners[region] = Listener(self, config.host, port, config.advertised_host)

    @property
    def url(self) -> str:
        """Base URL of the main listener; the identity service is at /v3 below it."""
        return self.listeners[self.config.regions[0]].url

    def clouds_yaml(self, kind: str = "password") -> str:
        """Return the content of a clouds.yaml for this simulator; see `clouds_file.text`."""
        return clouds_file.text(
            f"{self.url}/v3",
            self.identity.credentials,
            tuple(self.cloud.projects.values()),
            kind,
        )

    def set_listening(self, region: str, *, listening: bool) -> None:
        """Open or close the listener of a region.

        Raises:
            KeyError: there is no such region.
            ValueError: it is the first region, whose listener also serves identity and control.
        """
        listener = self.listeners[region]
        if region == self.config.regions[0]:
            raise ValueError(f"{region} shares its listener with identity and control")
        if listening:
            listener.open()
        else:
            listener.close()

    def reset(self) -> None:
        """Reset to the initial state, with an empty ledger; credentials and tokens stay valid."""
        with self.cloud.lock:
            self.cloud.clear()
            self.faults.clear()
            self.clock.offset = self.config.clock_offset
            populate(self.config, self.cloud, self.faults)
        self.identity.keys.unlock()
        self.storage.clear()
        self.ledger.clear()
        for listener in self.listeners.values():
            listener.open()

    def stop(self) -> None:
        """Stop listening and terminate all connections."""
        for listener in self.listeners.values():
            listener.close()

    def _token_checker(self) -> TokenChecker:
        if self.config.keystone_url:
            return KeystoneTokens(self.config.keystone_url)
        return AnyToken() if self.config.trust_any_token else OwnTokens(self.identity)

    def _urls(self) -> dict[str, str]:
        return {"": self.url, **{region: item.url for region, item in self.listeners.items()}}


def start(config: SimulatorConfig | None = None) -> Simulator:
    """Start a simulator in this process; it listens when this function returns."""
    return Simulator(config or SimulatorConfig())
