"""Identity: what keystoneauth1 and openstacksdk's configuration need, and when tokens die."""

from __future__ import annotations

from pathlib import Path

import openstack.config
import pytest
import requests
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import Password
from simulator_access import Css, StartSimulator, sign_in

from simulator import clouds_file
from simulator.client import SimulatorControl
from simulator.server import Simulator


@pytest.mark.parametrize("kind", ["password", "application_credential"])
def test_openstack_configuration_reaches_css_by_the_clouds_file(
    simulator: Simulator, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "clouds.yaml"
    clouds_file.write(path, simulator.clouds_yaml(kind))
    assert path.stat().st_mode & 0o777 == 0o600

    config = openstack.config.OpenStackConfig(config_files=[str(path)], load_envvars=False)
    keystone = config.get_one(cloud="demo").get_session()
    endpoint = keystone.get_endpoint(service_type="css", interface="public", region_name="eu-de")

    project = simulator.cloud.first_project
    assert endpoint == f"{simulator.url}/v1.0/{project.id}"
    assert keystone.get_project_id() == project.id
    assert keystone.get(f"{endpoint}/clusters").json() == {"totalSize": 0, "clusters": []}


def test_each_region_is_a_cloud_with_a_listener_of_its_own(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    simulator = start_simulator(demo=True, regions=("eu-de", "eu-nl"))
    path = tmp_path / "clouds.yaml"
    clouds_file.write(path, simulator.clouds_yaml())

    clouds = openstack.config.OpenStackConfig(config_files=[str(path)], load_envvars=False)
    endpoints = {
        each.name: each.get_session().get_endpoint(service_type="css", region_name=each.region_name)
        for each in clouds.get_all()
    }

    assert set(endpoints) == {"demo", "demo-nl"}
    assert endpoints["demo"].startswith(simulator.listeners["eu-de"].url)
    assert endpoints["demo-nl"].startswith(simulator.listeners["eu-nl"].url)


def test_a_wrong_password_is_refused_as_keystone_does(simulator: Simulator) -> None:
    auth = Password(
        f"{simulator.url}/v3",
        username=simulator.identity.credentials.username,
        password="wrong",
        user_domain_name="css-simulator",
        project_name="eu-de_simulator",
        project_domain_name="css-simulator",
    )
    with pytest.raises(exceptions.Unauthorized):
        session.Session(auth).get_token()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"auth": {"identity": []}}', b"\xff"])
def test_a_sign_in_that_makes_no_sense_is_a_bad_request(simulator: Simulator, body: bytes) -> None:
    answer = requests.post(f"{simulator.url}/v3/auth/tokens", data=body, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


def test_projects_are_listed_for_a_token(simulator: Simulator) -> None:
    headers = {"X-Auth-Token": sign_in(simulator)}
    answer = requests.get(f"{simulator.url}/v3/projects", headers=headers, timeout=5)
    assert [each["id"] for each in answer.json()["projects"]] == list(simulator.cloud.projects)


def test_an_expired_token_is_refused_by_the_gateway_and_a_new_one_works(
    simulator: Simulator, control: SimulatorControl, css: Css
) -> None:
    assert css.call("GET", "").status_code == 200
    assert control.expire_tokens() == 1

    refused = css.call("GET", "")
    assert refused.status_code == 401
    assert refused.json()["error_code"] == "APIGW.0301"
    assert refused.json()["request_id"] == refused.headers["X-Request-Id"]

    css.token = sign_in(simulator)
    assert css.call("GET", "").status_code == 200
    assert [entry.token_ok for entry in control.ledger(endpoint="list")] == [True, False, True]


def test_a_token_of_another_project_does_not_open_this_one(
    start_simulator: StartSimulator,
) -> None:
    simulator = start_simulator(regions=("eu-de", "eu-nl"))
    other = Css(simulator, "eu-de", token=sign_in(simulator, "eu-nl"))
    assert other.call("GET", "").status_code == 403


def test_css_can_stand_behind_another_identity_service(start_simulator: StartSimulator) -> None:
    identity = start_simulator()
    behind = start_simulator(keystone_url=f"{identity.url}/v3", clusters=1)
    css = Css(behind, token=sign_in(identity))

    assert css.call("GET", "").json()["totalSize"] == 1
    css.token = "forged"
    assert css.call("GET", "").status_code == 401
    assert requests.get(f"{behind.url}/v3", timeout=5).status_code == 404
    assert [entry.endpoint for entry in identity.ledger.entries()][-1] == "token_check"


def test_with_any_token_trusted_any_project_id_reaches_the_clusters(
    start_simulator: StartSimulator,
) -> None:
    simulator = start_simulator(trust_any_token=True, clusters=2)
    url = f"{simulator.url}/v1.0/a-project-of-elsewhere/clusters"
    answer = requests.get(url, headers={"X-Auth-Token": "x"}, timeout=5)
    assert answer.json()["totalSize"] == 2
    assert requests.get(url, timeout=5).status_code == 401
