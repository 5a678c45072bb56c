"""Listing a bucket over real sockets: signatures, temporary keys, pages, refusals, bad answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from backups.css_api import object_storage
from backups.css_api.object_list import StorageError, StorageProblem, read_page, rejection
from backups.css_api.object_storage import ObjectStorage, prefix_of
from backups.css_api.s3_signing import S3Signature
from backups.css_api.session import connect, known_secrets
from backups.css_api.signing import AccessKey
from dashboard.http.redact import Secret
from dashboard.http.transport import RawAnswer
from simulator import server
from simulator.client import SimulatorControl
from simulator.config import SimulatorConfig

from .conftest import QUICK, WriteClouds
from .test_access_keys import entry_of

BUCKET = "some-logs"


@pytest.fixture(scope="module")
def started() -> Iterator[server.Simulator]:
    simulator = server.start(SimulatorConfig())
    yield simulator
    simulator.stop()


@pytest.fixture
def cloud(started: server.Simulator) -> server.Simulator:
    started.reset()
    SimulatorControl(started.url).add_objects(BUCKET, "css/log/a.log", size=7)
    return started


def names(prefix: str = "css/log/", **options: float) -> list[str]:
    storage = ObjectStorage(connect("demo", "", timeouts=QUICK))
    return [each.name for each in storage.objects(BUCKET, prefix, **options)]  # type: ignore[arg-type]


def problem(prefix: str = "css/log/", **options: float) -> StorageError:
    with pytest.raises(StorageError) as caught:
        names(prefix, **options)
    return caught.value


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "https://b.obs.eu-de.example.com/?list-type=2&max-keys=1000&prefix=css%2Flog%2F",
        "http://127.0.0.1:8080/b?continuation-token=a%2Bb%3D%20%C3%A4&list-type=2&prefix=~x%2A",
        "https://obs.eu-de.example.com/my.bucket?list-type=2&prefix=",
    ],
)
def test_signatures_are_those_of_botocore(url: str, temporary: bool) -> None:
    token = "t" * 40 if temporary else None
    theirs = AWSRequest("GET", url)
    theirs.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials("AK" * 10, "s" * 40, token), "s3", "eu-de").add_auth(theirs)
    moment = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    key = AccessKey(Secret("AK" * 10), Secret("s" * 40), Secret(token) if token else None)
    ours = S3Signature(key, "eu-de", lambda: moment)(requests.Request("GET", url).prepare())
    assert ours.url == url
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]


@pytest.mark.parametrize(
    "kind", ["password", "application_credential", "agency", "access_key", "temporary_key"]
)
def test_every_kind_of_credentials_lists(
    cloud: server.Simulator, write_clouds: WriteClouds, kind: str
) -> None:
    write_clouds(demo=entry_of(cloud, kind))
    before = len(cloud.identity.lent_keys())
    assert names() == ["css/log/a.log"]
    lent = cloud.identity.lent_keys()[before:]
    assert len(lent) == (0 if "key" in kind else 1)
    for each in lent:
        assert (each.bucket, each.prefix) == (BUCKET, "css/log/")
        parts = {each.key.access, each.key.secret, each.key.security_token}
        assert parts <= set(known_secrets())


def test_an_object_has_a_name_a_size_and_a_time(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "password"))
    storage = ObjectStorage(connect("demo", "", timeouts=QUICK))
    (found,) = storage.objects(BUCKET, "")
    assert (found.name, found.size, len(found.etag)) == ("css/log/a.log", 7, 32)
    assert abs((datetime.now(UTC) - found.modified_at).total_seconds()) < 60


def test_a_hundred_thousand_objects_are_paged_and_limited(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "access_key"))
    SimulatorControl(cloud.url).add_objects(BUCKET, "many/x", 100_000)
    assert problem("many/", most_pages=3).problem is StorageProblem.TOO_MANY
    assert problem("many/", longest=0.0).problem is StorageProblem.TOO_MANY
    found = names("many/")
    assert len(found) == len(set(found)) == 100_000


@pytest.mark.parametrize(
    ("why", "kind", "retryable"),
    [
        ("denied", StorageProblem.DENIED, False),
        ("missing", StorageProblem.NO_BUCKET, False),
        ("moved", StorageProblem.OTHER_REGION, False),
        ("busy", StorageProblem.FAILING, True),
    ],
)
def test_a_refusal_says_what_it_is(
    cloud: server.Simulator,
    write_clouds: WriteClouds,
    why: str,
    kind: StorageProblem,
    retryable: bool,
) -> None:
    write_clouds(demo=entry_of(cloud, "password"))
    SimulatorControl(cloud.url).refuse_bucket(BUCKET, why)
    found = problem()
    assert (found.problem, found.retryable) == (kind, retryable)
    assert BUCKET in str(found) or kind is StorageProblem.FAILING


def test_a_wrong_key_and_a_missing_endpoint_are_told_apart(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    entry = entry_of(cloud, "access_key")
    endpoint = f"{cloud.url}/v1.0"
    entry["auth"]["project_id"] = cloud.cloud.first_project.id
    own = {**entry, "css_endpoint_override": endpoint}
    write_clouds(demo={**own, "secret_key": "w" * 40, "object_endpoint_override": cloud.url})
    assert problem().problem is StorageProblem.NO_KEY
    write_clouds(demo=own)
    found = problem()
    assert found.problem is StorageProblem.NO_PLACE
    assert "object_endpoint_override" in str(found)
    write_clouds(demo={**own, "object_endpoint_override": "http://192.0.2.1"})
    assert problem().problem is StorageProblem.NO_PLACE


def test_a_token_that_has_ended_is_renewed(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "password"))
    assert names()
    cloud.identity.expire_tokens()
    assert names()


ONE = (
    "<Contents><Key>k</Key><LastModified>2030-01-02T03:04:05.000Z</LastModified>"
    "<ETag>e</ETag><Size>1</Size></Contents>"
)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html><body>sign in</body></html>",
        "<ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        f"<ListBucketResult>{ONE.replace('>1<', '>-1<')}</ListBucketResult>",
        f"<ListBucketResult>{ONE.replace('>1<', '>x<')}</ListBucketResult>",
        f"<ListBucketResult>{ONE.replace('2030-', 'then')}</ListBucketResult>",
        f"<ListBucketResult>{ONE.replace('<Key>k</Key>', '')}</ListBucketResult>",
        '<!DOCTYPE x [<!ENTITY a "b">]>' + f"<ListBucketResult>{ONE}</ListBucketResult>",
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">' + f"<ListBucketResult>{ONE}</ListBucketResult>",
        '<?xml version="1.0" encoding="nonsense"?>' + f"<ListBucketResult>{ONE}</ListBucketResult>",
        f"<ListBucketResult>{ONE}{'<a/>' * 60_000}</ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        f"<NextContinuationToken>{'t' * 5000}</NextContinuationToken></ListBucketResult>",
    ],
)
def test_an_answer_of_another_shape_is_refused(body: str) -> None:
    assert len(read_page(f"<ListBucketResult>{ONE}</ListBucketResult>".encode()).objects) == 1
    with pytest.raises(StorageError) as caught:
        read_page(body.encode())
    assert caught.value.problem is StorageProblem.FAILING


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (307, "", StorageProblem.OTHER_REGION),
        (400, "AuthorizationHeaderMalformed", StorageProblem.OTHER_REGION),
        (404, "", StorageProblem.FAILING),
        (403, "", StorageProblem.DENIED),
        (403, "SignatureDoesNotMatch", StorageProblem.NO_KEY),
    ],
)
def test_refusals_are_read_from_status_and_code(
    status: int, body: str, kind: StorageProblem
) -> None:
    text = f"<Error><Code>{body}</Code><Region>eu-nl</Region></Error>" if body else "<html/>"
    raw = RawAnswer(status, {}, text.encode(), False, False, 1)
    assert rejection(raw, BUCKET, "eu-de").problem is kind


@pytest.mark.parametrize(
    ("endpoint", "bucket", "url"),
    [
        ("https://obs.eu-de.example.com", "logs", "https://logs.obs.eu-de.example.com/"),
        ("https://obs.eu-de.example.com", "my.logs", "https://obs.eu-de.example.com/my.logs"),
        ("http://127.0.0.1:80", "logs", "http://127.0.0.1:80/logs"),
        ("https://[2001:db8::1]", "logs", "https://[2001:db8::1]/logs"),
    ],
)
def test_a_bucket_is_part_of_the_host_where_a_certificate_covers_it(
    endpoint: str, bucket: str, url: str
) -> None:
    assert object_storage._address(endpoint, bucket) == url


def test_only_names_that_can_be_buckets_are_asked_for(
    cloud: server.Simulator, write_clouds: WriteClouds
) -> None:
    write_clouds(demo=entry_of(cloud, "password"))
    storage = ObjectStorage(connect("demo", "", timeouts=QUICK))
    for name in ("", "a", "../x", "evil.example.com/", "UPPER", "b" * 64, "a@b"):
        with pytest.raises(StorageError) as caught:
            list(storage.objects(name, ""))
        assert caught.value.problem is StorageProblem.NO_PLACE
    assert SimulatorControl(cloud.url).ledger() == []
    assert (prefix_of("/css/log/"), prefix_of("/"), prefix_of("")) == ("css/log/", "", "")
