"""Access keys and agencies of clouds.yaml, from the entry to a request that is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml
from keystoneauth1 import exceptions as keystone

from backups.css_api import config
from backups.css_api.client import CssClient, Exchange, ShownRequest
from backups.css_api.errors import (
    CatalogError,
    ConfigurationError,
    IdentityError,
    SecondFactorError,
)
from backups.css_api.identity import identity_error
from backups.css_api.session import CloudConnection, connect, known_secrets
from dashboard.http.wire import ExchangeWatch
from simulator import server
from simulator.client import SimulatorControl
from simulator.config import SimulatorConfig

from .conftest import QUICK, WriteClouds


@pytest.fixture(scope="module")
def started() -> Iterator[server.Simulator]:
    simulator = server.start(SimulatorConfig(clusters=2))
    yield simulator
    simulator.stop()


@pytest.fixture
def cloud(started: server.Simulator) -> server.Simulator:
    started.reset()
    return started


def entry_of(cloud: server.Simulator, kind: str, **more: object) -> dict[str, Any]:
    """The simulator's entry `demo` for a kind of credentials."""
    return {**yaml.safe_load(cloud.clouds_yaml(kind))["clouds"]["demo"], **more}


def connection() -> CloudConnection:
    return connect("demo", "", timeouts=QUICK)


def listed() -> list[str]:
    return sorted(cluster.name for cluster in CssClient(connection()).list_clusters())


def problem() -> str:
    with pytest.raises(ConfigurationError) as caught:
        connection()
    return str(caught.value)


@pytest.mark.parametrize("kind", ["access_key", "temporary_key"])
@pytest.mark.parametrize("scheme", ["A", "B", "b"])
def test_a_key_lists_the_clusters_without_a_token(
    cloud: server.Simulator, write_clouds: WriteClouds, kind: str, scheme: str
) -> None:
    write_clouds(demo=entry_of(cloud, kind, signing_scheme=scheme))
    assert len(listed()) == 2
    project = cloud.cloud.first_project
    identity = connection().identity()
    assert (identity.project_id, identity.project_name) == (project.id, project.name)
    assert identity.endpoint == f"{cloud.url}/v1.0/{project.id}"
    endpoints = [entry.endpoint for entry in SimulatorControl(cloud.url).ledger()]
    assert endpoints == ["projects", "catalog", "list"]


@pytest.mark.parametrize("place", ["top", "auth", "region", "environment", "sk in environment"])
@pytest.mark.parametrize("names", [("access_key", "secret_key"), ("ak", "sk")])
def test_keys_are_read_from_wherever_users_write_them(
    cloud: server.Simulator,
    write_clouds: WriteClouds,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    names: tuple[str, str],
) -> None:
    entry = entry_of(cloud, "temporary_key")
    pair = {names[0]: entry.pop("access_key"), names[1]: entry.pop("secret_key")}
    pair["security_token"] = entry.pop("security_token")
    if place == "top":
        entry |= pair
    elif place == "auth":
        entry["auth"] |= pair
    elif place == "region":
        entry["regions"] = [{"name": entry.pop("region_name"), "values": {"auth": pair}}]
    else:
        monkeypatch.setenv("OS_SECRET_KEY", pair.pop(names[1]))
        if place == "environment":
            monkeypatch.setenv("OS_ACCESS_KEY", pair.pop(names[0]))
            monkeypatch.setenv("OS_SECURITY_TOKEN", pair.pop("security_token"))
        entry |= pair
    write_clouds(demo=entry)
    assert len(listed()) == 2


