"""Signatures of access keys: the vendor's own signer makes the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.css_api.signing import AccessKey, Scheme, Signature
from dashboard.http.redact import Secret

ACCESS, SECRET, TOKEN = "AKAKAKAKAKAKAKAKABCD", "s" * 40, "a-security-token=="
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), max_size=12)
SEGMENTS = st.lists(TEXT.filter(lambda text: text not in {".", ".."}), min_size=1, max_size=5)
PAIRS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=4)
HOSTS = st.sampled_from(["css.example", "css.example:8443", "css.example:443", "[::1]:8080"])


def key(scheme: Scheme = Scheme.A, *, temporary: bool = False) -> AccessKey:
    return AccessKey(Secret(ACCESS), Secret(SECRET), Secret(TOKEN) if temporary else None, scheme)


def prepared(method: str, url: str, body: bytes | None = None) -> requests.PreparedRequest:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return requests.Request(method, url, headers=headers, data=body).prepare()


@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    host=HOSTS,
    segments=SEGMENTS,
    query=PAIRS,
    body=st.binary(max_size=60),
    moment=st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1)),
    temporary=st.booleans(),
    project=st.sampled_from(["", "0123456789abcdef"]),
)
def test_the_vendors_signer_makes_the_same_signature(
    method: str,
    host: str,
    segments: list[str],
    query: dict[str, str],
    body: bytes,
    moment: datetime,
    temporary: bool,
    project: str,
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    encoded = urlencode(query, quote_via=quote)
    request = prepared(method, f"https://{host}{path}?{encoded}", body or None)
    sign = Signature(key(temporary=temporary), project, lambda: moment.replace(tzinfo=UTC))
    signed = sign(request)

    headers: dict[str, Any] = {
        name: signed.headers[name]
        for name in ("Content-Type", "Host", "X-Sdk-Date", "X-Project-Id", "X-Security-Token")
        if name in signed.headers
    }
    theirs = SdkRequest(
        method=method,
        schema="https",
        host=headers["Host"],
        resource_path=urlsplit(str(request.url)).path or "/",
        query_params=list(query.items()),
        header_params=headers,
        body=body,
    )
    Signer(BasicCredentials(ACCESS, SECRET, project)).sign(theirs)
    assert signed.headers["Authorization"] == theirs.header_params["Authorization"]
    assert ("X-Security-Token" in signed.headers) is temporary
    assert signed.headers["Host"] == host.removesuffix(":443")


def test_scheme_b_names_its_scope_and_differs_from_a() -> None:
    made = {}
    for scheme in Scheme:
        request = prepared("GET", "https://css.example/v1.0/p/clusters?limit=10&start=1")
        at = datetime(2026, 11, 26, 12, tzinfo=UTC)
        made[scheme] = Signature(key(scheme), "p", lambda at=at: at)(request).headers
    start = f"SDK-HMAC-SHA256 Credential={ACCESS}/20261126///sdk_request, SignedHeaders="
    assert made[Scheme.B]["Authorization"].startswith(start)
    assert made[Scheme.A]["Authorization"].startswith(f"SDK-HMAC-SHA256 Access={ACCESS}, ")
    assert made[Scheme.A]["Authorization"][-64:] != made[Scheme.B]["Authorization"][-64:]


def test_a_key_shows_its_last_four_characters_only() -> None:
    shown = key(temporary=True)
    assert str(shown) == "…ABCD"
    assert {ACCESS, SECRET, TOKEN} == set(shown.values)
    assert not any(value in f"{shown!r} {shown}" for value in shown.values)
    assert {f"{value}" for value in shown.shown_headers().values()} == {"[redacted]"}
