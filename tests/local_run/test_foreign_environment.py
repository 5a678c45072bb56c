"""What other tools leave in a shell neither breaks `make run` nor leads it elsewhere."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import requests

from dashboard.environment import remove_foreign_variables
from dashboard.local_run.listening import address, foreign_host
from tests.instances import ROOT, Instance

OTHERS = {
    "BROKER_URL": "redis://127.0.0.1:9/5",
    "CELERY_BROKER_URL": "redis://127.0.0.1:9/5",
    "CELERY_BROKER_READ_URL": "redis://127.0.0.1:9/5",
    "CELERY_BROKER_WRITE_URL": "redis://127.0.0.1:9/5",
    "CELERY_CONFIG_MODULE": "shop.celeryconfig",
    "CELERY_RESULT_BACKEND": "nothing://127.0.0.1:9/5",
    "RESULT_BACKEND": "nothing://127.0.0.1:9/5",
    "DJANGO_SETTINGS_MODULE": "shop.settings",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:9 --workers=many",
    "SCRIPT_NAME": "/shop",
    "WEB_CONCURRENCY": "",
    "LOG_LEVEL": "",
    "DATABASE_CONN_MAX_AGE": "",
    "REDIS_URL": " ",
    "TMPDIR": "/nonexistent",
    "HOST": "x86_64-conda-linux-gnu",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"), "http://127.0.0.1:9"),
    "NO_PROXY": "",
}


@pytest.mark.e2e
def test_all_that_others_leave_at_once_keeps_nothing_from_working(tmp_path: Path) -> None:
    product = Instance(tmp_path, **OTHERS)
    try:
        product.wait_ready()
        product.wait_for_text("clusters registered")
        product.wait_for_worker()
        assert "note: HOST=x86_64-conda-linux-gnu is not an IP address" in product.text
        assert product.url.startswith("http://127.0.0.1:")
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{product.url}/sign-in/", timeout=30).status_code == 200
        assert "redis+socket://" in (product.data_dir / "logs" / "worker.log").read_text()
        assert "127.0.0.1:9" not in product.log_tails()
    finally:
        assert product.stop() == 0


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "value"), [("DEBUG", "release"), ("LOG_LEVEL", "verbose"), ("WEB_CONCURRENCY", "abc")]
)
def test_what_is_ours_and_cannot_work_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    product = Instance(tmp_path, **{name: value})
    assert product.wait_end() == 1
    assert product.text.startswith(f"error: (css.E017) {name}='{value}'")
    assert product.text.count("\n") == 1, product.text


@pytest.mark.parametrize(
    "host", ["x86_64-conda-linux-gnu", "aarch64-apple-darwin20.0.0", "workstation", "a.example"]
)
def test_a_host_that_is_a_name_is_left_alone(host: str) -> None:
    assert foreign_host({"HOST": host}) == host
    assert address({"HOST": host, "PORT": "0"}) == ("127.0.0.1", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "192.0.2.7", "localhost"])
def test_a_host_that_is_an_address_counts(host: str) -> None:
    assert foreign_host({"HOST": host}) == ""
    assert address({"HOST": f'"{host}" ', "PORT": ""}) == (host, 8000)


def test_settings_of_this_checkout_stay_and_others_go() -> None:
    for kept in ("dashboard.settings", "tests.settings", "benchmarks.history.settings"):
        environ = {"DJANGO_SETTINGS_MODULE": kept}
        assert remove_foreign_variables(environ) == []
        assert environ == {"DJANGO_SETTINGS_MODULE": kept}
    for other in ("shop.settings", "", "..", "/etc/passwd", "settings"):
        environ = {"DJANGO_SETTINGS_MODULE": other, "CELERY_BROKER_URL": "amqp://"}
        assert remove_foreign_variables(environ) == ["CELERY_BROKER_URL"]
        assert environ == {"DJANGO_SETTINGS_MODULE": "dashboard.settings"}


def test_packages_go_into_the_virtual_environment_whatever_pip_is_told(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"tiny @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    (tmp_path / "pip.conf").write_text("[global]\nuser = true\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pip.py").write_text("raise SystemExit('a pip of another project')\n")
    environ = {
        **{n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "PYTHON"))},
        "VENV": str(tmp_path / "venv"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_CONSTRAINT": str(tmp_path / "nothing.txt"),
        "PYTHONPATH": str(tmp_path / "elsewhere"),
        "PYTHONHOME": str(tmp_path),
    }
    answer = subprocess.run(
        ["sh", str(ROOT / "tools" / "install.sh"), str(requirements)],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-I", "-c", "import tiny"], check=True)


def _wheel(folder: Path) -> Path:
    """A package of one empty module, so that nothing is fetched."""
    files = {
        "tiny.py": "",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{name},sha256={digest.decode()},{len(text)}")
    files["tiny-1.0.dist-info/RECORD"] = "\n".join([*lines, "tiny-1.0.dist-info/RECORD,,", ""])
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path
