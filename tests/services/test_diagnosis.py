"""The test of a clouds.yaml entry: its steps in order, and what is said of the first that fails."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from backups.choices import ConnectionFault as Fault
from backups.css_api.errors import (
    ConfigurationError,
    CssApiError,
    IdentityError,
    NotSent,
    SecondFactorError,
    TransportKind,
    Unanswered,
)
from backups.guide import CONNECTION_FAULTS
from backups.services.connections import diagnosis
from backups.services.connections.diagnosis import Diagnosis, StepState, diagnose, fault_of
from dashboard.http.wire import Timeouts
from simulator.client import SimulatorControl
from simulator.server import Simulator
from tests.services.clouds_entries import change_entry, read_file, the_entry, write_file

PASSED, FAILED, NOT_TRIED = StepState.PASSED, StepState.FAILED, StepState.NOT_TRIED


def failed_at(found: Diagnosis, number: int, fault: Fault) -> str:
    """Check where a test failed, with what, and that the rest was not tried; returns the text."""
    states = [step.state for step in found.steps]
    assert states == [PASSED] * (number - 1) + [FAILED] + [NOT_TRIED] * (4 - number), found
    assert [step.fault for step in found.steps if step.fault] == [fault]
    assert not found.passed
    return found.steps[number - 1].text


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of silence need not take as long as people would wait."""
    limits = Timeouts(connect=0.5, read=0.5, total=1.0)
    monkeypatch.setattr(diagnosis, "INTERACTIVE", limits)


def test_all_is_well(cloud: SimulatorControl) -> None:
    cloud.add_cluster("one")
    found = diagnose(*the_entry())
    assert found.passed
    assert found.steps[3].text == "1 cluster can be listed."
    cloud.add_cluster("two")
    assert diagnose(*the_entry()).steps[3].text == "2 clusters can be listed."


def test_an_empty_list_passes_and_says_what_it_may_mean(cloud: SimulatorControl) -> None:
    found = diagnose(*the_entry())
    assert found.passed
    assert "is empty" in found.steps[3].text
    assert "project and region" in found.steps[3].text


# --- 1: the entry --------------------------------------------------------------------------------


def test_an_entry_that_is_not_there(cloud: SimulatorControl) -> None:
    assert "nowhere" in failed_at(diagnose("nowhere", ""), 1, Fault.CONFIGURATION)


def test_a_region_that_the_entry_does_not_have(cloud: SimulatorControl) -> None:
    name, _region = the_entry()
    document = read_file()
    document["clouds"][name]["regions"] = ["eu-de", "eu-nl"]
    write_file(document)
    text = failed_at(diagnose(name, "eu-ch2"), 1, Fault.CONFIGURATION)
    assert "eu-ch2" in text


def test_an_identity_service_over_plain_http(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(auth_url="http://iam.example.com/v3"))
    assert "is not HTTPS" in failed_at(found, 1, Fault.CONFIGURATION)


def test_a_missing_password(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(password=None))
    assert "password is missing" in failed_at(found, 1, Fault.CONFIGURATION)


def test_a_file_that_cannot_be_read(cloud: SimulatorControl, tmp_path: Any) -> None:
    name, region = the_entry()
    (tmp_path / "clouds.yaml").write_text("clouds: [")
    assert "not valid YAML" in failed_at(diagnose(name, region), 1, Fault.CONFIGURATION)


# --- 2: the sign-in ------------------------------------------------------------------------------


def test_credentials_that_are_refused(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(password="hunter22"))
    assert "401" in failed_at(found, 2, Fault.REFUSED)
    assert "hunter22" not in repr(found)
    assert "password" in str(CONNECTION_FAULTS[Fault.REFUSED].next_step)


def test_a_kept_token_does_not_hide_that_the_sign_in_no_longer_works(
    cloud: SimulatorControl,
) -> None:
    assert diagnose(*the_entry()).passed
    cloud.fault("status", endpoint="token", status=401, body="{}")
    failed_at(diagnose(*the_entry()), 2, Fault.REFUSED)
    cloud.clear_faults()


