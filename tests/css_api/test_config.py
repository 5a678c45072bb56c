"""Which clouds there are, and one line that names file and entry where one cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backups.css_api import config
from backups.css_api.errors import ConfigurationError

from .conftest import WriteClouds

AUTH = {"auth_url": "https://iam.example/v3", "username": "u", "password": "p", "project_name": "x"}


def problem(cloud: str = "demo", region: str = "") -> str:
    with pytest.raises(ConfigurationError) as caught:
        config.cloud_region(cloud, region)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_configuration_there_is_no_cloud() -> None:
    assert config.list_clouds() == ()
    assert "cloud 'defaults' is not in" in problem("defaults")


def test_every_cloud_and_region_is_listed(write_clouds: WriteClouds) -> None:
    write_clouds(
        one={"auth": AUTH, "region_name": "eu-de"},
        two={"auth": AUTH, "regions": ["eu-de", {"name": "eu-nl", "values": {}}]},
        three={"auth": AUTH},
    )
    assert config.list_clouds() == (
        ("one", "eu-de"), ("three", ""), ("two", "eu-de"), ("two", "eu-nl"),
    )  # fmt: skip


def test_the_regions_of_a_known_provider_are_listed(write_clouds: WriteClouds) -> None:
    write_clouds(mine={"auth": AUTH, "profile": "otc"})
    assert ("mine", "eu-de") in config.list_clouds()


def test_a_cloud_may_be_called_defaults(write_clouds: WriteClouds) -> None:
    write_clouds(defaults={"auth": AUTH})
    assert config.list_clouds() == (("defaults", ""),)


def test_stray_variables_make_no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_USERNAME", "someone")
    monkeypatch.setenv("OS_PASSWORD", "something")
    assert config.list_clouds() == ()
    assert "'envvars' is not in" in problem("envvars")


def test_variables_with_an_address_make_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AUTH.items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    monkeypatch.setenv("OS_REGION_NAME", "eu-de")
    assert config.list_clouds() == (("envvars", "eu-de"),)
    assert config.cloud_region("envvars", "eu-de").config["auth"]["username"] == "u"


def test_secure_yaml_is_merged(
    write_clouds: WriteClouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clouds(demo={"auth": {k: v for k, v in AUTH.items() if k != "password"}})
    secure = tmp_path / "secure.yaml"
    secure.write_text("clouds: {demo: {auth: {password: hidden}}}")
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(secure))
    assert config.cloud_region("demo", "").config["auth"]["password"] == "hidden"


def test_an_edited_file_is_read_again(write_clouds: WriteClouds) -> None:
    path = write_clouds(demo={"auth": AUTH})
    before = config.fingerprint()
    assert config.list_clouds() == (("demo", ""),)
    path = write_clouds(demo={"auth": AUTH}, more={"auth": AUTH})
    os.utime(path, ns=(1, 1))
    assert config.fingerprint() != before
    assert config.list_clouds() == (("demo", ""), ("more", ""))


def test_a_cloud_that_is_not_there_is_named_with_the_file(write_clouds: WriteClouds) -> None:
    path = write_clouds(demo={"auth": AUTH})
    assert problem("other") == f"cloud 'other' is not in {path}"


def test_a_region_that_is_not_there_is_named(write_clouds: WriteClouds) -> None:
    path = write_clouds(demo={"auth": AUTH, "regions": ["eu-de"]})
    text = problem("demo", "mars")
    assert str(path) in text
    assert "'demo'" in text
    assert "mars" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clouds:\n  demo: [unclosed\n  password: hunter2secret", "is not valid YAML, line"),
        ("clouds: {demo: {password: hunter2secret}", "is not valid YAML"),
        ("[1, 2]", "`clouds` is not a mapping"),
        ("clouds: [demo]", "`clouds` is not a mapping"),
        ("clouds: {demo: }", "entry 'demo' is not a mapping"),
        ("clouds: {demo: {auth: text}}", "`auth` of 'demo' is not a mapping"),
        ("clouds: {demo: {auth: {username: u}}}", "entry 'demo' cannot be used"),
        (
            "clouds: {demo: {auth: {auth_url: 'https://{no}'}}}",
            "entry 'demo' cannot be used",
        ),
        ("clouds: {demo: {auth_type: lunar, auth: {}}}", "entry 'demo' cannot be used"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_without_secrets(
    write_clouds: WriteClouds, text: str, expected: str
) -> None:
    path = write_clouds(text)
    said = problem()
    assert expected in said
    assert str(path) in said
    assert "hunter2secret" not in said


def test_a_file_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "/nonexistent/clouds.yaml")
    with pytest.raises(ConfigurationError, match=r"OS_CLIENT_CONFIG_FILE names /nonexistent"):
        config.list_clouds()


def test_a_folder_in_place_of_a_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        config.list_clouds()


# --- Where the files are -------------------------------------------------------------------------


def test_secure_yaml_beside_the_named_file_is_merged(
    write_clouds: WriteClouds, tmp_path: Path
) -> None:
    write_clouds(demo={"auth": {k: v for k, v in AUTH.items() if k != "password"}})
    (tmp_path / "secure.yaml").write_text("clouds: {demo: {auth: {password: beside}}}\n")
    assert config.cloud_region("demo", "").config["auth"]["password"] == "beside"
    (tmp_path / "secure.yaml").write_text("clouds: {demo: {auth: {password: changed}}}\n")
    assert config.cloud_region("demo", "").config["auth"]["password"] == "changed"


def test_a_named_secure_file_goes_before_the_one_beside(
    write_clouds: WriteClouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clouds(demo={"auth": {k: v for k, v in AUTH.items() if k != "password"}})
    (tmp_path / "secure.yaml").write_text("clouds: {demo: {auth: {password: beside}}}\n")
    named = tmp_path / "own.yaml"
    named.write_text("clouds: {demo: {auth: {password: named}}}\n")
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(named))
    assert config.cloud_region("demo", "").config["auth"]["password"] == "named"


def test_a_clouds_yaml_in_the_checkout_is_read_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron and systemd have another one than the person who put the file there."""
    here, checkout, home = (tmp_path / name for name in ("here", "checkout", "home"))
    places = [config._files_in(folder, "clouds") for folder in (here, home)]
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [*places[0], *places[1]])
    monkeypatch.setattr(config, "CHECKOUT", checkout)
    for folder, name in ((home, "at-home"), (checkout, "in-the-checkout"), (here, "here")):
        folder.mkdir()
        text = f"clouds: {{{name}: {{auth: {{auth_url: 'https://iam.example/v3'}}}}}}\n"
        (folder / "clouds.yaml").write_text(text)
        assert config.list_clouds() == ((name, ""),)


