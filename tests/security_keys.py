"""A security key in software: what an authenticator answers to a browser, with a real signature."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

PRESENT = AuthenticatorData.FLAG.UP
ATTESTED = PRESENT | AuthenticatorData.FLAG.AT


class SoftwareKey:
    """One key pair for one site.

    Args:
        host: of the site, without port: the relying party's id.
        origin: what the browser says it is on; https and the host if not given.
    """

    def __init__(self, host: str = "testserver", origin: str = "") -> None:
        self.host, self.origin = host, origin or f"https://{host}"
        self.credential_id = secrets.token_bytes(32)
        self.counter = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def made(self, challenge: str) -> dict[str, Any]:
        """What the browser sends after `navigator.credentials.create`.

        Args:
            challenge: of the page's options, in base64url.
        """
        public = ES256.from_cryptography_key(self._key.public_key())
        attested = AttestedCredentialData.create(b"\0" * 16, self.credential_id, public)
        data = AuthenticatorData.create(self._site(), ATTESTED, self.counter, bytes(attested))
        return self._answer(
            {
                "clientDataJSON": websafe_encode(self._client("webauthn.create", challenge)),
                "attestationObject": websafe_encode(
                    bytes(AttestationObject.create("none", data, {}))
                ),
            }
        )

    def used(self, challenge: str) -> dict[str, Any]:
        """What the browser sends after `navigator.credentials.get`."""
        self.counter += 1
        data = AuthenticatorData.create(self._site(), PRESENT, self.counter)
        client = self._client("webauthn.get", challenge)
        signature = self._key.sign(
            bytes(data) + hashlib.sha256(client).digest(), ec.ECDSA(SHA256())
        )
        return self._answer(
            {
                "clientDataJSON": websafe_encode(client),
                "authenticatorData": websafe_encode(bytes(data)),
                "signature": websafe_encode(signature),
            }
        )

    def _site(self) -> bytes:
        return hashlib.sha256(self.host.encode()).digest()

    def _client(self, kind: str, challenge: str) -> bytes:
        said = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _answer(self, response: dict[str, str]) -> dict[str, Any]:
        name = websafe_encode(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "clientExtensionResults": {},
            "response": response,
        }
