"""What the identity service says is input: what ends in an address, header or row is checked."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.css_api.errors import CatalogError, ConfigurationError, CssApiError, IdentityError
from backups.css_api.identity import endpoint_of, require_https
from backups.css_api.parse import is_id
from backups.css_api.session import connect
from dashboard.http.transport import is_loopback, new_session
from tests.css_api.test_identity_trials import HERE, token

from .conftest import QUICK, WriteClouds, entry
from .servers import PROJECT, Cloud, Server

NO_IDS = ["../../admin", "..", ".", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "", "ä", "a" * 65]
NO_ADDRESSES = [
    "https://css.example/v1.0/../../admin",
    "https://css.example/%2e%2e/admin",
    "https://css.example/a b",
    "https://css.example/a\r\nX-Other: 1",
    "https://css.example:99999/v1.0",
    "https://css.example:0/v1.0",
    "https://css.example\\@127.0.0.1/v1.0",
    "https://cs%73.example/v1.0",
    "https:///v1.0",
    "https://[::1/v1.0",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "javascript:alert(7)",
    "//css.example/v1.0",
    "https://css.example/" + "a" * 600,
    "https://c\u00f6s.example/v1.0",
]


def reached(write_clouds: WriteClouds, made: dict[str, Any], cloud: Cloud) -> str:
    write_clouds(demo=made)
    return connect("demo", cloud.region, timeouts=QUICK).identity().endpoint


@pytest.mark.parametrize("project", NO_IDS)
def test_a_project_id_that_is_none_is_refused(
    cloud: Cloud, write_clouds: WriteClouds, project: str
) -> None:
    named = {"id": project, "name": "p", "domain": {"id": "d", "name": "d"}}
    cloud.identity_answer = token(places=(HERE,), project=named)
    with pytest.raises(CatalogError) as caught:
        reached(write_clouds, entry(cloud), cloud)
    assert "\n" not in str(caught.value)
    assert not cloud.css_requests()


@pytest.mark.parametrize("project", [7, {"a": 1}, ["x"], True])
def test_a_project_id_of_another_kind_is_refused(
    cloud: Cloud, write_clouds: WriteClouds, project: object
) -> None:
    named = {"id": project, "name": project, "domain": {"id": "d", "name": "d"}}
    cloud.identity_answer = token(places=(HERE,), project=named)
    with pytest.raises(IdentityError):
        reached(write_clouds, entry(cloud), cloud)


def test_a_project_name_is_one_printable_line(cloud: Cloud, write_clouds: WriteClouds) -> None:
    named = {"id": PROJECT, "name": "a\x00b\r\nc\u202ed" + "x" * 900, "domain": {"id": "d"}}
    cloud.identity_answer = token(places=(HERE,), project=named)
    write_clouds(demo=entry(cloud))
    name = connect("demo", cloud.region, timeouts=QUICK).identity().project_name
    assert name.startswith("a b c d")
    assert name.isprintable()
    assert len(name) <= 255


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_a_catalog_address_that_is_none_is_refused(
    cloud: Cloud, write_clouds: WriteClouds, url: str
) -> None:
    cloud.identity_answer = token(places=(("eu-test", "public", url),))
    with pytest.raises(CssApiError) as caught:
        reached(write_clouds, entry(cloud, plain_http=True), cloud)
    assert len(str(caught.value)) <= 500
    assert str(caught.value).isprintable()


@given(text=st.text(max_size=60) | st.text(max_size=40).map("https://css.example/{}".format))
def test_whatever_the_catalog_says_the_address_is_plain_or_refused(text: str) -> None:
    try:
        made = endpoint_of(text, PROJECT)
    except CatalogError:
        return
    scheme, _colons, rest = made.partition("://")
    assert scheme in ("http", "https")
    pieces = rest.split("/")
    assert all(is_id(piece) for piece in pieces[1:])
    assert pieces[-1] == PROJECT


@pytest.mark.parametrize("plain_http", [False, True])
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:6379/", "http://localhost:6379/", "http://[::1]:6379/", "http://127.1/"],
)
def test_an_https_entry_is_not_led_to_this_machine(url: str, plain_http: bool) -> None:
    with pytest.raises(ConfigurationError, match="is this machine"):
        require_https(url, entry="a", plain_http=plain_http, loopback_http=False)
    session = new_session("a", plain_http=plain_http, loopback_http=False)
    with pytest.raises(Exception, match="without HTTPS"):
        session.get(url, timeout=2)


def test_the_catalog_of_an_https_entry_does_not_name_plain_http_here(
    cloud: Cloud, write_clouds: WriteClouds, tls: ssl.SSLContext, certificate: Path
) -> None:
    plain = cloud.url
    served = Server(cloud._play, tls=tls)
    cloud.server, there = served, cloud.server
    try:
        cloud.identity_answer = token(places=(("eu-test", "public", "http://127.0.0.1:6379/"),))
        made = entry(cloud, cacert=str(certificate))
        assert cloud.url.startswith("https://127.0.0.1")
        with pytest.raises(ConfigurationError, match="is this machine"):
            reached(write_clouds, made, cloud)
        override = f"{plain}/v1.0/%(project_id)s"
        endpoint = reached(write_clouds, {**made, "css_endpoint_override": override}, cloud)
        assert endpoint == f"{plain}/v1.0/{PROJECT}", "what the entry itself names counts"
    finally:
        served.stop()
        cloud.server = there


def test_the_catalog_of_another_machine_does_not_say_that_css_is_here() -> None:
    from types import SimpleNamespace

    from backups.css_api.identity import project_identity

    place = SimpleNamespace(url="https://127.0.0.1:6379/v1.0", region_name="r")
    access: Any = SimpleNamespace(
        project_id=PROJECT,
        project_name="p",
        service_catalog=SimpleNamespace(get_endpoints_data=lambda **_: {"css": [place]}),
    )
    settings: Any = SimpleNamespace(
        config={"auth": {"auth_url": "https://iam.example/v3"}},
        get_endpoint=lambda _: None,
        get_region_name=lambda _: "r",
        get_interface=lambda _: "public",
    )
    with pytest.raises(CatalogError, match="on this machine"):
        project_identity(access, settings, "demo", "r")
    settings.config["auth"]["auth_url"] = "https://127.0.0.1/v3"
    assert project_identity(access, settings, "demo", "r").endpoint.startswith("https://127.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "::1", "0.0.0.0",
     "::", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine_is_known_by_every_spelling(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["css.example", "192.0.2.1", "::ffff:192.0.2.1", "localhost.x", ""]
)
def test_another_machine_is_not_taken_for_this_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("given", ["a token", "a\tb", "a\u00e9", "x" * 40_000])
def test_a_token_that_fits_no_header_is_refused(
    cloud: Cloud, write_clouds: WriteClouds, given: str
) -> None:
    body = token(places=(HERE,)).replace(b"a-token", given.encode("latin-1"))
    cloud.identity_answer = body
    with pytest.raises(IdentityError):
        reached(write_clouds, entry(cloud), cloud)


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "no time", 7, None, ""]
)
def test_a_time_that_cannot_be_read_is_an_error_of_the_service(
    cloud: Cloud, write_clouds: WriteClouds, time: object
) -> None:
    cloud.identity_answer = token(places=(HERE,), issued_at=time, expires_at=time)
    try:
        endpoint = reached(write_clouds, entry(cloud), cloud)
    except CssApiError:  # and nothing else
        return
    assert endpoint.endswith(PROJECT)
