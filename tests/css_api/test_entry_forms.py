"""Every form of an entry that users were seen to write, and how it fares."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from backups.css_api import config
from backups.css_api.client import CssClient
from backups.css_api.errors import CssApiError
from backups.css_api.session import connect
from simulator import server
from simulator.config import SimulatorConfig

from .conftest import QUICK, WriteClouds

DOCUMENT = Path(__file__).parents[2] / "docs" / "clouds.md"
WORKS = "works"


@dataclass(frozen=True)
class Form:
    """One form of an entry.

    Attributes:
        title: its row in the document.
        result: WORKS, or a part of the message, as the row has it.
        kind: whose entry it begins from.
        top: keys of the entry to set, or with None to remove.
        auth: keys of `auth` to set or to remove.
        environment: variables; {name} is a key of the entry that begins.
    """

    title: str
    result: str = WORKS
    kind: str = "password"
    top: dict[str, Any] = field(default_factory=dict)
    auth: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


GONE = None
FORMS = [
    Form("password, user_domain_name, project_name"),
    Form("`domain_name` beside `project_name` (Terraform's way)",
         auth={"user_domain_name": GONE, "project_domain_name": GONE,
               "domain_name": "css-simulator"}),
    Form("`tenant_name` for `project_name`",
         auth={"project_name": GONE, "tenant_name": "eu-de_simulator"}),
    Form("`user_name` for `username`",
         auth={"username": GONE, "user_name": "simulator-operator"}),
    Form("`project_name` beside `auth`, not in it",
         top={"project_name": "eu-de_simulator"}, auth={"project_name": GONE}),
    Form("`regions` as a list with values",
         top={"region_name": GONE, "regions": [{"name": "eu-de", "values": {}}]}),
    Form("`interface: publicURL`", top={"interface": "publicURL"}),
    Form("`endpoint_type: public`", top={"interface": GONE, "endpoint_type": "public"}),
    Form("`interface: internal`", "no css endpoint for region 'eu-de' and interface 'internal'",
         top={"interface": "internal"}),
    Form("no `region_name`, and css in one region", top={"region_name": GONE}),
    Form("`region_name` is the project's name", "set region_name in its entry",
         top={"region_name": "eu-de_simulator"}),
    Form("no project at all", "is for no project: set project_name or project_id",
         auth={"project_name": GONE, "project_domain_name": GONE}),
    Form("`domain_name` without a project", "call it user_domain_name",
         auth={"project_name": GONE, "project_domain_name": GONE, "domain_name": "css-simulator"}),
    Form("no password", "password is missing", auth={"password": GONE}),
    Form("a wrong password", "rejected the credentials of clouds.yaml entry 'demo' (401)",
         auth={"password": "wrong"}),
    Form("`auth_url` without a scheme", "has no scheme: set auth_url in the entry",
         auth={"auth_url": "iam.example/v3"}),
    Form("`auth_url` ending in /auth/tokens", "auth_url continues after /v3: remove the rest",
         auth={"auth_url": "https://iam.example/v3/auth/tokens"}),
    Form("`auth_url` with http:// to another machine", "is not HTTPS",
         auth={"auth_url": "http://iam.example/v3"}),
    Form("`auth_url` with a password in it", "contains a user name or password",
         auth={"auth_url": "https://u:hunter2secret@iam.example/v3"}),
    Form("`auth_type` of a plugin that is not there", "cannot be used",
         top={"auth_type": "lunar"}),
    Form("a key that the kind of credentials does not have",
         "is not a setting of these credentials",
         auth={"favourite_colour": "blue"}),
    Form("`css_endpoint_override` beside a password", top={"css_endpoint_override": "{url}"}),
    Form("application credential", kind="application_credential"),
    Form("`access_key` and `secret_key`", kind="access_key"),
    Form("`ak` and `sk`", kind="access_key",
         top={"access_key": GONE, "secret_key": GONE, "ak": "{access_key}", "sk": "{secret_key}"}),
    Form("`ak` and `sk` below `auth`", kind="access_key",
         top={"access_key": GONE, "secret_key": GONE},
         auth={"ak": "{access_key}", "sk": "{secret_key}"}),
    Form("a temporary key with `security_token`", kind="temporary_key"),
    Form("OS_ACCESS_KEY and OS_SECRET_KEY for an entry without", kind="access_key",
         top={"access_key": GONE, "secret_key": GONE},
         environment={"OS_ACCESS_KEY": "{access_key}", "OS_SECRET_KEY": "{secret_key}"}),
    Form("`signing_scheme: B`", kind="access_key", top={"signing_scheme": "B"}),
    Form("an access key beside a password: the password counts",
         top={"ak": "AKWHATEVER1234", "sk": "of-another-service"}),
    Form("an access key, `project_id` and `css_endpoint_override`", kind="access_key",
         top={"css_endpoint_override": "{url}"},
         auth={"auth_url": GONE, "project_name": GONE, "project_id": "{project_id}"}),
    Form("an access key and `auth_type: password`",
         "password is missing, and auth_type is password", kind="access_key",
         top={"auth_type": "password"}, auth={"username": "u", "user_domain_name": "D"}),
    Form("an access key without a project", "an access key is for no project by itself",
         kind="access_key", auth={"project_name": GONE}),
    Form("an access key without its secret key", "secret_key is missing beside access_key",
         kind="access_key", top={"secret_key": GONE}),
    Form("an access key without `auth_url`", "auth_url is missing", kind="access_key",
         auth={"auth_url": GONE}),
    Form("an access key with a blank in it", "access_key is not valid", kind="access_key",
         top={"access_key": "AK WITH A BLANK"}),
    Form("`signing_scheme: C`", "signing_scheme is neither A nor B", kind="access_key",
         top={"signing_scheme": "C"}),
    Form("a temporary key without its token", "rejected the access key", kind="temporary_key",
         top={"security_token": GONE}),
    Form("a wrong secret key", "rejected the access key", kind="access_key",
         top={"secret_key": "w" * 40}),
    Form("agency", kind="agency"),
    Form("agency with `target_project_id`", kind="agency",
         auth={"target_project_name": GONE, "target_project_id": "{project_id}"}),
    Form("agency without `target_agency_name`", "auth_type agency needs target_agency_name in auth",
         kind="agency", auth={"target_agency_name": GONE}),
    Form("agency that was not delegated",
         "rejected the credentials of clouds.yaml entry 'demo' (401)", kind="agency",
         auth={"target_agency_name": "another"}),
    Form("`profile: otc-swiss`", "has no scheme: set auth_url in the entry",
         top={"profile": "otc-swiss", "region_name": GONE}, auth={"auth_url": GONE}),
]  # fmt: skip


@pytest.fixture(scope="module")
def cloud() -> Iterator[server.Simulator]:
    simulator = server.start(SimulatorConfig(clusters=1))
    yield simulator
    simulator.stop()


def written(form: Form, cloud: server.Simulator) -> tuple[dict[str, Any], dict[str, str]]:
    """The entry of a form, and its variables."""
    begun = yaml.safe_load(cloud.clouds_yaml(form.kind))["clouds"]["demo"]
    values = {
        **begun, **begun["auth"], "url": cloud.url, "project_id": cloud.cloud.first_project.id,
    }  # fmt: skip
    entry = copy.deepcopy(begun)
    if form.kind == "password" and "auth_type" not in form.top:
        del entry["auth_type"]  # the default
    for place, changes in ((entry, form.top), (entry["auth"], form.auth)):
        for name, value in changes.items():
            place[name] = value.format(**values) if isinstance(value, str) else value
            if value is GONE:
                del place[name]
    variables = {name: value.format(**values) for name, value in form.environment.items()}
    return entry, variables


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.title)
def test_a_form_fares_as_the_document_says(
    form: Form,
    cloud: server.Simulator,
    write_clouds: WriteClouds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud.reset()
    entry, variables = written(form, cloud)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    write_clouds(demo=entry)
    try:
        [(name, region)] = config.list_clouds()
        listed = CssClient(connect(name, region, timeouts=QUICK)).list_clusters()
        said = WORKS if len(listed) == 1 else f"{len(listed)} clusters"
    except CssApiError as error:
        said = str(error)
    assert form.result in said
    assert "\n" not in said
    keys = cloud.identity.credentials.key, cloud.identity.credentials.temporary_key
    secrets = [cloud.identity.credentials.password, "hunter2secret", "w" * 40]
    secrets += [part for key in keys for part in (key.access, key.secret, key.security_token)]
    assert not [secret for secret in secrets if secret and secret in said]


def test_the_document_lists_every_form() -> None:
    rows = [f"| {form.title} | {form.result} |" for form in FORMS]
    text = DOCUMENT.read_text()
    missing = [row for row in rows if row not in text]
    assert not missing, "\n".join(missing)
    assert text.count("\n| ") >= len(rows)


def problem() -> str:
    """What is wrong with the only entry, "" for nothing; any other error fails the test."""
    try:
        for name, region in config.list_clouds():
            connect(name, region, timeouts=QUICK).identity()
    except CssApiError as error:
        return str(error)
    return ""


WRONG_TYPES: list[object] = [None, ["a"], {"a": "b"}, 5, True, "two\nlines", "{x}"]


@pytest.mark.parametrize("kind", ["password", "temporary_key", "agency"])
def test_a_value_of_the_wrong_type_is_an_error_in_one_line(
    kind: str, cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    begun = yaml.safe_load(cloud.clouds_yaml(kind))["clouds"]["demo"]
    names = [("auth", name) for name in begun["auth"] if name != "auth_url"]
    names += [("", name) for name in (*begun, "signing_scheme", "css_endpoint_override")]
    for place, name in names:
        for value in WRONG_TYPES:
            entry = copy.deepcopy(begun)
            (entry[place] if place else entry)[name] = value
            cloud.reset()
            write_clouds(demo=entry)
            said = problem()
            assert "\n" not in said
            assert not said or "'demo'" in said, (name, value)
