"""What the identity service says: errors in plain words, and where Cloud Search Service is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from keystoneauth1 import exceptions as ks

from .answer import retry_after
from .errors import (
    CatalogError,
    ConfigurationError,
    IdentityError,
    SecondFactorError,
    TransportKind,
)
from .redact import one_line, redact
from .transport import describe, failure_kind, is_loopback
from .types import ProjectIdentity
from .wire import Watch

if TYPE_CHECKING:
    from keystoneauth1.access import AccessInfo
    from openstack.config.cloud_region import CloudRegion

SERVICE_TYPE = "css"
API_VERSION = "v1.0"
_PROJECT_PLACE = re.compile(r"[%$]\((?:project|tenant)_id\)s")
_VERSION = re.compile(r"v\d+(?:\.\d+)?")
_SECRET_NAME = re.compile(
    r"passw|passcode|secret|token|private|credential$|^(?:ak|sk)$|_key$", re.I
)


def secrets_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The secret values of a clouds.yaml entry (with `auth` inside), to keep out of every text."""
    found: list[str] = []
    for name, value in config.items():
        if isinstance(value, Mapping):
            found += secrets_of(value)
        elif _SECRET_NAME.search(name) and isinstance(value, str | int):
            found.append(str(value))
    return tuple(found)


def require_https(url: str, *, entry: str, plain_http: bool) -> None:
    """Refuse to send secrets over plain HTTP, except on this machine or where the entry allows it.

    Raises:
        ConfigurationError: the URL is not https://, or holds a user name or password: libraries
            put addresses into their logs.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigurationError(
            one_line(
                f"cloud '{entry}': the address of {parts.hostname} holds a user name or password:"
                " take them out of it",
                500,
            )
        )
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and (plain_http or is_loopback(parts.hostname or "")):
        return
    raise ConfigurationError(
        one_line(
            f"cloud '{entry}': {parts.scheme}://{parts.hostname} is not HTTPS"
            " (`plain_http: true` in the entry allows it on a network that you trust)",
            500,
        )
    )


def require_password(config: Mapping[str, Any], entry: str) -> None:
    """Find out before anything is sent that an entry signs in with a password and has none.

    Raises:
        ConfigurationError: `auth` of the entry has no password.
    """
    if config.get("auth_type") in ("password", "v3password") and not config["auth"].get("password"):
        raise ConfigurationError(one_line(f"cloud '{entry}': password is missing", 500))


def renewal_margin(access: AccessInfo, most: float) -> float:
    """How long before its end a token is renewed.

    A quarter of its lifetime at most: a token that lives shorter than the usual margin would
    otherwise be renewed for every request.

    Args:
        access: the token.
        most: seconds, for tokens that live long.
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
    """Find the project and the CSS endpoint that a token is for.

    Args:
        access: the token with its catalog.
        settings: the clouds.yaml entry; `css_endpoint_override` in it goes before the catalog.
        cloud: name of the entry.
        region: name of the region, "" for any.

    Raises:
        CatalogError: the token has no project, or the catalog no endpoint.
    """
    if not access.project_id:
        raise CatalogError(
            f"the token of cloud '{cloud}' is for no project:"
            " set project_name or project_id in its entry"
        )
    url = settings.get_endpoint(SERVICE_TYPE) or _catalog_url(access, settings, cloud, region)
    return ProjectIdentity(
        cloud=cloud,
        region=region,
        project_id=access.project_id,
        project_name=access.project_name or "",
        endpoint=endpoint_of(url, access.project_id),
    )


def _catalog_url(access: AccessInfo, settings: CloudRegion, cloud: str, region: str) -> str:
    """The one css endpoint of the catalog that the entry's region and interface name."""
    wanted = settings.get_region_name(SERVICE_TYPE) or region or None
    interface = settings.get_interface(SERVICE_TYPE) or "public"
    found = access.service_catalog.get_endpoints_data(
        service_type=SERVICE_TYPE, interface=interface, region_name=wanted
    ).get(SERVICE_TYPE, [])
    if len({place.url for place in found}) > 1 and not wanted:
        # a catalog has no order to rely on: the first could be another one tomorrow
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


def endpoint_of(url: str, project_id: str) -> str:
    """Bring a CSS endpoint into the form `https://host/v1.0/{project_id}`.

    Catalogs register it with or without the project, and with placeholders for it.

    Raises:
        CatalogError: the endpoint names another project.
    """
    parts = urlsplit(_PROJECT_PLACE.sub(project_id, url.strip()))
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


def identity_error(
    error: Exception, *, cloud: str, auth_url: str, watch: Watch, secrets: tuple[str, ...]
) -> IdentityError:
    """Put a failure of keystoneauth into one line that says what to look at.

    Args:
        error: what was raised.
        cloud: name of the entry.
        auth_url: its identity URL.
        watch: the watch of the exchange.
        secrets: values to keep out.
    """
    if isinstance(error, IdentityError):
        return error
    host = urlsplit(auth_url).netloc.rpartition("@")[2]
    service = f"the identity service {host}"
    if isinstance(error, ks.MissingAuthMethods):
        why = "it wants a second factor: use an application credential"
        return SecondFactorError(_refused(why, cloud), status=401)
    if isinstance(error, ks.Unauthorized):
        # Keystone tells these apart in its own log only
        why = "they are wrong, expired or disabled, or have no role in the project"
        return IdentityError(_refused(why, cloud), status=401)
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
        detail = f"{service} redirects ({status}): put the address it really has into auth_url"
        return IdentityError(detail, status=status)
    if isinstance(error, ks.DiscoveryFailure):
        return IdentityError(f"{service} has no identity API v3 at the auth_url of cloud '{cloud}'")
    if isinstance(error, ks.AuthorizationFailure):
        return IdentityError(one_line(f"cloud '{cloud}': {redact(str(error), secrets)}", 500))
    # Not what an identity service answers: a maintenance page, a proxy's own answer.
    return IdentityError(f"{service} gave an answer that cannot be used", retryable=True)


def _connection_failure(error: BaseException) -> BaseException | None:
    """The connection failure that `error` is or was made from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ks.ConnectionError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _refused(why: str, cloud: str) -> str:
    entry = f"the credentials of clouds.yaml entry '{cloud}'"
    return one_line(f"the identity service refused {entry} (401): {why}", 500)


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
        f"it has css in {', '.join(sorted(regions)[:20])}"
        if regions
        else f"it has {', '.join(sorted(services)[:30]) or 'no service at all'}"
    )
    return one_line(f"the catalog of cloud '{cloud}' has no css endpoint{place}: {has}", 500)
