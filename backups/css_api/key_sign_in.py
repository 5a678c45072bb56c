"""What a sign-in gives with a token, for an access key: the project's id and the catalog.

Both come from signed GETs at the identity service (docs/css-api.md §5), as in Terraform's
providers, or from the entry itself, and then nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keystoneauth1 import exceptions as ks
from keystoneauth1.access.service_catalog import ServiceCatalogV3
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session

from dashboard.http.redact import one_line

from .errors import CatalogError
from .signing import AccessKey, Signature


@dataclass(frozen=True, slots=True)
class SignedAccess:
    """Stands where keystoneauth has the data of a token; it does not expire."""

    project_id: str
    project_name: str
    service_catalog: ServiceCatalogV3
    auth_token: None = None
    issued: None = None
    expires: None = None

    def will_expire_soon(self, stale_duration: float = 0) -> bool:
        """A key's expiry is not told: its requests are rejected from then on."""
        return False


class KeyPlugin(BaseIdentityPlugin):
    """Finds project and catalog for an access key.

    Args:
        key: the access key.
        auth: `auth` of its entry, checked by `credentials.require_key_place`.
        cloud: name of the entry.
        with_catalog: False where the entry has an endpoint of its own.
    """

    def __init__(
        self, key: AccessKey, auth: Mapping[str, Any], cloud: str, *, with_catalog: bool
    ) -> None:
        super().__init__(auth_url=str(auth.get("auth_url") or ""))
        self._key = key
        self._cloud = cloud
        self._project_id = str(auth.get("project_id") or "")
        self._project_name = str(auth.get("project_name") or "")
        self._with_catalog = with_catalog

    def get_auth_ref(self, session: Session) -> Any:
        """Read what the entry leaves open.

        Raises:
            CatalogError: there is no such project, or the key may not read the catalog.
            ks.HttpError: the service rejects the key, or fails.
        """
        project_id = self._project_id or self._find_project(session)
        catalog = self._read_catalog(session, project_id) if self._with_catalog else []
        return SignedAccess(project_id, self._project_name, ServiceCatalogV3(catalog))

    def get_cache_id_elements(self) -> dict[str, str | None]:
        """Nothing of a key is cached outside this process."""
        raise NotImplementedError

    def _find_project(self, session: Session) -> str:
        name = self._project_name
        found = self._get(session, f"/projects?name={quote(name, safe='')}")["projects"]
        ids = [str(each["id"]) for each in found if each.get("name") == name]
        if len(ids) != 1:
            what = "no project" if not ids else "more than one project"
            raise CatalogError(
                one_line(
                    f"the access key of cloud '{self._cloud}' sees {what} named '{name}': correct"
                    " project_name in its entry (the console shows it under My Credentials), or set"
                    " project_id",
                    500,
                )
            )
        return ids[0]

    def _read_catalog(self, session: Session, project_id: str) -> list[dict[str, Any]]:
        try:
            catalog: list[dict[str, Any]] = self._get(session, "/auth/catalog", project_id)[
                "catalog"
            ]
        except ks.HttpError as error:
            if error.http_status not in (403, 404):
                raise
            raise CatalogError(
                one_line(
                    f"the identity service does not give the access key of cloud '{self._cloud}'"
                    f" its catalog ({error.http_status}): set css_endpoint_override in the entry"
                    " (such as https://css.eu-de.otc.t-systems.com), and project_id",
                    500,
                )
            ) from error
        return catalog

    def _get(self, session: Session, path: str, project_id: str = "") -> Any:
        base = (self.auth_url or "").rstrip("/")
        base = base if base.endswith("/v3") else f"{base}/v3"
        answer = session.get(
            f"{base}{path}",
            requests_auth=Signature(self._key, project_id),
            authenticated=False,
            log=False,
            headers={"Accept": "application/json"},
        )
        if answer.status_code >= 300:  # a redirect, which is not followed
            raise ks.InvalidResponse(response=answer)
        return answer.json()
