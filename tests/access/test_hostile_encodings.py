"""Any encoding that a request claims gets an answer with a reason, never a server error."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from encodings.aliases import aliases
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.models import Cluster, Project
from dashboard.accounts.models import User
from dashboard.web.middleware import PrefixedHandler
from tests.access.conftest import World
from tests.access.test_every_answer import superuser
from tests.tokens_made import token_of

BOUNDED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CODECS = sorted({*aliases.values(), "idna", "punycode", "undefined", "unicode_escape", "raw"})
NO_UTF8 = ["utf-16", "utf-7", "utf-32", "idna", "hex", "punycode", "base64", "unknown", "undefined"]
FORM, PARTS = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
PARTED = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\xff\r\n--b--\r\n'
PATHS = ["/sign-in/", "/clusters/?q=a%ff", "/history/", "/oidc/callback/", "/nowhere/"]


@pytest.fixture(autouse=True)
def _requests_as_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's test client has its own request class, unlike the product's server."""
    monkeypatch.setattr("django.test.client.WSGIRequest", PrefixedHandler.request_class)


@pytest.fixture
def cluster(db: None) -> Cluster:
    project = Project.objects.create(cloud="otc", region="eu-de", project_id="p", name="p")
    return Cluster.objects.create(project=project, cluster_id="c", name="c", status="200")


@pytest.mark.parametrize("charset", NO_UTF8)
@pytest.mark.parametrize("kind", [FORM, PARTS, "text/plain"])
@pytest.mark.parametrize("path", PATHS)
def test_a_request_that_is_not_utf8_is_a_400_also_before_signing_in(
    db: None, redis_url: str, charset: str, kind: str, path: str
) -> None:
    body = PARTED if "multipart" in kind else b"a=1"
    answer = Client().generic("POST", path, body, f"{kind}; charset={charset}")
    assert answer.status_code == 400
    assert "UTF-8" in answer.content.decode()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert Client().get(path, headers={"Content-Type": f"{kind}; charset={charset}"})


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "utf_8", '"utf-8"'])
@pytest.mark.parametrize("kind", [FORM, PARTS])
def test_utf8_is_taken_however_it_is_spelt(
    client: Client, db: None, redis_url: str, charset: str, kind: str
) -> None:
    client.force_login(User.objects.create_user("somebody"))
    body = "language=ä&time_zone=x" if kind == FORM else PARTED
    answer = client.generic("POST", "/account/preferences/", body, f"{kind}; charset={charset}")
    assert answer.status_code in (302, 422)


@BOUNDED
@given(
    charset=st.sampled_from(CODECS) | st.text(max_size=20),
    kind=st.sampled_from([FORM, PARTS, "application/json", "text/plain", ""]),
    body=st.binary(max_size=80) | st.just(PARTED),
    path=st.sampled_from([*PATHS, "/api/v1/runs", "/api/v1/clusters/1/backups"]),
    signed_in=st.booleans(),
)
def test_no_encoding_is_an_error_of_ours(
    world: World, redis_url: str, charset: str, kind: str, body: bytes, path: str, signed_in: bool
) -> None:
    named = "".join(each for each in charset if each.isprintable() and each not in '*;"\\')
    client = superuser(world).client if signed_in else Client()
    cookies = dict(client.cookies)
    with transaction.atomic():
        header = f"{kind}; charset={named}".encode().decode("latin-1")
        answer = client.generic("POST", path, body, header)
        other = client.get(path, headers={"Content-Type": f"{kind}; charset=utf-16"})
        assert other.status_code < 500
        transaction.set_rollback(True)
    client.cookies.update(cookies)
    assert answer.status_code < 500


@pytest.mark.parametrize("codec", ["hex", "idna", "unknown", "utf-16", "undefined"])
@pytest.mark.parametrize("name", ["name*={codec}'x'%ff61", "name=\"a\"; filename*={codec}'x'%ff61"])
@pytest.mark.parametrize("transfer", ["base64", "quoted-printable", "unknown"])
def test_no_part_of_a_form_is_an_error_of_ours(
    db: None, redis_url: str, codec: str, name: str, transfer: str
) -> None:
    head = f"Content-Disposition: form-data; {name.format(codec=codec)}"
    body = f"--b\r\n{head}\r\nContent-Transfer-Encoding: {transfer}\r\n\r\n=\r\n--b--\r\n"
    assert Client().generic("POST", "/sign-in/", body, PARTS).status_code < 500


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("charset", ["", "; charset=utf-16", "; charset=hex", "; charset=idna"])
def test_the_charset_of_json_changes_nothing(
    db: None, redis_url: str, encoding: str, charset: str
) -> None:
    root = User.objects.create_superuser("root")
    headers = {"Authorization": f"Bearer {token_of(root)}"}
    url = "/api/v1/clusters/999999/backups?x=%ff"
    body = '{"reason": "ä"}'.encode(encoding)
    answer = Client().generic("POST", url, body, f"application/json{charset}", headers=headers)
    assert answer.status_code in (400, 404)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("text", ['{"reason": "\\ud800"}', '{"\\udfff": 1}', "[" * 20_000])
def test_json_that_no_database_stores_is_a_400(cluster: Cluster, redis_url: str, text: str) -> None:
    headers = {"Authorization": f"Bearer {token_of(User.objects.create_superuser('root'))}"}
    url = f"/api/v1/clusters/{cluster.pk}/backups"
    answer = Client().generic("POST", url, text, "application/json", headers=headers)
    assert answer.status_code in (400, 413)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Nothing."""


@pytest.fixture
def served(db: None, redis_url: str) -> Iterator[int]:
    """The port of the WSGI application."""
    with make_server("127.0.0.1", 0, PrefixedHandler(), handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("header", ["a/b; charset*=unknown'x'y", "a/b; x*=unknown''y", ";;;=", "/"])
def test_a_header_that_nothing_can_parse_is_answered(served: int, header: str) -> None:
    asked = http.client.HTTPConnection("127.0.0.1", served, timeout=20)
    asked.request("POST", "/healthz/none", b"a=1", {"Content-Type": header})
    assert asked.getresponse().status in (400, 404)
    asked.close()
