"""A whole run with DEBUG logs: no byte that is stored, queued, logged or shown is a secret."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests
import yaml

from dashboard.tokens.models import Scope
from simulator import server
from simulator.client import SimulatorControl
from simulator.config import SimulatorConfig
from tests.instances import Instance
from tests.sign_in.conftest import SECRET, code_of
from tests.sign_in.provider import CLIENT_ID, CLIENT_SECRET, Provider
from tests.sign_in.provider_walk import ADDRESS
from tests.tokens_made import make_by_page
from tests.visitor import Visitor

WRONG = "a-wrong-password-that-was-planted"
WRONG_KEY = "a-wrong-secret-key-that-was-planted-here"
# what the product itself keeps as a file of its own, readable by its owner only
OWN_FILES = {"secret_key", "audit_signing_key", "channel_key", "admin_password"}


@pytest.fixture
def cloud() -> Iterator[server.Simulator]:
    started = server.start(SimulatorConfig(demo=True, job_seconds=1.0, regions=("eu-de", "eu-nl")))
    yield started
    started.stop()


@pytest.fixture
def provider() -> Iterator[Provider]:
    started = Provider()
    started.user["groups"] = ["ops"]
    yield started
    started.stop()


@pytest.fixture
def instance(cloud: server.Simulator, provider: Provider, tmp_path: Path) -> Iterator[Instance]:
    clouds = yaml.safe_load(cloud.clouds_yaml())
    first = next(iter(clouds["clouds"].values()))
    clouds["clouds"]["refused"] = {**first, "auth": {**first["auth"], "password": WRONG}}
    # one region is reached with a temporary access key, and one entry has a wrong secret key
    signed = yaml.safe_load(cloud.clouds_yaml("temporary_key"))["clouds"]["demo-nl"]
    wrong = yaml.safe_load(cloud.clouds_yaml("access_key"))["clouds"]["demo"]
    clouds["clouds"] |= {"demo-nl": signed, "wrong-key": {**wrong, "secret_key": WRONG_KEY}}
    path = tmp_path / "clouds.yaml"
    path.write_text(yaml.safe_dump(clouds))
    started = Instance(
        tmp_path,
        OS_CLIENT_CONFIG_FILE=str(path),
        LOG_LEVEL="DEBUG",
        DEMO_CLOUD="0",
        FILE_CHECKS="1",
        FILE_CHECK_DELAY="0",
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_ROLE_MAP="ops=operator:all",
    ).wait_ready()
    try:
        started.wait_for_worker()
        yield started
    finally:
        started.stop()


class Traffic:
    """All that goes through the broker, as it says it itself."""

    def __init__(self, socket: Path) -> None:
        self.lines: list[bytes] = []
        self._client = redis.Redis(unix_socket_path=str(socket))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            with self._client.monitor() as monitor:
                for command in monitor.listen():
                    self.lines.append(str(command["command"]).encode())
        except (redis.ConnectionError, ValueError):
            return  # it ends with the instance


def secrets_of(cloud: server.Simulator, instance: Instance) -> dict[str, bytes]:
    """Every secret there is, by what it is."""
    clouds = yaml.safe_load(cloud.clouds_yaml())["clouds"]
    found = {f"password of {name}": each["auth"]["password"] for name, each in clouds.items()}
    found["refused password"] = WRONG
    key, temporary = cloud.identity.credentials.key, cloud.identity.credentials.temporary_key
    found |= {"AK": key.access, "SK": key.secret, "refused SK": WRONG_KEY}
    found |= {"temporary AK": temporary.access, "temporary SK": temporary.secret}
    found["security token"] = temporary.security_token
    found["SECRET_KEY"] = (instance.data_dir / "secret_key").read_text().strip()
    found["admin's password"] = instance.password
    for number, lent in enumerate(cloud.identity.lent_keys()):
        found |= {f"AK {number} for a bucket": lent.key.access}
        found |= {f"SK {number} for a bucket": lent.key.secret}
        found |= {f"security token {number} for a bucket": lent.key.security_token}
    for number, token in enumerate(cloud.identity.issued_tokens()):
        found[f"token {number}"] = token
    assert len(found) > 5
    return {name: value.encode() for name, value in found.items()}


def by_the_provider(instance: Instance, provider: Provider) -> dict[str, str]:
    """Sign in by the provider, then fail to; returns the secrets of it."""
    found = {}
    for wrong in (False, True):
        if wrong:
            provider.change = lambda claims: {**claims, "aud": "another"}
        issued: list[str] = []
        provider.sign = lambda claims, issued=issued: (  # type: ignore[misc]
            issued.append(provider.signed(claims)) or issued[-1]  # type: ignore[func-returns-value]
        )
        visitor = Visitor(instance.url)
        visitor.get("/sign-in/")
        page = visitor.post("/sign-in/provider/").text
        address = ADDRESS.search(page)
        assert address, page
        back = visitor.get(html.unescape(address[1]), allow_redirects=False).headers["Location"]
        visitor.get(back)
        assert ("/sign-in/" in visitor.get("/").url) is wrong
        found[f"ID token, wrong: {wrong}"] = issued[0]
        found[f"code, wrong: {wrong}"] = back.partition("code=")[2].partition("&")[0]
    return found


def second_factor(visitor: Visitor) -> dict[str, str]:
    """Set an authenticator app up; returns its secret, and the recovery codes with it."""
    page = visitor.get("/account/second-factor/app/").text
    secret = SECRET.search(page)
    assert secret, page
    visitor.post("/account/second-factor/app/", data={"code": code_of(secret[1])})
    shown = visitor.post("/account/second-factor/codes/").text
    codes = re.findall(r"\b\d{8}$", shown, re.MULTILINE)
    assert len(codes) == 10
    return {"secret of the app": secret[1], "a recovery code": codes[0]}


# what a database has by its nature; docs/security.md says so
IN_THE_DATABASE = {"session key"}


def test_no_secret_is_stored_queued_logged_or_shown(
    cloud: server.Simulator, instance: Instance, provider: Provider, tmp_path: Path
) -> None:
    instance.wait_for_text("could not be synchronized")  # one of the entries is refused
    traffic = Traffic(instance.data_dir / "redis.sock")
    control = SimulatorControl(cloud.url)
    names = {each.name: each.id for each in control.clusters()}
    control.fault("status", names["orders-prod"], preset="unauthorized")
    printed = instance.manage("backup", "--all", "--wait", "--timeout", "60", "--json")
    assert '"state": "succeeded"' in printed.stdout
    ended = [json.loads(line) for line in printed.stdout.splitlines() if line.startswith("{")]
    by_key = [run["state"] for run in ended if run["cluster"] == "warehouse-nl"]
    assert by_key == ["succeeded"], "the request that an access key signed"
    tests = instance.manage("sync_clusters")
    # by a temporary key for the token, and by the entry's own key
    files = {run["cluster"]: run["run_id"] for run in ended if run["state"] == "succeeded"}
    anna = Visitor(instance.url).sign_in("admin", instance.password)
    deadline = time.monotonic() + 60
    for number in files.values():
        while anna.get(f"/runs/{number}.json").json()["files"]["result"] != "seen":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert cloud.identity.lent_keys()
    signing_in = {**by_the_provider(instance, provider), **second_factor(anna)}
    signing_in["client secret"] = CLIENT_SECRET
    signing_in["access token"] = "an-access-token"
    signing_in["session key"] = next(c.value or "" for c in anna.cookies if "session" in c.name)
    shown = [
        anna.get(path).text
        for path in (
            "/",
            "/clusters/",
            "/history/",
            "/settings/connections/",
            "/audit/",
            "/account/",
        )
    ]
    shown.append(
        anna.post("/settings/connections/test/", data={"cloud": "refused", "region": ""}).text
    )
    for entry, region in (("wrong-key", "eu-de"), ("demo-nl", "eu-nl")):
        asked = {"cloud": entry, "region": region}
        shown.append(anna.post("/settings/connections/test/", data=asked).text)
    assert f"access key …{cloud.identity.credentials.key.access[-4:]}" in shown[-2]
    assert f"access key …{cloud.identity.credentials.temporary_key.access[-4:]}" in shown[-1]
    shown.append(anna.get("/settings/connections/add/?kind=otc-key").text)
    token = make_by_page(anna, "planted", Scope.RUN)
    headers = {"Authorization": f"Bearer {token}"}
    for number in range(2):
        answer = requests.post(
            f"{instance.url}/api/v1/clusters/{number + 1}/backups",
            headers=headers,
            json={"anyway": True},
            timeout=30,
            proxies={"http": ""},
        )
        assert answer.status_code in (200, 202, 409), answer.text
        shown.append(answer.text)
    wrong_token = {"Authorization": f"Bearer {token[:-4]}AAAA"}
    url = f"{instance.url}/api/v1/token"
    refused = requests.get(url, headers=wrong_token, timeout=30, proxies={"http": ""})
    assert refused.status_code == 401
    shown += [refused.text, anna.get("/account/tokens/").text, anna.get("/audit/").text]
    runs = [line for line in printed.stdout.splitlines() if line.startswith("{")]
    for number in range(1, len(runs) + 1):
        shown += [anna.get(f"/runs/{number}/").text, anna.get(f"/runs/{number}.json").text]
    assert any("unauthenticated" in page or "Sign-in to the cloud failed" in page for page in shown)
    deadline = time.monotonic() + 10
    while not traffic.lines and time.monotonic() < deadline:
        time.sleep(0.05)
    places: dict[str, bytes] = {
        "pages": "\n".join(shown).encode(),
        "what commands print": (printed.stdout + printed.stderr + tests.stdout).encode(),
        "what goes through the broker": b"\n".join(traffic.lines),
    }
    assert b"send_run" in places["what goes through the broker"]
    for path in instance.data_dir.rglob("*"):
        if path.is_file() and path.name not in OWN_FILES and "static" not in path.parts:
            places[str(path.relative_to(tmp_path))] = path.read_bytes()
    assert any(name.endswith("db.sqlite3") for name in places)
    assert any(name.endswith(".log") and b"DEBUG" in content for name, content in places.items())
    # its first half is a name that pages show
    secrets = {**secrets_of(cloud, instance), "secret of an API token": token[-43:].encode()}
    secrets |= {k: v.encode() for k, v in signing_in.items()}
    secrets["start of it"] = token[-43:-4].encode()
    assert all(secrets.values())
    wrong = [
        f"{what} in {place}"
        for what, secret in secrets.items()
        for place, content in places.items()
        if secret in content and not (what in IN_THE_DATABASE and "db.sqlite3" in place)
    ]
    assert not wrong, "\n".join(wrong)