def test_an_account_that_wants_a_second_factor(cloud: SimulatorControl) -> None:
    receipt = {"methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z"}
    body = json.dumps({"receipt": receipt, "required_auth_methods": [["password", "totp"]]})
    headers = {"Openstack-Auth-Receipt": "r"}
    cloud.fault("status", endpoint="token", status=401, body=body, headers=headers)
    text = failed_at(diagnose(*the_entry()), 2, Fault.SECOND_FACTOR)
    assert "second factor" in text
    cloud.clear_faults()


def test_an_identity_service_that_is_away(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(auth_url="http://127.0.0.1:9/v3"))
    failed_at(found, 2, Fault.UNREACHABLE)


def test_an_identity_service_that_says_nothing(
    cloud: SimulatorControl, silent: int, impatient: None
) -> None:
    began = time.monotonic()
    found = diagnose(*change_entry(auth_url=f"http://127.0.0.1:{silent}/v3"))
    failed_at(found, 2, Fault.UNANSWERED)
    assert time.monotonic() - began < 10


def test_a_host_name_that_is_not_known(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(auth_url="https://iam.no-such-host.invalid/v3"))
    failed_at(found, 2, Fault.DNS)


def test_a_host_that_does_not_speak_tls(cloud: SimulatorControl) -> None:
    address = read_file()["clouds"][the_entry()[0]]["auth"]["auth_url"]
    found = diagnose(*change_entry(auth_url=address.replace("http://", "https://")))
    failed_at(found, 2, Fault.TLS)


def test_an_address_without_an_identity_service(cloud: SimulatorControl) -> None:
    address = read_file()["clouds"][the_entry()[0]]["auth"]["auth_url"]
    found = diagnose(*change_entry(auth_url=address.replace("/v3", "/elsewhere/v3")))
    failed_at(found, 2, Fault.ADDRESS)


def test_an_identity_service_with_an_error(cloud: SimulatorControl) -> None:
    cloud.fault("status", endpoint="token", preset="error_500")
    failed_at(diagnose(*the_entry()), 2, Fault.SERVER_ERROR)
    cloud.clear_faults()


# --- 3: the catalog ------------------------------------------------------------------------------


def test_a_catalog_without_the_region(cloud: SimulatorControl) -> None:
    name, _region = change_entry(region_name="nowhere-1")
    text = failed_at(diagnose(name, "nowhere-1"), 3, Fault.CATALOG)
    assert "nowhere-1" in text


def test_an_endpoint_over_plain_http(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(css_endpoint_override="http://css.example.com"))
    assert "css.example.com" in failed_at(found, 3, Fault.CONFIGURATION)


# --- 4: the list ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "fault"),
    [
        ("forbidden", Fault.FORBIDDEN),
        ("vanished", Fault.FORBIDDEN),
        ("unauthorized", Fault.FORBIDDEN),
        ("not_found", Fault.NOT_FOUND),
        ("throttled", Fault.THROTTLED),
        ("error_500", Fault.SERVER_ERROR),
        ("internal", Fault.SERVER_ERROR),
        ("html_200", Fault.MALFORMED),
    ],
)
def test_a_list_that_is_refused_fails_the_last_step(
    cloud: SimulatorControl, preset: str, fault: Fault
) -> None:
    cloud.fault("status", endpoint="list", preset=preset)
    assert "HTTP" in failed_at(diagnose(*the_entry()), 4, fault)
    cloud.clear_faults()


def test_a_list_of_another_shape(cloud: SimulatorControl) -> None:
    cloud.fault("status", endpoint="list", status=200, body_kind="wrong_shape")
    failed_at(diagnose(*the_entry()), 4, Fault.MALFORMED)
    cloud.clear_faults()


def test_a_list_that_never_comes(cloud: SimulatorControl, impatient: None) -> None:
    cloud.fault("hang_before", endpoint="list")
    began = time.monotonic()
    failed_at(diagnose(*the_entry()), 4, Fault.UNANSWERED)
    assert time.monotonic() - began < 10
    cloud.clear_faults()


