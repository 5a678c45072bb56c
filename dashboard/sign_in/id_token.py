"""Verification of ID tokens, as in OpenID Connect Core 1.0, section 3.1.3.7. Pure.

django-allauth trusts the connection to the token endpoint instead of the signature, and has no
nonce. This module always verifies both.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import jwt

# Neither "none" nor symmetric algorithms: anyone with the shared secret could sign.
ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}
REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]
LEEWAY = 60.0  # seconds of clock skew


class IdTokenRejected(Exception):
    """An ID token is invalid; the message says why and contains no part of the token."""


def verified_claims(
    token: object, keys: object, *, issuer: str, client_id: str, nonce: str
) -> dict[str, Any]:
    """Verify the signature, issuer, audience, times and nonce of an ID token; return its claims.

    Args:
        token: `id_token` of the token endpoint.
        keys: the parsed JSON Web Key Set of the provider.
        issuer: the expected issuer, compared exactly.
        client_id: the expected audience.
        nonce: the nonce of this sign-in; an empty one never matches.

    Raises:
        IdTokenRejected: a check failed.
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
    except (ValueError, TypeError, ArithmeticError, RecursionError):  # as in an infinite time
        raise IdTokenRejected("it cannot be read") from None
    if not nonce or not _same(claims["nonce"], nonce):
        raise IdTokenRejected("its nonce does not match this sign-in")
    for_many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if ("azp" in claims or for_many) and claims.get("azp") != client_id:
        raise IdTokenRejected("it was issued to another client")
    if not isinstance(claims["sub"], str) or not (
        0 < len(claims["sub"]) <= 255 and claims["sub"].isprintable()
    ):
        raise IdTokenRejected("its subject is invalid")
    return dict(claims)


def _key(keys: object, header: Mapping[str, Any]) -> jwt.PyJWK:
    """Return the key that the header of a token names, if it fits the algorithm."""
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
        raise IdTokenRejected("the provider has no matching key")
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
        (jwt.InvalidIssuerError, "it is from another issuer"),
        (jwt.MissingRequiredClaimError, "a claim is missing"),
        (jwt.InvalidSignatureError, "its signature is wrong"),
    ):
        if isinstance(error, kind):
            return text
    return "it cannot be read"