# --- What YAML makes of a text without quotes ----------------------------------------------------

ENTRY = "clouds: {demo: {auth: {auth_url: 'https://iam.example/v3', %s}, region_name: r}}\n"


@pytest.mark.parametrize(
    "pair",
    [
        *("password: 0123456", "password: 1_000", "password: 0x1F", "password: yes"),
        *("password: 2026-11-26", "password: 1.50", "password: 12:30:45", "username: 0715"),
        *("passcode: 012345", "application_credential_secret: +1", "user_domain_name: No"),
    ],
)
def test_credentials_that_yaml_reads_otherwise_are_refused_with_a_hint(
    write_clouds: WriteClouds, pair: str
) -> None:
    write_clouds(ENTRY % pair)
    key, _, value = pair.partition(": ")
    text = problem()
    assert f"{key} of 'demo' is not in quotes" in text
    assert "put it in quotes" in text
    assert value not in text
    with pytest.raises(ConfigurationError):
        config.list_clouds()


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("password: '0123456'", "0123456"),
        ("password: 12345678", "12345678"),
        ("password: 0", "0"),
        ("password: 1e5", "1e5"),
        ('password: "yes"', "yes"),
    ],
)
def test_credentials_that_read_as_they_are_written_are_taken(
    write_clouds: WriteClouds, pair: str, value: str
) -> None:
    write_clouds(ENTRY % pair)
    assert str(config.cloud_region("demo", "r").config["auth"]["password"]) == value


def test_a_secure_yaml_is_looked_at_for_quotes_too(
    write_clouds: WriteClouds, tmp_path: Path
) -> None:
    write_clouds(demo={"auth": AUTH})
    (tmp_path / "secure.yaml").write_text("clouds: {demo: {auth: {password: 0123456}}}\n")
    assert "secure.yaml: password of 'demo' is not in quotes" in problem()
