"""A small OpenID Connect provider over HTTP: correct by default, wrong where a test needs it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "css-log-backup", "the-secret-of-the-client"
Claims = dict[str, Any]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """Runs in a thread on its own port.

    Attributes:
        user: claims of whoever signs in at the provider next.
        change: what is done to the claims of an ID token before it is signed.
        sign: how they are signed, where not with `key`.
        answers: for a path, what is answered there in place of the right thing.
        asked: each request: method, path, fields.
        codes: the authorization codes that were given and not used.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
        self.user: Claims = {"sub": "s-1", "preferred_username": "anna", "groups": []}
        self.change: Callable[[Claims], Claims] = lambda claims: claims
        self.sign: Callable[[Claims], str] = self.signed
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.userinfo: Claims | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def signed(self, claims: Claims, key: RSAKey | None = None, **header: str) -> str:
        """Return a valid RS256 ID token, with the given changes."""
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": "first", **header}, claims, key)

    def unsigned(self, claims: Claims) -> str:
        """With the algorithm "none"."""
        return self._by_hand({"alg": "none", "kid": "first"}, claims, lambda _text: b"")

    def signed_with_the_public_key(self, claims: Claims) -> str:
        """HS256 with the public key as its secret."""
        public = self.key.as_pem(private=False)
        return self._by_hand(
            {"alg": "HS256", "kid": "first", "typ": "JWT"},
            claims,
            lambda text: hmac.new(public, text, hashlib.sha256).digest(),
        )

    @staticmethod
    def _by_hand(header: dict[str, str], claims: Claims, sign: Callable[[bytes], bytes]) -> str:
        parts = [_base64url(json.dumps(part).encode()) for part in (header, claims)]
        text = ".".join(parts)
        return f"{text}.{_base64url(sign(text.encode()))}"

    # --- endpoints -----------------------------------------------------------------------------

    def discovery(self) -> Claims:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo else {}),
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def authorize(self, sent: dict[str, str]) -> str:
        """Return the redirect for a correct request."""
        assert sent["client_id"] == CLIENT_ID
        assert sent["response_type"] == "code"
        assert "openid" in sent["scope"].split()
        assert sent["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = sent
        return f"{sent['redirect_uri']}?{urlencode({'code': code, 'state': sent['state']})}"

    def token(self, sent: dict[str, str]) -> tuple[int, Claims]:
        began = self.codes.pop(sent.get("code", ""), None)
        verifier = sent.get("code_verifier", "")
        challenge = _base64url(hashlib.sha256(verifier.encode()).digest())
        if sent.get("client_secret") != CLIENT_SECRET or sent.get("client_id") != CLIENT_ID:
            return 401, {"error": "invalid_client"}
        if (
            began is None
            or began["redirect_uri"] != sent.get("redirect_uri")
            or began["code_challenge"] != challenge
        ):
            return 400, {"error": "invalid_grant", "error_description": "<b>code</b>"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": began["nonce"],
            **self.user,
        }
        token = self.sign(self.change(claims))
        return 200, {"access_token": "an-access-token", "token_type": "Bearer", "id_token": token}


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer("GET", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer("POST", parse_qs(body.decode()))

        def _answer(self, method: str, form: dict[str, list[str]]) -> None:
            parts = urlsplit(self.path)
            sent = {key: values[-1] for key, values in {**parse_qs(parts.query), **form}.items()}
            provider.asked.append((method, parts.path, sent))
            if parts.path in provider.answers:
                provider.answers[parts.path](self)
            elif parts.path == "/.well-known/openid-configuration":
                self._json(200, provider.discovery())
            elif parts.path == "/keys":
                self._json(200, {"keys": [provider.key.as_dict(private=False)]})
            elif parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(sent))
                self.end_headers()
            elif parts.path == "/token" and method == "POST":
                self._json(*provider.token(sent))
            elif parts.path == "/userinfo" and provider.userinfo is not None:
                assert self.headers["Authorization"] == "Bearer an-access-token"
                self._json(200, provider.userinfo)
            else:
                self._json(404, {})

        def _json(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def plain(status: int, body: bytes = b"", **headers: str) -> Callable[..., None]:
    """An answer with these bytes, for `Provider.answers`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer
