"""OpenID Connect: the flow with a nonce, PKCE and a verified ID token."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import requests
from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialLogin, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from dashboard.audit.values import line
from dashboard.http.errors import TransportError
from dashboard.http.transport import names_loopback_http, new_session, send
from dashboard.http.wire import Timeouts

from .id_token import IdTokenRejected, verified_claims
from .role_map import has_groups

TIMEOUTS = Timeouts(connect=5.0, read=10.0, total=10.0)  # seconds, for each request
MAX_RESPONSE_BYTES = 1_048_576  # uncompressed; a discovery document has a few thousand
USER_AGENT = "css-log-backup"
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
USERINFO = "userinfo_endpoint"
NONCES = "oidc_nonces"  # session key: state → nonce of pending sign-ins
MAX_NONCES = 10
MAX_NAME_LENGTH = 150
ERROR_CODE = re.compile(r'"error"\s*:\s*"([a-z_]{1,40})"')


def oidc_is_configured() -> bool:
    """Return whether a provider is configured."""
    return bool(settings.OIDC_ISSUER and settings.OIDC_CLIENT_ID)


def is_secure(url: object) -> bool:
    """Return whether a URL is HTTPS or on the loopback interface."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host)))


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_json(url: str, token: str = "") -> Any:
    """Fetch JSON from the provider, without following redirects.

    Args:
        url: the whole URL.
        token: an access token to send; "" for none.

    Raises:
        OAuth2Error: the request failed, or the response is not JSON.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with get_adapter().get_requests_session() as session:
            answer = session.get(url, headers=headers)
            if answer.status_code != 200:
                raise OAuth2Error(f"the request to the provider failed: HTTP {answer.status_code}")
            return answer.json()
    except requests.JSONDecodeError:
        raise OAuth2Error("the request to the provider failed: no JSON") from None
    except RecursionError:
        raise OAuth2Error("the request to the provider failed: JSON nested too deeply") from None
    except requests.RequestException as error:
        raise OAuth2Error(f"the request to the provider failed: {error}") from None


def _store_nonce(request: HttpRequest, answer: HttpResponse, nonce: str) -> None:
    """Store a nonce in the session under the state that is sent with it."""
    state = dict(parse_qsl(urlsplit(answer.get("Location", "")).query)).get("state")
    if state:
        kept = list(request.session.get(NONCES, {}).items())[-(MAX_NONCES - 1) :]
        request.session[NONCES] = {**dict(kept), state: nonce}


def _pop_nonce(request: HttpRequest) -> str:
    """Remove and return the nonce for the state of this callback; "" for none."""
    kept = dict(request.session.get(NONCES, {}))
    nonce = str(kept.pop(request.GET.get("state", ""), ""))
    request.session[NONCES] = kept
    return nonce


class OidcAdapter(OpenIDConnectOAuth2Adapter):
    """The OAuth 2 exchange with the provider."""

    @property
    def openid_config(self) -> Mapping[str, Any]:
        """The discovery document of the configured provider."""
        if not hasattr(self, "_openid_config"):
            self._openid_config = self._discovered()
        return self._openid_config

    def _discovered(self) -> dict[str, Any]:
        found = fetch_json(f"{settings.OIDC_ISSUER.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(found, dict) or found.get("issuer") != settings.OIDC_ISSUER:
            raise OAuth2Error("the discovery document is from another issuer")
        unsafe = [name for name in ENDPOINTS if not is_secure(found.get(name))]
        if USERINFO in found and not is_secure(found[USERINFO]):
            unsafe.append(USERINFO)
        if unsafe:
            raise OAuth2Error(f"the discovery document has no secure {', '.join(unsafe)}")
        return found

    def get_callback_url(self, request: HttpRequest, app: object) -> str:
        return request.build_absolute_uri(reverse("oidc-callback"))

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            data = super().get_access_token_data(*args, **kwargs)
        except requests.ConnectionError as error:
            raise OAuth2Error(f"the request to the token endpoint failed: {error}") from None
        except OAuth2Error as error:
            # its text contains the whole response, which may hold secrets; keep only the code
            code = ERROR_CODE.search(str(error))
            why = code[1] if code else "no token returned"
            raise OAuth2Error(f"the token endpoint rejected the request: {why}") from None
        except (KeyError, ValueError, TypeError, RecursionError, AttributeError):
            raise OAuth2Error("the token endpoint's answer cannot be read") from None
        if not isinstance(data, dict) or not isinstance(data.get("access_token"), str):
            raise OAuth2Error("the token endpoint's answer cannot be read")
        return data

    def parse_token(self, data: Mapping[str, Any]) -> SocialToken:
        return SocialToken(token=data["access_token"])

    def complete_login(
        self, request: HttpRequest, app: object, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """Verify the ID token and return the login.

        Raises:
            OAuth2Error: the ID token is invalid.
        """
        try:
            claims = verified_claims(
                kwargs["response"].get("id_token"),
                fetch_json(self.openid_config["jwks_uri"]),
                issuer=settings.OIDC_ISSUER,
                client_id=settings.OIDC_CLIENT_ID,
                nonce=_pop_nonce(request),
            )
        except IdTokenRejected as error:
            raise OAuth2Error(f"ID token rejected: {error}") from None
        claims = self._with_userinfo(claims, token.token)
        login = self.get_provider().sociallogin_from_response(request, {"id_token": claims})
        login.claims = claims
        return login

    def _with_userinfo(self, claims: dict[str, Any], token: str) -> dict[str, Any]:
        """Add the claims of the userinfo endpoint if the token has no groups."""
        if has_groups(claims, settings.OIDC_GROUPS_CLAIM) or USERINFO not in self.openid_config:
            return claims
        more = fetch_json(self.openid_config[USERINFO], token)
        if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
            raise OAuth2Error("the userinfo is of another subject")
        return {**more, **claims}


class OidcProvider(OpenIDConnectProvider):
    """The provider from the environment. Accounts are identified by issuer and subject."""

    oauth2_adapter_class = OidcAdapter

    def redirect_from_request(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the provider, without any parameter of this request's query."""
        nonce = secrets.token_urlsafe(32)
        answer = self.redirect(
            request,
            process=AuthProcess.LOGIN,
            next_url=get_next_redirect_url(request),
            scope=settings.OIDC_SCOPES,
            auth_params={"nonce": nonce},
        )
        _store_nonce(request, answer, nonce)
        return cast(HttpResponse, answer)

    def get_login_url(self, request: HttpRequest, **kwargs: Any) -> str:
        return reverse("oidc-start")

    def get_callback_url(self) -> str:
        return reverse("oidc-callback")

    def extract_extra_data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Store the name only, to tell accounts apart."""
        return {"username": username_from(data["id_token"])}

    def extract_email_addresses(self, data: object) -> list[Any]:
        """Return no addresses: accounts are not linked by address, and no mail is sent."""
        return []

    def extract_common_fields(self, data: Mapping[str, Any]) -> dict[str, Any]:
        claims = data["id_token"]
        names = {"first_name": "given_name", "last_name": "family_name", "name": "name"}
        return {
            "username": username_from(claims),
            **{
                field: line(claims.get(claim) or "", MAX_NAME_LENGTH)
                for field, claim in names.items()
            },
        }


def username_from(claims: Mapping[str, Any]) -> str:
    """Return the name in the claims. Users can choose it, so it does not link accounts."""
    return line(claims.get(settings.OIDC_USERNAME_CLAIM) or "", MAX_NAME_LENGTH)


class OidcSession(requests.Session):
    """The HTTP session that django-allauth uses, on the transport for untrusted services.

    HTTPS except on loopback, verified certificates, no redirects, no cookies, no ~/.netrc, one
    attempt, bounded time and size. `OIDC_CA_FILE` names the CA of a provider that has its own.
    """

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request and read the response.

        Args:
            method: HTTP method.
            url: whole URL.
            args, kwargs: params, data, headers and auth as in requests; others are ignored.

        Raises:
            requests.RequestException: the response is incomplete or too large.
        """
        names = {"params", "data", "headers", "auth"}
        given = {name: value for name, value in kwargs.items() if name in names}
        asked = requests.Request(method, url, **given).prepare()
        body = asked.body.encode() if isinstance(asked.body, str) else asked.body
        try:
            # plain HTTP only if the configured issuer uses it, whatever the discovery document says
            here = names_loopback_http(settings.OIDC_ISSUER)
            with new_session(USER_AGENT, loopback_http=here) as session:
                found = send(
                    session,
                    str(asked.method),
                    str(asked.url),
                    headers=asked.headers,
                    body=body,
                    timeouts=TIMEOUTS,
                    cap=MAX_RESPONSE_BYTES,
                    verify=settings.OIDC_CA_FILE or True,
                    secrets=(settings.OIDC_CLIENT_SECRET,),
                )
        except TransportError as error:
            raise requests.ConnectionError(str(error)) from None
        if found.oversized or found.cut_short:
            raise requests.ConnectionError(f"{asked.url}: the response is too large or incomplete")
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = found.status, str(asked.url), asked
        answer.headers.update(found.headers)
        answer.headers.setdefault("Content-Type", "")
        answer._content = found.body
        return answer
