"""The text of a token: a prefix that scanners know, a name for the look-up, and the secret.

`csslb_` + twelve characters that find the row + `_` + 43 characters of a random secret of 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from dashboard.accounts.roles import Permission

PREFIX = "csslb_"
_LOOKUP_BYTES = 6
_SECRET_BYTES = 32
_PATTERN = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token as a program sends it.

    Attributes:
        lookup: finds its row; no secret.
        text: all of it, the secret too; in no `repr`.
    """

    lookup: str
    text: str = field(repr=False)

    @classmethod
    def make(cls) -> TokenText:
        """A new token that nobody can guess."""
        lookup = secrets.token_hex(_LOOKUP_BYTES)
        return cls(lookup, f"{PREFIX}{lookup}_{secrets.token_urlsafe(_SECRET_BYTES)}")

    @classmethod
    def parse(cls, text: str) -> TokenText | None:
        """What was sent, None where it is no token."""
        match = _PATTERN.fullmatch(text)
        return cls(match[1], text) if match else None

    @property
    def digest(self) -> str:
        """What is stored. A random secret of 256 bits needs neither salt nor a slow hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether this is the token of a digest; as fast whether it is or not."""
        return hmac.compare_digest(self.digest, digest)


class Scope(TextChoices):
    """The most that a token may do; what its user may not do, it may not do either."""

    READ = "read", _("Read")
    RUN = "run", _("Read and run")

    @property
    def permissions(self) -> frozenset[Permission]:
        """What of the user's permissions is left to the token."""
        return _PERMISSIONS[self]

    @property
    def text(self) -> str:
        """What it is for, in words."""
        return str(_TEXTS[self])

    def includes(self, other: Scope) -> bool:
        """Whether whatever needs the other scope is content with this one."""
        return self.permissions >= other.permissions


# an export has nothing that a list does not show, page by page
_READ = frozenset({Permission.SEE, Permission.AUDIT, Permission.EXPORT})
_PERMISSIONS = {Scope.READ: _READ, Scope.RUN: _READ | {Permission.RUN}}
_TEXTS = {
    Scope.READ: _("sees clusters, protection and runs, and exports runs"),
    Scope.RUN: _("also requests backups and cancels queued runs"),
}
