"""What an ID token has to prove before it is believed; OpenID Connect Core 1.0, 3.1.3.7. Pure.

Django-allauth trusts the connection to the token endpoint in place of the signature, and knows no
nonce. Here both are checked, whatever way the token came.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import jwt

# No "none", and nothing symmetric: a shared secret signs nothing that a third party could check.
ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}
REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]
LEEWAY = 60.0  # seconds that the provider's clock may be off


class IdTokenRejected(Exception):
    """An ID token proves nothing; the text says why and holds nothing of the token."""


def verified_claims(
    token: object, keys: object, *, issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """The claims of an ID token whose signature, issuer, audience, times and nonce are right.

    Args:
        token: what the token endpoint gave as id_token.
        keys: the provider's JSON Web Key Set, parsed.
        issuer: who must have issued it, letter for letter.
        client_id: whom it must be for.
        nonce: what was sent with the browser to the provider; an empty one is never right.

    Raises:
        IdTokenRejected: one of these is not so.
    """
    if not isinstance(token, str):
        raise IdTokenRejected("there is no ID token")
    try:
        header = jwt.get_unverified_header(token)
        key = _key(keys, header)
        claims = jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": REQUIRED},
        )
    except jwt.PyJWTError as error:
        raise IdTokenRejected(_reason(error)) from None
    except (ValueError, TypeError, ArithmeticError, RecursionError):  # a time without end
        raise IdTokenRejected("it cannot be read") from None
    if not nonce or not _same(claims["nonce"], nonce):
        raise IdTokenRejected("its nonce is not the one of this sign-in")
    for_many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if ("azp" in claims or for_many) and claims.get("azp") != client_id:
        raise IdTokenRejected("it was issued to another client")
    if not isinstance(claims["sub"], str) or not (
        0 < len(claims["sub"]) <= 255 and claims["sub"].isprintable()
    ):
        raise IdTokenRejected("its subject is no name")
    return dict(claims)


def _key(keys: object, header: Mapping[str, Any]) -> jwt.PyJWK:
    """The key that a token says it was signed with, if it is one for its algorithm."""
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise IdTokenRejected("its algorithm is not accepted")
    listed = keys.get("keys") if isinstance(keys, Mapping) else None
    usable = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, Mapping)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and ("kid" not in header or key.get("kid") == header["kid"])
    ]
    if len(usable) != 1:
        raise IdTokenRejected("the provider has no such key")
    return jwt.PyJWK(dict(usable[0]), algorithm=algorithm)


def _same(one: object, other: str) -> bool:
    return isinstance(one, str) and hmac.compare_digest(
        one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass")
    )


def _reason(error: jwt.PyJWTError) -> str:
    for kind, text in (
        (jwt.ExpiredSignatureError, "it has expired"),
        (jwt.ImmatureSignatureError, "it is not valid yet"),
        (jwt.InvalidAudienceError, "it is for another client"),
        (jwt.InvalidIssuerError, "it is of another issuer"),
        (jwt.MissingRequiredClaimError, "a claim is missing"),
        (jwt.InvalidSignatureError, "its signature is wrong"),
    ):
        if isinstance(error, kind):
            return text
    return "it cannot be read"
