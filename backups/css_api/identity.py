"""Identity service: error messages, project, and the endpoint of Cloud Search Service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from keystoneauth1 import exceptions as ks

from dashboard.http.redact import one_line, redact
from dashboard.http.transport import describe, failure_kind, is_loopback
from dashboard.http.wire import ExchangeWatch

from .answer import answered_on, retry_after
from .errors import (
    CatalogError,
    ConfigurationError,
    IdentityError,
    SecondFactorError,
    TransportKind,
)
from .parse import is_id
from .signing import LARGEST_SKEW, AccessKey
from .types import ProjectIdentity

if TYPE_CHECKING:
    from keystoneauth1.access import AccessInfo
    from openstack.config.cloud_region import CloudRegion

SERVICE_TYPE = "css"
STORAGE_TYPE = "object"
API_VERSION = "v1.0"
_PROJECT_PLACE = re.compile(r"[%$]\((?:project|tenant)_id\)s")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
LONGEST_ADDRESS = 500  # characters
LONGEST_SAID = 200  # characters
_SAYS_NOTHING = re.compile(r"\s*(?:$|unauthorized\b|the request you have made requires auth)", re.I)
_SECOND_FACTOR = re.compile(r"\b(?:mfa|totp|multi-?factor|second factor)\b", re.I)
_VERSION = re.compile(r"v\d+(?:\.\d+)?")
# Clouds whose identity service has password, agency and federation, but no application credentials
# (docs/css-api.md §5).
_NO_APPLICATION_CREDENTIALS = (".otc.t-systems.com", ".myhuaweicloud.com", ".myhuaweicloud.eu")
_SECRET_NAME = re.compile(
    r"passw|passcode|secret|token|private|credential$|^(?:ak|sk)$|_key$", re.I
)


def secrets_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The secret values of a clouds.yaml entry (including `auth`), for redaction."""
    found: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += secrets_of(value)
        elif _SECRET_NAME.search(name) and isinstance(value, str | int):
            found.append(str(value))
    return tuple(found)


def own_endpoint(settings: CloudRegion) -> str:
    """`css_endpoint_override` of an entry, "" without one."""
    return str(settings.get_endpoint(SERVICE_TYPE) or "")


def require_https(url: str, *, entry: str, plain_http: bool, loopback_http: bool = True) -> None:
    """Reject plain HTTP, except to this machine or if the entry allows it.

    Args:
        url: the address.
        entry: name of the clouds.yaml entry.
        plain_http: the entry allows http:// to other machines.
        loopback_http: http:// to this machine is allowed (`names_loopback_http`).

    Raises:
        ConfigurationError: the URL is not https://, or contains a user name or password, which
            libraries would log.
    """
    if "://" not in url and "@" not in url:  # the profile otc-swiss has such an address
        raise ConfigurationError(
            one_line(
                f"cloud '{entry}': the address {url} has no scheme: set auth_url in the entry, to"
                f" https://{url}",
                500,
            )
        )
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigurationError(
            one_line(
                f"cloud '{entry}': the address of {parts.hostname} contains a user name or"
                " password: remove them",
                500,
            )
        )
    if parts.scheme == "https" and parts.hostname:
        return
    here = is_loopback(parts.hostname or "")
    if parts.scheme == "http" and (loopback_http if here else plain_http):
        return
    if parts.scheme == "http" and here:
        raise ConfigurationError(
            one_line(
                f"cloud '{entry}': {parts.scheme}://{parts.hostname} is this machine, and no"
                " address in the entry is",
                500,
            )
        )
    raise ConfigurationError(
        one_line(
            f"cloud '{entry}': {parts.scheme}://{parts.hostname} is not HTTPS"
            " (`plain_http: true` in the entry allows it on a network that you trust)",
            500,
        )
    )


def require_root(auth_url: str, cloud: str) -> None:
    """Reject the address of a call where that of the service belongs.

    Raises:
        ConfigurationError: `auth_url` goes on after its version.
    """
    if re.search(r"/v3/+\S", auth_url):
        raise ConfigurationError(
            one_line(f"cloud '{cloud}': auth_url continues after /v3: remove the rest", 500)
        )


