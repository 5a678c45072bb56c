"""Implementation of `manage.py run`, from the first check to the end of the last process."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
from django.conf import settings

from . import clouds, redis, steps
from .console import StartError, say, welcome
from .instance import InstanceLock, Running
from .listening import PageProbe, address, foreign_host, listen, url
from .supervisor import GaveUpError, Guard, Program, StopAskedError, Supervisor

REDIS_SECONDS = 15.0
SIMULATOR_SECONDS = 30.0
PAGE_SECONDS = 120.0  # allows for a cold disk and a busy machine
STOP_ORDER = (("web", "sync"), ("worker",), ("simulator",), ("redis",))
LOOPBACK_HOSTS = "localhost,127.0.0.1,[::1]"
# Removed from the children's environment because they change how gunicorn and Python work.
OTHERS = ("GUNICORN_CMD_ARGS", "SCRIPT_NAME", "PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE")
WORKER_THREADS = 20  # a run mostly waits for the cloud, and threads are cheap
WORKER_GRACE = 20.0  # seconds to finish tasks; the sweeper settles interrupted ones
WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104


def run(
    environ: Mapping[str, str], *, base_dir: Path, data_dir: Path, parent: int | None = None
) -> int:
    """Run an instance until a signal or an error ends it.

    Args:
        environ: the user's environment.
        base_dir: the checkout, which contains manage.py.
        data_dir: data folder.
        parent: stop when the parent process no longer has this id.

    Returns:
        Exit status: 0 after a requested stop, 1 otherwise.
    """
    # include the start of the interpreter and of Django in the reported time
    started = time.monotonic() - (time.time() - psutil.Process().create_time())
    os.umask(0o077)
    try:
        steps.check()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        host, port = address(environ)
        if name := foreign_host(environ):
            say(
                f"note: HOST={name} is not an IP address (conda and some shells set it): "
                f"listening on {host}. To listen elsewhere, give an address such as HOST=0.0.0.0."
            )
        lock = InstanceLock(data_dir)
        try:
            with listen(host, port) as listener:
                instance = _Instance(environ, base_dir, data_dir, host, listener, lock)
                return instance.run(started, parent)
        finally:
            lock.release()
    except StartError as error:
        say(f"error: {error}")
    except OSError as error:
        say(f"error: {error.strerror}: {error.filename}" if error.filename else f"error: {error}")
    return 1


class _Instance:
    def __init__(
        self,
        environ: Mapping[str, str],
        base_dir: Path,
        data_dir: Path,
        host: str,
        listener: socket.socket,
        lock: InstanceLock,
    ) -> None:
        self.manage = base_dir / "manage.py"
        self.data_dir = data_dir
        self.simulator_dir = data_dir / "simulator"
        self.host = host
        self.port: int = listener.getsockname()[1]
        self.listener = listener
        self.url = url(listener, host).rstrip("/") + f"{settings.URL_PREFIX}/"
        self.lock = lock
        self.demo = clouds.demo_wanted(environ)
        self.private_redis = not settings.REDIS_URL_GIVEN
        self.environ = self._environment(environ, base_dir)

    def _environment(self, environ: Mapping[str, str], base_dir: Path) -> dict[str, str]:
        """Return the environment of the child processes."""
        result = {"COOKIE_SUFFIX": f"_{self.port}", "DEMO_CLOUD": "0", **environ}
        if self.demo:
            result = clouds.environment(result, clouds.clouds_file(self.simulator_dir))
        if self.private_redis:
            result["REDIS_SOCKET"] = str(redis.redis_socket(self.data_dir))
        if self.host not in WILDCARDS and not settings.ALLOWED_HOSTS_GIVEN:
            shown = f"[{self.host}]" if ":" in self.host else self.host
            result["ALLOWED_HOSTS"] = f"{LOOPBACK_HOSTS},{shown}"
        path = [str(base_dir), *filter(None, [environ.get("PYTHONPATH")])]
        for name in OTHERS:
            result.pop(name, None)
        result.update(
            DJANGO_SETTINGS_MODULE=os.environ["DJANGO_SETTINGS_MODULE"],
            WEB_CONCURRENCY=str(settings.WEB_CONCURRENCY),  # gunicorn exits if it is empty
            DATA_DIR=str(self.data_dir),
            PYTHONPATH=os.pathsep.join(path),
            PYTHONUNBUFFERED="1",
        )
        return result

    def run(self, started: float, parent: int | None) -> int:
        clouds_file = str(clouds.clouds_file(self.simulator_dir)) if self.demo else ""
        logs = self.data_dir / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        guard = Guard(self.lock.fd)
        self.supervisor = Supervisor(guard, logs, parent)
        # Not earlier: readers of the lock file can send signals, which now have handlers.
        self.lock.write(Running(os.getpid(), self.url, clouds_file))
        status = 0
        try:
            self._start(started)
            self.supervisor.forever()
        except StopAskedError:
            say("stopping…")
        except (StartError, GaveUpError) as error:
            say(f"error: {error}")
            status = 1
        finally:
            self.supervisor.stop(STOP_ORDER)
            guard.close()
            if (folder := redis.redis_socket(self.data_dir).parent) != self.data_dir:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        say("stopped")
        return status

    def _start(self, started: float) -> None:
        """Start all programs, beginning with those that the first page needs."""
        self._start_redis_and_simulator()
        steps.migrate()
        steps.collect_static()
        self._wait_for_redis_and_simulator()
        self.supervisor.keep(web_server(self.environ, self.listener.fileno()))
        self.supervisor.keep(worker(self.environ, self.port))
        password = steps.admin_sign_in()
        probe = PageProbe(self.listener)
        if not self.supervisor.until(probe.answered, PAGE_SECONDS):
            raise StartError(
                f"no page within {PAGE_SECONDS:.0f} s.\n{self.supervisor.log_tail('web')}"
            )
        say(
            welcome(
                self.url,
                password=password,
                demo=self.demo,
                data_dir=self.data_dir,
                seconds=time.monotonic() - started,
                reachable=not _is_loopback(self.host),
            )
        )
        self.supervisor.once(sync_clusters(self.environ, self.manage), self._synced)

    def _start_redis_and_simulator(self) -> None:
        if self.private_redis:
            path = redis.redis_socket(self.data_dir)
            path.unlink(missing_ok=True)  # a killed server leaves its socket behind
            arguments = redis.command(redis.find_server(), path, self.data_dir / "redis")
            self.supervisor.keep(Program("redis", arguments, self.environ))
        if self.demo:
            arguments = clouds.simulator_command(self.simulator_dir)
            self.supervisor.keep(Program("simulator", arguments, self.environ))

    def _wait_for_redis_and_simulator(self) -> None:
        if self.private_redis:
            path = redis.redis_socket(self.data_dir)
            self._await("redis", lambda: redis.answers(path), REDIS_SECONDS)
        if self.demo:
            ready = clouds.ready_file(self.simulator_dir)
            self._await("simulator", ready.exists, SIMULATOR_SECONDS)

    def _await(self, name: str, condition: Callable[[], bool], seconds: float) -> None:
        if not self.supervisor.until(condition, seconds):
            tail = self.supervisor.log_tail(name)
            raise StartError(f"{name} was not ready within {seconds:.0f} s.\n{tail}")

    def _synced(self, status: int) -> None:
        lines = self.supervisor.log_tail("sync").splitlines()
        if status == 0:
            say("\n".join(["clusters registered:", *(f"  {line}" for line in lines)]))
            return
        say(
            "the clusters could not be synchronized: "
            f"{lines[-1] if lines else 'no reason given'} "
            f"(log: {self.data_dir / 'logs' / 'sync.log'})"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def web_server(environ: Mapping[str, str], listener: int) -> Program:
    """Return the program that runs gunicorn on a socket that is already listening."""
    arguments = ("-m", "gunicorn", "-c", "python:dashboard.gunicorn", "--bind", f"fd://{listener}")
    return Program("web", (sys.executable, *arguments), environ, inherit=(listener,))


def worker(environ: Mapping[str, str], port: int) -> Program:
    """Return the program that runs the Celery worker.

    The port in its name distinguishes two instances on one machine that share a broker.
    """
    arguments = ("--pool", "threads", "-c", str(WORKER_THREADS), "-n", f"worker-{port}@%h")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
    command = (sys.executable, "-m", "celery", "-A", "dashboard", "worker", *arguments, *quiet)
    return Program("worker", command, environ, grace=WORKER_GRACE)


def sync_clusters(environ: Mapping[str, str], manage: Path) -> Program:
    """Return the program that registers the clusters and then exits."""
    return Program("sync", (sys.executable, str(manage), "sync_clusters"), environ, grace=2.0)