def test_a_service_that_is_away(cloud: SimulatorControl) -> None:
    found = diagnose(*change_entry(css_endpoint_override="http://127.0.0.1:9"))
    failed_at(found, 4, Fault.UNREACHABLE)


def test_a_list_that_is_too_long_to_wait_for_is_not_read_to_its_end(
    cloud: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.add_clusters(150)
    monkeypatch.setattr(diagnosis, "LIST_BUDGET", 0.0)
    before = len(cloud.ledger(endpoint="list"))
    found = diagnose(*the_entry())
    assert found.passed
    assert "too many" in found.steps[3].text
    assert len(cloud.ledger(endpoint="list")) == before + 1


# --- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConfigurationError("x"), Fault.CONFIGURATION),
        (SecondFactorError("x", status=401), Fault.SECOND_FACTOR),
        (IdentityError("x", status=403), Fault.REFUSED),
        (IdentityError("x", status=429, retryable=True), Fault.THROTTLED),
        (IdentityError("x", retryable=True), Fault.MALFORMED),
        (IdentityError("x", status=302), Fault.ADDRESS),
        (IdentityError("x", retryable=True, kind=TransportKind.PROXY), Fault.PROXY),
        (NotSent(TransportKind.CONNECT_TIMEOUT, "x"), Fault.UNREACHABLE),
        (NotSent(TransportKind.TLS, "x"), Fault.TLS),
        (Unanswered(TransportKind.RESET, "x"), Fault.UNANSWERED),
        (CssApiError("x"), Fault.INTERNAL),
    ],
)
def test_errors_become_faults(error: CssApiError, fault: Fault) -> None:
    assert fault_of(error) is fault
    if isinstance(error, IdentityError):
        assert fault_of(error.again()) is fault


def test_every_fault_is_explained() -> None:
    assert set(CONNECTION_FAULTS) == set(Fault) - {Fault.NONE}


@pytest.mark.parametrize("way", ["identity service", "endpoint"])
def test_an_access_key_is_named_by_its_end(
    cloud: SimulatorControl, cloud_server: Simulator, way: str
) -> None:
    key, project = cloud_server.identity.credentials.key, cloud_server.cloud.first_project
    entry: dict[str, Any] = {
        "auth": {"auth_url": f"{cloud_server.url}/v3", "project_name": project.name},
        "region_name": project.region,
        "access_key": key.access,
        "secret_key": key.secret,
    }
    if way == "endpoint":
        entry |= {"auth": {"project_id": project.id}, "css_endpoint_override": cloud_server.url}
    write_file({"clouds": {"signed": entry}})
    found = diagnose("signed", project.region)
    assert found.passed
    assert found.steps[0].text.endswith(f"access key …{key.access[-4:]}.")
    words = {"identity service": f"Signed in to project {project.name}.", "endpoint": "Not needed"}
    assert found.steps[1].text.startswith(words[way])
    assert not any(key.access in step.text or key.secret in step.text for step in found.steps)


@pytest.mark.parametrize("way", ["identity service", "endpoint"])
def test_a_wrong_secret_key_fails_where_it_is_first_used(
    cloud: SimulatorControl, cloud_server: Simulator, way: str
) -> None:
    key, project = cloud_server.identity.credentials.key, cloud_server.cloud.first_project
    entry: dict[str, Any] = {
        "auth": {"auth_url": f"{cloud_server.url}/v3", "project_name": project.name},
        "region_name": project.region,
        "access_key": key.access,
        "secret_key": "w" * 40,
    }
    if way == "endpoint":
        entry |= {"auth": {"project_id": project.id}, "css_endpoint_override": cloud_server.url}
    write_file({"clouds": {"signed": entry}})
    failed = next(s for s in diagnose("signed", project.region).steps if s.fault)
    assert failed.fault is Fault.REFUSED
    assert f"rejected the access key …{key.access[-4:]}" in failed.text
