"""Encryption of the few secrets that the database holds, such as the addresses of channels.

The key is `CHANNEL_KEY`, or generated in DATA_DIR. `CHANNEL_KEY_FALLBACKS` are earlier keys, which
are accepted when reading; `manage.py rotate_channel_key` encrypts everything with the current one.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from .generated import generated_secret
from .http.redact import Secret


class Undecipherable(Exception):
    """The text was encrypted with another key. The message is safe to show."""

    def __init__(self) -> None:
        super().__init__(
            "It was encrypted with another CHANNEL_KEY. Add that key to CHANNEL_KEY_FALLBACKS, or "
            "enter the address again."
        )


def encrypt(text: str) -> str:
    """Encrypt a text with the current key. Raises OSError if the key cannot be read or created."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt(token: str) -> Secret:
    """Decrypt what `encrypt` returned.

    Raises:
        Undecipherable: none of the keys fits.
        OSError: the generated key cannot be read.
    """
    try:
        return Secret(_fernet().decrypt(token.encode()).decode())
    except InvalidToken:
        raise Undecipherable from None


def reencrypt(token: str) -> str:
    """Encrypt with the current key what another key may have encrypted. Raises Undecipherable."""
    return encrypt(decrypt(token).reveal())


def _fernet() -> MultiFernet:
    current = settings.CHANNEL_KEY or generated_secret(Path(settings.DATA_DIR) / "channel_key")
    return MultiFernet(
        Fernet(urlsafe_b64encode(hashlib.sha256(f"channel key: {key}".encode()).digest()))
        for key in (current, *settings.CHANNEL_KEY_FALLBACKS)
    )
