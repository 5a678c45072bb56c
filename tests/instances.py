"""`manage.py run` as a process: started, watched and stopped by a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0
STOP_SECONDS = 60.0
# What would make a started product differ from machine to machine, or from the test process.
LEFT_OUT = ("DATABASE_URL", "REDIS_URL", "TESTS_REDIS_URL", "DJANGO_SETTINGS_MODULE", "MAKELEVEL")


def clean_environment(folder: Path, **environ: str) -> dict[str, str]:
    """An environment without clouds and services, whose home is inside `folder`."""
    real = sorted(path.name for stem in ("clouds", "secure") for path in ROOT.glob(f"{stem}.*"))
    assert not real, f"move {real} out of the checkout: what a test starts would use them"
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in LEFT_OUT and not name.startswith(("OS_", "PYTEST_", "XDG_"))
    }
    # tests that are about the files in the bucket switch their check on
    own = {"HOME": str(home), "DATA_DIR": str(folder / "data"), "PORT": "0", "FILE_CHECKS": "0"}
    return {**kept, **own, **environ}


class Instance:
    """A product that runs, or ran, in a folder of its own."""

    def __init__(self, folder: Path, *, command: list[str] | None = None, **environ: str) -> None:
        self.environ = clean_environment(folder, **environ)
        self.data_dir = Path(self.environ["DATA_DIR"])
        self.output: list[str] = []
        self._welcomed = threading.Event()
        self._gone = threading.Event()
        self.process = subprocess.Popen(
            command or [sys.executable, str(ROOT / "manage.py"), "run"],
            cwd=folder,
            env={**self.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)
            if "Ctrl-C" in line:
                self._welcomed.set()
        self._gone.set()
        self._welcomed.set()

    @property
    def text(self) -> str:
        """All that it wrote to its terminal."""
        return "".join(self.output)

    def wait_ready(self) -> Instance:
        """Wait for the block that tells the URL."""
        ready = self._welcomed.wait(START_SECONDS) and not self._gone.is_set()
        assert ready, f"did not start:\n{self.text}\n{self.log_tails()}"
        return self

    def wait_for_text(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has written `text` to its terminal."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"never wrote {text!r}:\n{self.text}"
            time.sleep(0.05)

    def wait_end(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; returns the exit status."""
        status = self.process.wait(seconds)
        self._gone.wait(5)  # the last lines
        return status

    def wait_for_worker(self) -> Instance:
        """Wait until /health/work says that work flows."""
        deadline = time.monotonic() + START_SECONDS
        while (answer := _get(f"{self.url}/health/work")).status_code != 200:
            assert time.monotonic() < deadline, f"{answer.text}\n{self.log_tails()}"
            time.sleep(0.1)
        return self

    @property
    def url(self) -> str:
        """Its first page, without the slash at the end."""
        return self._after("Open").rstrip("/")

    @property
    def password(self) -> str:
        """Admin's password, from the terminal."""
        return self._after("password")

    def _after(self, word: str) -> str:
        words = self.text.split()
        return words[words.index(word) + 1]

    def processes(self) -> list[psutil.Process]:
        """Everything that it has started and that lives, the guard too."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def program(self, word: str) -> psutil.Process:
        """The one direct child whose command line holds `word`."""
        children = psutil.Process(self.process.pid).children()
        (found,) = [child for child in children if word in " ".join(child.cmdline())]
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal and assert that nothing of it is left; returns the exit status."""
        started = self.processes() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.wait_end()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert_gone(started)
        return status

    def manage(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a manage.py command as from a second terminal with the same DATA_DIR."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=self.data_dir.parent,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def log_tails(self) -> str:
        """The end of each log file, to be shown when a test fails."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:])
            for log in sorted(self.data_dir.glob("logs/*.log"))
        )


def _get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30)


def assert_gone(processes: list[psutil.Process], seconds: float = 15.0) -> None:
    """Wait for processes to end; a zombie that nobody reaps has ended too."""
    deadline = time.monotonic() + seconds
    left = processes
    while left := [each for each in left if _alive(each)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
