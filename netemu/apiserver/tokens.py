"""Service-account tokens: JSON Web Tokens signed with ES256 (RFC 7515, 7518, 7519; KEP-1205).

Knows claims, signatures and expiry. Does not know whether the account still exists.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from netemu.base import clock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://kubernetes.default.svc.cluster.local"
_KEY = "netemu"  # the name of the only one
_REMEMBERED = 4096
_BOUND = ("pod", "secret", "node")


class Claims(NamedTuple):
    """What a token says. Times are Unix seconds."""

    namespace: str
    account: str
    account_uid: str
    bound: tuple[tuple[str, str, str], ...]  # what it ends with: "pod", "secret" or "node"; its name, its uid
    audiences: tuple[str, ...]
    issued: int
    expires: int
    id: str

    @property
    def subject(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.account}"


class Issuer:
    """Signs with the private key (PEM) and trusts what it signed."""

    def __init__(self, key_pem: bytes, clock: clock.Clock, *, audience: str = ISSUER) -> None:
        self._pem = key_pem
        self._clock = clock
        self.audience = audience
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._verified: dict[str, Claims] = {}

    def sign(self, claims: Claims) -> str:
        """The token."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        header = _encode(msgspec.json.encode({"alg": "ES256", "typ": "JWT", "kid": _KEY}))
        signed = f"{header}.{_encode(msgspec.json.encode(_payload(claims)))}"
        r, s = utils.decode_dss_signature(self._private().sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def keys(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set (RFC 7517, RFC 7518 6.2), for whoever verifies himself."""
        numbers = self._private().public_key().public_numbers()
        point = {axis: _encode(getattr(numbers, axis).to_bytes(32, "big")) for axis in ("x", "y")}
        key = {"use": "sig", "kty": "EC", "kid": _KEY, "crv": "P-256", "alg": "ES256", **point}
        return {"keys": [key]}

    def verify(self, token: str, audiences: tuple[str, ...] = ()) -> Claims | None:
        """What the token says if it is ours, not expired and meant for one of the audiences."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._check(token)
            if claims is None:
                return None
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[token] = claims
        if claims.expires <= self._clock.now():
            return None
        wanted = audiences or (self.audience,)
        return claims if set(wanted) & set(claims.audiences) else None

    def _check(self, token: str) -> Claims | None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        try:
            head, body, signature = token.split(".")
            raw = _decode(signature)
            if msgspec.json.decode(_decode(head)).get("alg") != "ES256" or len(raw) != 64:
                return None
            pair = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            self._private().public_key().verify(
                utils.encode_dss_signature(*pair), f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())
            )
            return _claims(msgspec.json.decode(_decode(body)))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature, msgspec.MsgspecError):
            return None

    def _private(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import ec

            key = serialization.load_pem_private_key(self._pem, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
        return self._key


def discovery(keys_url: str) -> dict[str, Any]:
    """Where the issuer's keys are, as OpenID Connect Discovery 1.0 says it."""
    return {
        "issuer": ISSUER,
        "jwks_uri": keys_url,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def _payload(claims: Claims) -> dict[str, Any]:
    about: dict[str, Any] = {
        "namespace": claims.namespace,
        "serviceaccount": {"name": claims.account, "uid": claims.account_uid},
    }
    for what, name, uid in claims.bound:
        about[what] = {"name": name, "uid": uid}
    return {
        "aud": list(claims.audiences),
        "exp": claims.expires,
        "iat": claims.issued,
        "iss": ISSUER,
        "jti": claims.id,
        "kubernetes.io": about,
        "nbf": claims.issued,
        "sub": claims.subject,
    }


def _claims(payload: dict[str, Any]) -> Claims:
    about = payload["kubernetes.io"]
    account = about["serviceaccount"]
    return Claims(
        about["namespace"],
        account["name"],
        account["uid"],
        tuple((what, about[what]["name"], about[what]["uid"]) for what in _BOUND if what in about),
        tuple(payload["aud"]),
        int(payload["iat"]),
        int(payload["exp"]),
        payload["jti"],
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