def renewal_margin(access: AccessInfo, most: float) -> float:
    """Seconds before its expiry at which a token is renewed.

    At most a quarter of its lifetime. Otherwise a token with a lifetime below the usual margin
    would be renewed for every request.

    Args:
        access: the token.
        most: the usual margin, in seconds.
    """
    try:
        issued, expires = access.issued, access.expires
    except KeyError:  # an identity service that leaves one out
        return most
    if issued is None or expires is None:
        return most
    return min(most, max(0.0, (expires - issued).total_seconds() / 4))


def project_identity(
    access: AccessInfo, settings: CloudRegion, cloud: str, region: str
) -> ProjectIdentity:
    """Project and CSS endpoint of a token.

    Args:
        access: the token with its catalog.
        settings: the clouds.yaml entry; its `css_endpoint_override` overrides the catalog.
        cloud: name of the entry.
        region: name of the region, "" for any.

    Raises:
        CatalogError: the token has no project, or the catalog no endpoint.
    """
    project_id = access.project_id
    if not project_id:
        raise CatalogError(
            one_line(
                f"the token of cloud '{cloud}' is for no project: set project_name or project_id in"
                f" its entry{_domain_hint(settings)}",
                500,
            )
        )
    # It is used in every path and stored.
    if not isinstance(project_id, str) or not is_id(project_id):
        raise CatalogError(
            one_line(
                f"the identity service of cloud '{cloud}' returned a project without an id", 500
            )
        )
    url = own_endpoint(settings)
    if not url:
        url = _catalog_url(access, settings, cloud, region)
        auth_url = str(settings.config.get("auth", {}).get("auth_url") or "")
        if is_loopback(_host(url)) and not is_loopback(_host(auth_url)):
            raise CatalogError(
                one_line(f"the catalog of cloud '{cloud}' says that css is on this machine", 500)
            )
    name = access.project_name
    try:
        endpoint = endpoint_of(url, project_id)
    except CatalogError as error:
        whose = "css_endpoint_override" if own_endpoint(settings) else "the catalog"
        raise CatalogError(one_line(f"cloud '{cloud}', {whose}: {error}", 500)) from error
    return ProjectIdentity(
        cloud=cloud,
        region=region,
        project_id=project_id,
        project_name=one_line(name, 255) if isinstance(name, str) else "",
        endpoint=endpoint,
    )


def _domain_hint(settings: CloudRegion) -> str:
    """What to do with the domain of an entry that is scoped to it."""
    auth = settings.config.get("auth", {})
    if not auth.get("domain_name") and not auth.get("domain_id"):
        return ""
    return (
        "; its domain_name or domain_id signs in to the whole account, where no service is: call it"
        " user_domain_name or user_domain_id"
    )


def token_of(access: AccessInfo, cloud: str) -> str:
    """The token, safe as a header value.

    Raises:
        IdentityError: there is none, or it contains invalid characters.
    """
    token = access.auth_token
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise IdentityError(f"the identity service of cloud '{cloud}' returned no usable token")
    return token


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def _catalog_url(access: AccessInfo, settings: CloudRegion, cloud: str, region: str) -> str:
    """The css endpoint in the catalog for the entry's region and interface."""
    wanted = settings.get_region_name(SERVICE_TYPE) or region or None
    interface = settings.get_interface(SERVICE_TYPE) or "public"
    found = access.service_catalog.get_endpoints_data(
        service_type=SERVICE_TYPE, interface=interface, region_name=wanted
    ).get(SERVICE_TYPE, [])
    if len({place.url for place in found}) > 1 and not wanted:
        # the order of a catalog is not stable, so the first is not a safe choice
        regions = ", ".join(sorted({str(place.region_name) for place in found})[:20])
        raise CatalogError(
            one_line(
                f"the catalog of cloud '{cloud}' has css in {regions}:"
                " set region_name in its entry",
                500,
            )
        )
    if not found or not found[0].url:
        raise CatalogError(_no_endpoint(access, wanted, str(interface), cloud))
    return str(found[0].url)


