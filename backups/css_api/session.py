"""A connection to one project: credentials, token, endpoint, and HTTP sessions per thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from dashboard.http.redact import Secret
from dashboard.http.transport import names_loopback_http, new_session
from dashboard.http.wire import ExchangeWatch, Timeouts

from . import config
from .credentials import (
    ACCESS_KEY,
    AGENCY,
    access_key_of,
    agency_plugin,
    require_key_place,
    require_password,
)
from .errors import ConfigurationError, IdentityError
from .identity import (
    identity_error,
    key_rejected,
    own_endpoint,
    project_identity,
    renewal_margin,
    require_https,
    require_root,
    secrets_of,
    storage_url,
    token_of,
)
from .signing import AccessKey
from .types import Answer, ProjectIdentity

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

PRODUCT = "css-log-backup-dashboard"
VERSION = "0.1.0"
_YES = {"true", "yes", "1"}
# Each rejected sign-in counts towards locking the account (usually five in 15 minutes), and
# a hundred runs may sign in at the same time.
FIRST_REJECTION_HOLD = 30.0  # seconds
LONGEST_REJECTION_HOLD = 300.0  # seconds
_MOST_LENT = 90  # parts of temporary keys, three each


@dataclass(frozen=True, slots=True)
class Authorization:
    """What requests carry, and the project and endpoint that it is for.

    Attributes:
        token: the token, None where requests are signed.
        identity: project and endpoint.
        key: the access key that signs requests, None where they carry a token.
    """

    token: Secret | None
    identity: ProjectIdentity
    key: AccessKey | None = None


class CloudConnection:
    """One clouds.yaml entry in one region; thread-safe.

    Args:
        settings: the entry, read by openstacksdk.
        cloud: its name.
        region: the region's name.
        timeouts: of requests; `total` bounds the whole sign-in at the identity service.
        version: the product's version, for the User-Agent header.

    Raises:
        ConfigurationError: the entry's certificates, address or type of credentials are not usable.
    """

    def __init__(
        self,
        settings: CloudRegion,
        cloud: str,
        region: str,
        *,
        timeouts: Timeouts,
        version: str = VERSION,
    ) -> None:
        from keystoneauth1.identity.base import BaseIdentityPlugin
        from keystoneauth1.session import Session

        _keep_bodies_out_of_logs()
        self.cloud = cloud
        self.region = region
        self.timeouts = timeouts
        self.user_agent = f"{PRODUCT}/{version}"
        self.plain_http = str(settings.config.get("plain_http", "")).lower() in _YES
        self.verify, self.cert = _tls(settings, cloud)
        self._settings = settings
        self._auth_url = str(settings.config.get("auth", {}).get("auth_url") or "")
        self.loopback_http = names_loopback_http(self._auth_url, own_endpoint(settings))
        self.key = _access_key(settings, cloud)
        plugin = _plugin(settings, self.key, cloud)
        if not isinstance(plugin, BaseIdentityPlugin):
            kind = settings.config.get("auth_type")
            raise ConfigurationError(
                f"cloud '{cloud}': auth_type '{kind}' has no token and catalog"
            )
        if self._auth_url:
            require_root(self._auth_url, cloud)
            require_https(
                self._auth_url,
                entry=cloud,
                plain_http=self.plain_http,
                loopback_http=self.loopback_http,
            )
        self._plugin: Any = plugin
        self._keystone: Any = Session(
            auth=plugin,
            session=self._new_http(),
            verify=self.verify,
            cert=self.cert,
            timeout=timeouts.read,
            redirect=False,  # the body contains a password, which must not go to another host
            user_agent=self.user_agent,
        )
        self._config_secrets = secrets_of(settings.config)
        if self.key is not None:  # perhaps from the environment
            self._config_secrets += self.key.values
        self._tokens: tuple[str, ...] = ()
        self._lent: tuple[str, ...] = ()  # of temporary keys
        self._lock = threading.Lock()
        self._access: Any = None
        self._margin = 0.0  # seconds before its expiry at which the token is renewed
        self._authorization: Authorization | None = None
        self._failure: IdentityError | None = None
        self._failed_at = 0.0
        self._hold = 0.0  # seconds
        self._held_until = 0.0
        self._local = threading.local()

    def identity(self) -> ProjectIdentity:
        """Project and endpoint of this connection.

        Raises:
            IdentityError: no token or endpoint.
            ConfigurationError: the endpoint is not HTTPS.
        """
        return self.authorization().identity

    def sign_in(self) -> ProjectIdentity:
        """Sign in again, ignoring a cached token, and return the result of `identity`.

        Raises:
            IdentityError: no token or endpoint.
            ConfigurationError: the endpoint is not HTTPS.
        """
        kept = self._authorization
        if kept is not None and kept.token is None:
            with self._lock:
                self._plugin.invalidate()
                self._access = None
        return self.authorization(rejected=kept.token if kept else None).identity

    def authorization(self, rejected: Secret | None = None) -> Authorization:
        """Get a token, from the cache while it is valid.

        If several threads call this at once, one signs in and all receive its result, token or
        error. Rejected credentials (401) are not sent again for 30 seconds, doubling up to five
        minutes; a changed clouds.yaml is tried at once.

        Args:
            rejected: a token that CSS rejected with 401. It is discarded, unless another thread has
                already replaced it.

        Raises:
            IdentityError: no token or endpoint.
            ConfigurationError: the endpoint is not HTTPS.
        """
        asked = time.monotonic()
        with self._lock:
            if self._failure is not None and max(self._failed_at, self._held_until) >= asked:
                raise self._failure.again()
            kept = self._authorization
            if rejected and kept is not None and kept.token == rejected:
                self._plugin.invalidate()
                self._access = None
            try:
                authorization = self._current_authorization()
            except IdentityError as error:
                self._failure, self._failed_at = error, time.monotonic()
                self._hold_after(error)
                raise
            self._hold = 0.0
            return authorization

    def key_rejected(self, answer: Answer) -> IdentityError:
        """The error for a 401 of CSS to a signed request.

        The key signs nothing for five minutes then, because consecutive wrong signatures lock it.

        Args:
            answer: the 401.
        """
        if self.key is None:
            raise TypeError("requests of this connection are not signed")
        host = urlsplit(self.authorization().identity.endpoint).netloc
        error = key_rejected(host, self.key, self.cloud, answer.message[:200], answer.date)
        with self._lock:
            self._failure, self._failed_at = error, time.monotonic()
            self._hold_after(error)
        return error

    @property
    def asks_identity(self) -> bool:
        """Whether a sign-in sends anything: an access key may need nothing of it."""
        auth = self._settings.config.get("auth", {})
        return self.key is None or not (auth.get("project_id") and own_endpoint(self._settings))

    @property
    def secrets(self) -> tuple[str, ...]:
        """All known secrets: those of the entry, the latest tokens and temporary keys."""
        more = getattr(self._plugin, "user_token", "")  # of an agency
        kept = self._config_secrets + self._tokens + self._lent
        return kept + ((more,) if more else ())

    def remember(self, key: AccessKey) -> None:
        """Redact a temporary key from now on."""
        with self._lock:
            self._lent = (*key.values, *self._lent)[:_MOST_LENT]

    @property
    def auth_url(self) -> str:
        """The address of the identity service, "" for an entry without one."""
        return self._auth_url

    def storage_endpoint(self) -> tuple[str, str]:
        """The object storage: its address, the entry's own or the catalog's, and its region.

        Raises:
            IdentityError: no token, or the catalog has no object storage.
            ConfigurationError: the address is not HTTPS.
        """
        self.authorization()
        url = storage_url(self._access, self._settings, self.cloud, self.region)
        require_https(
            url,
            entry=self.cloud,
            plain_http=self.plain_http,
            loopback_http=self.loopback_http,
        )
        return url, self.region or str(self._settings.get_region_name() or "")

    def http(self) -> requests.Session:
        """The current thread's HTTP session, with persistent connections."""
        held = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():  # a forked child must not use its parent's
            held = (os.getpid(), self._new_http())
            self._local.held = held
        session: requests.Session = held[1]
        return session

    def _new_http(self) -> requests.Session:
        return new_session(
            self.user_agent, plain_http=self.plain_http, loopback_http=self.loopback_http
        )

    def _hold_after(self, error: IdentityError) -> None:
        if error.status != 401:
            return
        first = FIRST_REJECTION_HOLD if self.key is None else LONGEST_REJECTION_HOLD
        self._hold = min(2 * self._hold or first, LONGEST_REJECTION_HOLD)
        self._held_until = self._failed_at + self._hold

    def _current_authorization(self) -> Authorization:
        if self._authorization and self._access and not self._access.will_expire_soon(self._margin):
            return self._authorization
        with ExchangeWatch(self.timeouts) as watch:
            try:
                access = self._plugin.get_access(self._keystone)
                margin = renewal_margin(access, self._plugin.MIN_TOKEN_LIFE_SECONDS)
                access.will_expire_soon(margin)  # raises for an invalid time
                identity = project_identity(access, self._settings, self.cloud, self.region)
                token = token_of(access, self.cloud) if self.key is None else ""
            except Exception as error:  # a malformed answer makes keystoneauth raise anything
                raise identity_error(
                    error,
                    cloud=self.cloud,
                    auth_url=self._auth_url,
                    watch=watch,
                    secrets=self.secrets,
                    key=self.key,
                ) from error
        require_https(
            identity.endpoint,
            entry=self.cloud,
            plain_http=self.plain_http,
            loopback_http=self.loopback_http,
        )
        self._access, self._margin = access, margin
        if self.key is not None:
            self._authorization = Authorization(None, identity, self.key)
            return self._authorization
        self._tokens = (token, *self._tokens)[:3]
        self._authorization = Authorization(Secret(token), identity)
        return self._authorization