def test_a_cloud_can_be_described_by_the_environment_alone(
    cloud: server.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, project = cloud.identity.credentials.key, cloud.cloud.first_project
    monkeypatch.setenv("OS_AUTH_URL", f"{cloud.url}/v3")
    monkeypatch.setenv("OS_ACCESS_KEY", key.access)
    monkeypatch.setenv("OS_SECRET_KEY", key.secret)
    monkeypatch.setenv("OS_PROJECT_NAME", project.name)
    monkeypatch.setenv("OS_REGION_NAME", project.region)
    made = connect("envvars", "", timeouts=QUICK)
    assert len(CssClient(made).list_clusters()) == 2


def test_variables_can_do_without_the_identity_service_too(
    cloud: server.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, project = cloud.identity.credentials.key, cloud.cloud.first_project
    monkeypatch.setenv("OS_ACCESS_KEY", key.access)
    monkeypatch.setenv("OS_SECRET_KEY", key.secret)
    monkeypatch.setenv("OS_PROJECT_ID", project.id)
    assert config.list_clouds() == ()
    monkeypatch.setenv("OS_CSS_ENDPOINT_OVERRIDE", cloud.url)
    [(name, region)] = config.list_clouds()
    assert len(CssClient(connect(name, region, timeouts=QUICK)).list_clusters()) == 2


def test_with_endpoint_and_project_id_the_identity_service_is_not_needed(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "access_key", css_endpoint_override=cloud.url)
    entry["auth"] = {"project_id": cloud.cloud.first_project.id}
    write_clouds(demo=entry)
    assert len(listed()) == 2
    assert {each.endpoint for each in SimulatorControl(cloud.url).ledger()} == {"list"}


def test_a_password_goes_before_a_key_beside_it(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "password", ak="AKWHATEVER1234", sk="for-the-object-storage-only")
    del entry["auth_type"]
    entry["auth"]["access_key"] = "AKWHATEVER1234"
    write_clouds(demo=entry)
    assert len(listed()) == 2
    assert connection().authorization().key is None


# --- What is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret_key": None}, "secret_key is missing beside access_key"),
        ({"access_key": ""}, "access_key is missing beside secret_key"),
        ({"access_key": "two words 1234"}, "access_key is not valid: copy it again"),
        ({"secret_key": "with a blank in it"}, "secret_key is not valid"),
        ({"security_token": "ümlaut-is-no-token"}, "security_token is not valid"),
        ({"signing_scheme": "C"}, "signing_scheme is neither A nor B"),
        ({"auth": {"auth_url": "http://127.0.0.1:9/v3"}}, "set project_name"),
        ({"auth": {"project_name": "eu-de"}}, "auth_url is missing"),
        (
            {"auth": {"auth_url": "iam.example/v3", "project_id": "p"}},
            "iam.example/v3 has no scheme: set auth_url in the entry, to https://iam.example/v3",
        ),
        ({"auth": {}}, "auth_url is missing"),
    ],
)
def test_a_bad_entry_says_entry_key_and_remedy(
    cloud: server.Simulator, write_clouds: WriteClouds, change: dict[str, Any], words: str
) -> None:
    entry = entry_of(cloud, "access_key") | change
    write_clouds(demo={name: value for name, value in entry.items() if value is not None})
    said = problem()
    assert "'demo'" in said
    assert words in said
    key = cloud.identity.credentials.key
    assert not any(part in said for part in (key.access, key.secret, "two words", "blank in it"))


@pytest.mark.parametrize("name", ["sk", "access_key", "secret_key"])
@pytest.mark.parametrize("place", ["", "auth: "])
def test_a_key_that_yaml_reads_as_a_number_must_be_quoted(
    write_clouds: WriteClouds, name: str, place: str
) -> None:
    part = f"{{{name}: 0123456}}"
    text = f"auth: {part}" if place else f"{name}: 0123456"
    write_clouds(f"clouds: {{demo: {{{text}}}}}")
    assert f"{name} of 'demo' is not in quotes" in problem()


def test_a_missing_password_beside_a_key_says_both_ways_out(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "password", ak="AKWHATEVER1234", sk="x" * 40)
    del entry["auth"]["password"]
    write_clouds(demo=entry)
    assert "add the password, or remove auth_type so that requests are signed" in problem()
    del entry["auth_type"]
    key = cloud.identity.credentials.key
    write_clouds(demo=entry | {"ak": key.access, "sk": key.secret})
    assert len(listed()) == 2


def rejection() -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        listed()
    return caught.value


@pytest.mark.parametrize("way", ["identity service", "endpoint"])
def test_a_wrong_key_is_sent_once_and_then_held_back(
    cloud: server.Simulator, write_clouds: WriteClouds, way: str
) -> None:
    entry = entry_of(cloud, "access_key", secret_key="w" * 40)
    if way == "endpoint":
        entry["css_endpoint_override"] = cloud.url
        entry["auth"]["project_id"] = cloud.cloud.first_project.id
    write_clouds(demo=entry)
    said = str(rejection())
    access = cloud.identity.credentials.key.access
    assert f"rejected the access key …{access[-4:]} of clouds.yaml entry 'demo' (401)" in said
    assert "verify aksk signature fail" in said
    assert access not in said
    before = len(SimulatorControl(cloud.url).ledger())
    assert [str(rejection()) for _ in range(6)] == [said] * 6
    assert len(SimulatorControl(cloud.url).ledger()) == before == 1
    assert rejection().status == 401


@pytest.mark.parametrize(("offset", "words"), [(1200, "behind"), (-1200, "ahead of")])
def test_a_clock_that_is_off_is_named_as_the_cause(
    cloud: server.Simulator, write_clouds: WriteClouds, offset: float, words: str
) -> None:
    SimulatorControl(cloud.url).set_clock(offset)
    write_clouds(demo=entry_of(cloud, "access_key"))
    said = str(rejection())
    assert f"this machine's clock is 20 minutes {words} the cloud's, and 15 are the limit" in said


def test_an_expired_temporary_key_asks_for_a_new_one(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "temporary_key", security_token="an-older-token"))
    assert "the temporary key has expired, or a part of it is wrong" in str(rejection())


def test_an_unknown_project_is_named(cloud: server.Simulator, write_clouds: WriteClouds) -> None:
    entry = entry_of(cloud, "access_key")
    entry["auth"]["project_name"] = "eu-nowhere"
    write_clouds(demo=entry)
    with pytest.raises(CatalogError, match="sees no project named 'eu-nowhere': correct"):
        listed()


