"""How to reach an API server: by kubeconfig, from inside a pod, or by certificate files.

Knows where credentials lie and turns them into a TLS context. Certificates are checked, always.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netemu.base import clock, errors
from netemu.client import api
from netemu.http import client, messages, tls

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class _Bearer:
    """A transport which shows a token; the token is asked for each time, for it may be renewed."""

    def __init__(self, connections: client.Connections, token: Callable[[], str]) -> None:
        self._connections = connections
        self._token = token

    async def send(self, request: messages.Request) -> messages.Response:
        headers = (*request.headers, ("authorization", f"Bearer {self._token()}"))
        return await self._connections.send(
            messages.Request(request.method, request.path, request.query, headers, request.body)
        )

    async def close(self) -> None:
        await self._connections.close()


def over(
    url: str,
    ca: tls.Pem,
    cert: tls.Pem | None = None,
    key: tls.Pem | None = None,
    *,
    user_agent: str = "netemu",
) -> api.Client:
    """A client with a client certificate. Paths are files, bytes are PEM themselves. Rejected."""
    return api.Client(client.Connections(url, tls.client(ca, cert, key)), user_agent=user_agent)


def in_cluster(*, user_agent: str = "netemu", directory: Path = _SERVICE_ACCOUNT) -> api.Client:
    """A client from inside a pod, by its projected service-account token. Rejected when there is none."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (directory / "token").exists():
        raise errors.Rejected("not in a pod", hint="KUBERNETES_SERVICE_HOST and a mounted token are needed")
    host = f"[{host}]" if ":" in host else host
    connections = client.Connections(f"https://{host}:{port}", tls.client(directory / "ca.crt", None, None))
    token = _RenewedToken(directory / "token", clock.SystemClock())
    return api.Client(_Bearer(connections, token), user_agent=user_agent)


class _RenewedToken:
    """The token file, read again once a minute: the kubelet renews it in place."""

    def __init__(self, path: Path, clock: clock.Clock) -> None:
        self._path = path
        self._clock = clock
        self._read_at = float("-inf")
        self._token = ""

    def __call__(self) -> str:
        now = self._clock.monotonic()
        if now - self._read_at > 60:
            self._token = self._path.read_text().strip()
            self._read_at = now
        return self._token


def from_kubeconfig(path: Path | str, *, context: str = "", user_agent: str = "netemu") -> api.Client:
    """A client by a kubeconfig's current (or named) context. Rejected with what is missing."""
    import yaml

    path = Path(path)
    try:
        config = yaml.safe_load(path.read_text())
        name = context or config["current-context"]
        chosen = _named(config["contexts"], name)["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"])["user"]
        url = cluster["server"]
    except OSError as error:
        raise errors.Rejected(f"cannot read kubeconfig {path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise errors.Rejected(f"cannot read kubeconfig {path}: {said}") from None
    except KeyError as error:
        raise errors.Rejected(f"kubeconfig {path} lacks {error}") from None
    except TypeError:
        raise errors.Rejected(f"{path} is no kubeconfig") from None
    ca = _entry(cluster, "certificate-authority", path.parent)
    cert = _entry(user, "client-certificate", path.parent)
    key = _entry(user, "client-key", path.parent)
    connections = client.Connections(url, tls.client(ca, cert, key))
    token = str(user.get("token", ""))
    transport: messages.Transport = _Bearer(connections, lambda: token) if token else connections
    return api.Client(transport, user_agent=user_agent)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _entry(section: dict[str, Any], name: str, base: Path) -> tls.Pem | None:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return base / section[name] if name in section else None