_connections: dict[tuple[str, str, Timeouts, str], tuple[object, CloudConnection]] = {}
_connections_lock = threading.Lock()


def connect(
    cloud: str, region: str, *, timeouts: Timeouts, version: str = VERSION
) -> CloudConnection:
    """The connection to a cloud and region. Nothing is sent yet.

    Connections are cached for each process and replaced when clouds.yaml, secure.yaml or an `OS_*`
    variable changes.

    Args:
        cloud: name of the clouds.yaml entry.
        region: name of the region, "" for the entry's own.
        timeouts: of requests.
        version: the product's version, for the User-Agent header.

    Raises:
        ConfigurationError: there is no such entry, or it is not usable.
    """
    key = (cloud, region, timeouts, version)
    with _connections_lock:
        current = config.fingerprint()
        held = _connections.get(key)
        if held is None or held[0] != current:
            settings = config.cloud_region(cloud, region)
            made = CloudConnection(settings, cloud, region, timeouts=timeouts, version=version)
            held = _connections[key] = (current, made)
        return held[1]


def known_secrets() -> tuple[str, ...]:
    """All secrets of the connections in use, for redaction."""
    # a copy instead of the lock, which the logging thread may hold
    return tuple(secret for _, made in list(_connections.values()) for secret in made.secrets)