def storage_url(access: AccessInfo, settings: CloudRegion, cloud: str, region: str) -> str:
    """The address of the object storage, without a path.

    Args:
        access: the token with its catalog.
        settings: the clouds.yaml entry; `object_endpoint_override` overrides the catalog.
        cloud: name of the entry.
        region: name of the region, "" for any.

    Raises:
        CatalogError: there is none, or it is not a plain URL.
    """
    found = {str(settings.get_endpoint(STORAGE_TYPE) or "")} - {""}
    if not found:
        wanted = settings.get_region_name(STORAGE_TYPE) or region
        interface = str(settings.get_interface(STORAGE_TYPE) or "public")
        found = {
            str(place.get("url") or "")
            for service in access.service_catalog.catalog
            if service.get("type") == STORAGE_TYPE
            for place in service.get("endpoints", [])
            if place.get("interface") == interface
            and (not wanted or (place.get("region_id") or place.get("region")) in (wanted, "*"))
        }
        auth_url = str(settings.config.get("auth", {}).get("auth_url") or "")
        if not is_loopback(_host(auth_url)):
            found = {url for url in found if not is_loopback(_host(url))}
    parts = _plain_address(next(iter(found)).strip()) if len(found) == 1 else None
    if parts is None:
        raise CatalogError(
            one_line(
                f"the catalog of cloud '{cloud}' has no usable address of the object storage (type"
                f" {STORAGE_TYPE}): set object_endpoint_override in its entry"
                " (such as https://obs.eu-de.otc.t-systems.com)",
                500,
            )
        )
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def endpoint_of(url: str, project_id: str) -> str:
    """Normalise a CSS endpoint to `https://host/v1.0/{project_id}`.

    Catalogs have it with or without the project, or with a placeholder.

    Raises:
        CatalogError: the endpoint is for another project, or is not a plain URL.
    """
    text = _PROJECT_PLACE.sub(project_id, url.strip())
    parts = _plain_address(text)
    if parts is None:
        raise CatalogError(one_line(f"the css endpoint {url[:200]} is not an address", 500))
    path = [piece for piece in parts.path.split("/") if piece]
    if path and path[-1] == project_id:
        path.pop()
    elif len(path) > 1 and _VERSION.fullmatch(path[-2]):
        raise CatalogError(
            one_line(f"the css endpoint {url} is for another project than {project_id}", 500)
        )
    if not (path and _VERSION.fullmatch(path[-1])):
        path.append(API_VERSION)
    return urlunsplit((parts.scheme, parts.netloc, "/" + "/".join([*path, project_id]), "", ""))


def _plain_address(text: str) -> SplitResult | None:
    """The parts of an http or https URL of host, port and simple path; None for anything else."""
    if len(text) > LONGEST_ADDRESS or not text.isascii() or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    pieces = [piece for piece in parts.path.split("/") if piece]
    usable = (
        parts.scheme in ("http", "https")
        and _HOST.fullmatch(parts.hostname or "")
        and (port is None or port > 0)
        # dots alone, or escaped characters, would change the path
        and all(is_id(piece) for piece in pieces)
    )
    return parts if usable else None


def identity_error(
    error: Exception,
    *,
    cloud: str,
    auth_url: str,
    watch: ExchangeWatch,
    secrets: tuple[str, ...],
    key: AccessKey | None = None,
) -> IdentityError:
    """Convert a failure of keystoneauth to an error with a one-line message.

    Args:
        error: the exception.
        cloud: name of the entry.
        auth_url: its identity URL.
        watch: of the exchange.
        secrets: values to redact.
        key: the access key that signed, None where a token was requested.
    """
    if isinstance(error, IdentityError):
        return error
    host = urlsplit(auth_url).netloc.rpartition("@")[2]
    service = f"the identity service {host}"
    if isinstance(error, ks.MissingAuthMethods):
        return SecondFactorError(_refused(_second_factor(host), cloud), status=401)
    if isinstance(error, ks.Unauthorized):
        # Keystone distinguishes these only in its log; other services send a useful message
        why = "they are wrong, expired or disabled, or have no role in the project"
        said = _said(error, secrets)
        if key is not None:
            headers = error.response.headers if error.response is not None else {}
            return key_rejected(service, key, cloud, said, answered_on(headers))
        if _SECOND_FACTOR.search(said):
            why = f"{_second_factor(host)}; it says: {said}"
            return SecondFactorError(_refused(why, cloud), status=401)
        return IdentityError(
            _refused(f"{why}; it says: {said}" if said else why, cloud), status=401
        )
    if isinstance(error, ks.HttpError):
        status = int(error.http_status)
        text = redact(str(error.message or ""), secrets)
        detail = one_line(f"{service} answered {status} for cloud '{cloud}': {text}", 500)
        headers = error.response.headers if error.response is not None else {}
        return IdentityError(
            detail,
            status=status,
            retryable=status == 429 or status >= 500,
            retry_after=retry_after(headers),
        )
    unreached = _connection_failure(error)
    if watch.expired or unreached is not None:
        cause = unreached or error
        kind = failure_kind(cause, watch)
        if kind is TransportKind.CONNECT_FAILED and isinstance(cause, ks.SSLError):
            kind = TransportKind.TLS
        text = describe(cause, kind, auth_url, secrets)
        detail = one_line(f"identity service: {text}", 500)
        return IdentityError(detail, retryable=True, kind=kind)
    if isinstance(error, ks.InvalidResponse) and 300 <= error.response.status_code < 400:
        status = error.response.status_code
        detail = f"{service} redirects ({status}): set auth_url to the address that it redirects to"
        return IdentityError(detail, status=status)
    if isinstance(error, ks.DiscoveryFailure):
        return IdentityError(f"{service} has no identity API v3 at the auth_url of cloud '{cloud}'")
    if isinstance(error, ks.AuthorizationFailure):
        return IdentityError(one_line(f"cloud '{cloud}': {redact(str(error), secrets)}", 500))
    # Not a response of an identity service: a maintenance page, or a proxy's response.
    return IdentityError(f"{service} returned an unusable answer", retryable=True)


