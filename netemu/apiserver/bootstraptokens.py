"""Bootstrap tokens: `id.secret` pairs kept as secrets in kube-system, with which new nodes first speak.

Follows k8s.io/kubernetes plugin/pkg/auth/authenticator/token/bootstrap.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Any

from netemu.api import core, kinds
from netemu.apiserver import cache
from netemu.base import clock as clocks

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_TYPE = "bootstrap.kubernetes.io/token"
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def user(caches: cache.Cache, now: float, token: str) -> tuple[str, tuple[str, ...]] | None:
    """Name and groups a bootstrap token gives; None when it is none, has expired or is not for this."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    id_, secret = match.groups()
    found = caches.of(kinds.of(core.Secret)).get("kube-system", f"bootstrap-token-{id_}")
    if found is None:
        return None
    document = found.document()
    data = _texts(document.get("data") or {})
    if document.get("type") != _TYPE or "deletionTimestamp" in document["metadata"]:
        return None
    right = hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode())
    if not right or data.get("token-id") != id_ or data.get("usage-bootstrap-authentication") != "true":
        return None
    if _expired(data.get("expiration", ""), now):
        return None
    groups = [group for group in data.get("auth-extra-groups", "").split(",") if group]
    if not all(_GROUP.fullmatch(group) for group in groups):
        return None
    return f"system:bootstrap:{id_}", ("system:bootstrappers", *groups)


def _texts(data: dict[str, Any]) -> dict[str, str]:
    try:
        return {name: base64.b64decode(value).decode() for name, value in data.items()}
    except (binascii.Error, UnicodeDecodeError):
        return {}


def _expired(text: str, now: float) -> bool:
    if not text:
        return False
    try:
        return clocks.parse_rfc3339(text) <= now
    except ValueError:
        return True  # what cannot be read is not trusted