def _after_fork() -> None:
    """Reset connections and locks in a forked child."""
    global _connections_lock
    _connections_lock = threading.Lock()
    _connections.clear()


os.register_at_fork(after_in_child=_after_fork)


def _access_key(settings: CloudRegion, cloud: str) -> AccessKey | None:
    """The key that signs an entry's requests, None where they carry a token."""
    if settings.config.get("auth_type") != ACCESS_KEY:
        return None
    require_key_place(settings.config, own_endpoint(settings), cloud)
    return access_key_of(settings.config, cloud)


def _plugin(settings: CloudRegion, key: AccessKey | None, cloud: str) -> Any:
    """What finds an entry's project and catalog, and its token where it has one."""
    auth = settings.config.get("auth", {})
    if key is not None:
        from .key_sign_in import KeyPlugin

        return KeyPlugin(key, auth, cloud, with_catalog=not own_endpoint(settings))
    require_password(settings.config, cloud)
    if settings.config.get("auth_type") == AGENCY:
        return agency_plugin(settings.config, cloud)
    return settings.get_auth()


def _tls(settings: CloudRegion, cloud: str) -> tuple[bool | str, str | tuple[str, str] | None]:
    verify, cert = settings.get_requests_verify_args()
    paths = [verify] if isinstance(verify, str) else []
    paths += [cert] if isinstance(cert, str) else list(cert or ())
    for path in paths:
        if not Path(path).exists():
            raise ConfigurationError(f"cloud '{cloud}': the certificate file {path} does not exist")
    return (True if verify is None else verify), cert


def _keep_bodies_out_of_logs() -> None:
    """Limit logging to INFO: at DEBUG keystoneauth logs tokens, and urllib3 every URL."""
    for name in ("keystoneauth", "keystoneauth1", "urllib3"):
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