def test_five_wrong_signatures_lock_a_key(cloud: server.Simulator) -> None:
    """What the product avoids, so that it is known to be true of the simulator."""
    from backups.css_api.signing import AccessKey, Signature
    from dashboard.http.redact import Secret

    key = cloud.identity.credentials.key
    url = f"{cloud.url}/v3/projects"

    def answers(secret: str) -> requests.Response:
        sign = Signature(AccessKey(Secret(key.access), Secret(secret)))
        return requests.get(url, auth=sign, timeout=5)

    assert answers(key.secret).status_code == 200
    for _ in range(5):
        assert "verify aksk signature fail" in answers("w" * 40).text
    assert "forbidden" in answers(key.secret).text
    SimulatorControl(cloud.url).reset()
    assert answers(key.secret).status_code == 200


# --- What others see -----------------------------------------------------------------------------


def test_neither_key_nor_signature_is_recorded(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    seen: list[ShownRequest] = []

    class Recorder:
        def before_send(self, request: ShownRequest) -> None:
            seen.append(request)

        def after(self, exchange: Exchange) -> None:
            pass

    write_clouds(demo=entry_of(cloud, "temporary_key"))
    CssClient(connection(), Recorder()).list_clusters()
    key = cloud.identity.credentials.temporary_key
    [shown] = seen
    assert shown.headers["Authorization"] == shown.headers["X-Security-Token"] == "[redacted]"
    assert shown.headers["X-Project-Id"] == cloud.cloud.first_project.id
    assert not any(part in repr(shown) for part in (key.access, key.secret, key.security_token))
    assert {key.access, key.secret, key.security_token} <= set(known_secrets())


# --- Agencies ------------------------------------------------------------------------------------


def test_an_agency_lists_the_clusters_of_the_project_that_delegated(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "agency"))
    assert len(listed()) == 2
    endpoints = [entry.endpoint for entry in SimulatorControl(cloud.url).ledger()]
    assert endpoints.count("token") == 2
    SimulatorControl(cloud.url).expire_tokens()
    assert len(listed()) == 2  # both tokens are renewed
    assert set(cloud.identity.issued_tokens()) <= set(known_secrets())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("target_agency_name", "", "needs target_agency_name in auth"),
        ("target_domain_name", "", "needs target_domain_name in auth"),
        ("target_project_name", "", "needs target_project_name in auth"),
        ("password", "", "password is missing"),
    ],
)
def test_an_agency_without_a_part_says_which(
    cloud: server.Simulator, write_clouds: WriteClouds, name: str, value: str, words: str
) -> None:
    entry = entry_of(cloud, "agency")
    entry["auth"][name] = value
    write_clouds(demo=entry)
    assert words in problem()


def test_an_agency_that_is_not_delegated_is_refused(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "agency")
    entry["auth"]["target_agency_name"] = "another"
    write_clouds(demo=entry)
    assert rejection().status == 401


# --- What helps on which cloud -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("iam.eu-de.otc.t-systems.com:443", "programmatic access without MFA, an agency, or an"),
        ("iam.myhuaweicloud.com", "programmatic access without MFA, an agency, or an access key"),
        ("keystone.example", "use an application credential"),
        ("otc.t-systems.com.example", "use an application credential"),
    ],
)
def test_a_second_factor_gets_the_advice_of_its_cloud(host: str, words: str) -> None:
    receipt = {"methods": ["password"], "expires_at": "2099-01-01T00:00:00Z"}
    answer = requests.Response()
    answer._content = json.dumps({"receipt": receipt, "required_auth_methods": []}).encode()
    error = identity_error(
        keystone.MissingAuthMethods(answer),
        cloud="otc",
        auth_url=f"https://{host}/v3",
        watch=ExchangeWatch(QUICK),
        secrets=(),
    )
    assert isinstance(error, SecondFactorError)
    assert words in error.detail


def test_an_entry_that_is_scoped_to_its_domain_is_told_the_right_key(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "password")
    auth = entry["auth"]
    del auth["project_name"], auth["project_domain_name"]
    auth["domain_name"] = auth["user_domain_name"]
    write_clouds(demo=entry)
    with pytest.raises(CatalogError) as caught:
        listed()
    assert "set project_name or project_id in its entry; its domain_name" in str(caught.value)
    assert "call it user_domain_name" in str(caught.value)


def test_an_address_that_is_too_long_is_told_where_to_end(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "password")
    entry["auth"]["auth_url"] += "/auth/tokens"
    write_clouds(demo=entry)
    assert "auth_url continues after /v3: remove the rest" in problem()


def test_the_swiss_profile_asks_for_a_whole_address(write_clouds: WriteClouds) -> None:
    auth = {"username": "u", "password": "secret", "user_domain_name": "D", "project_name": "p"}
    write_clouds(demo={"profile": "otc-swiss", "auth": auth})
    address = "iam-pub.eu-ch2.sc.otc.t-systems.com/v3"
    assert f"{address} has no scheme: set auth_url in the entry, to https://{address}" in problem()