def key_rejected(
    service: str, key: AccessKey, cloud: str, said: str, date: datetime | None
) -> IdentityError:
    """The error for a 401 to a signed request.

    Args:
        service: what answered.
        key: the access key that signed.
        cloud: name of the entry.
        said: its message, redacted, "" for none.
        date: the answer's time, None if unknown.
    """
    why = "the access key or the secret key is wrong, disabled or expired"
    if key.security_token is not None:
        why = "the temporary key has expired, or a part of it is wrong: create a new one"
    off = (datetime.now(UTC) - date).total_seconds() if date is not None else 0.0
    if abs(off) > LARGEST_SKEW / 3:
        way = "ahead of" if off > 0 else "behind"
        why = (
            f"this machine's clock is {abs(off) / 60:.0f} minutes {way} the cloud's, and"
            f" {LARGEST_SKEW / 60:.0f} are the limit: correct the clock"
        )
    text = f"{service} rejected the access key {key} of clouds.yaml entry '{cloud}' (401): {why}"
    return IdentityError(one_line(f"{text}; it says: {said}" if said else text, 500), status=401)


def _second_factor(host: str) -> str:
    """What helps where a second factor is required."""
    if host.partition(":")[0].endswith(_NO_APPLICATION_CREDENTIALS):
        return (
            "it wants a second factor, and this cloud has no application credentials: use a user"
            " for programmatic access without MFA, an agency, or an access key (AK/SK)"
        )
    return "it wants a second factor: use an application credential"


def _connection_failure(error: BaseException) -> BaseException | None:
    """The connection failure that `error` is or was caused by."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ks.ConnectionError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _said(error: ks.HttpError, secrets: tuple[str, ...]) -> str:
    """The message of a rejection in one line, redacted; "" for Keystone's usual one."""
    text: object = None
    try:
        body = error.response.json() if error.response is not None else None
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        inner = body.get("error")
        text = (inner.get("message") if isinstance(inner, dict) else None) or body.get("error_msg")
    if not isinstance(text, str) or _SAYS_NOTHING.match(text):
        return ""
    return one_line(redact(text, secrets), LONGEST_SAID)


def _refused(why: str, cloud: str) -> str:
    entry = f"the credentials of clouds.yaml entry '{cloud}'"
    return one_line(f"the identity service rejected {entry} (401): {why}", 500)


def _no_endpoint(access: AccessInfo, wanted: str | None, interface: str, cloud: str) -> str:
    regions: set[str] = set()
    services: set[str] = set()
    for service in access.service_catalog.catalog:
        services.add(str(service.get("type")))
        if service.get("type") == SERVICE_TYPE:
            for place in service.get("endpoints", []):
                where = place.get("region_id") or place.get("region")
                regions.add(f"{where} ({place.get('interface')})")
    place = f" for region '{wanted}'" if wanted else ""
    if interface != "public":
        place += f" and interface '{interface}'" if wanted else f" for interface '{interface}'"
    has = (
        f"it has css in {', '.join(sorted(regions)[:20])}: set region_name in its entry"
        if regions
        else f"it has {', '.join(sorted(services)[:30]) or 'no service at all'}"
    )
    return one_line(f"the catalog of cloud '{cloud}' has no css endpoint{place}: {has}", 500)
