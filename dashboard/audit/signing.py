"""The key that exports are signed with."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from dashboard.generated import generated_secret

FILE_NAME = "audit_signing_key"


def signing_key() -> Ed25519PrivateKey:
    """The Ed25519 key in AUDIT_SIGNING_KEY, else the instance's own, made on first use.

    Raises:
        ImproperlyConfigured: what was given is no such key; the text does not show it.
        OSError: the instance's own can be neither read nor made.
    """
    if settings.AUDIT_SIGNING_KEY:
        return _parsed(settings.AUDIT_SIGNING_KEY, "AUDIT_SIGNING_KEY")
    path = settings.DATA_DIR / FILE_NAME
    return _parsed(generated_secret(path, nbytes=32), str(path))


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public key as PEM, for whoever verifies."""
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def public_base64(key: Ed25519PrivateKey) -> str:
    """The public key's 32 bytes in base64."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode("ascii")


def _parsed(text: str, where: str) -> Ed25519PrivateKey:
    text = text.strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_private_key(text.encode(), password=None)
            if isinstance(key, Ed25519PrivateKey):
                return key
        else:
            padded = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(padded, validate=True))
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        pass  # raised below, without the chain of errors that could show the key
    raise ImproperlyConfigured(
        f"{where} holds no Ed25519 key: give PEM (openssl genpkey -algorithm ed25519) "
        "or the base64 of 32 random bytes (openssl rand -base64 32)."
    )
