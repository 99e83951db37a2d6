"""What every answer needs: the server's parts, and one request with who asked and what for.

Values handed down from the server to the verbs; nothing is decided here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from netemu.api import kinds
from netemu.apiserver import (
    authentication,
    authorization,
    cache,
    catalogs,
    entries,
    paths,
    statuses,
    tokens,
    watching,
)
from netemu.base import clock
from netemu.http import messages
from netemu.store import revisions

if TYPE_CHECKING:
    import ssl

    from netemu.apiserver import allocations, callbacks
    from netemu.apiserver.admission import quotas, webhooks


@dataclass(frozen=True)
class Config:
    """What the server is told when it starts. Networks: the service ranges, the primary family first."""

    service_cidrs: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("10.96.0.0/16"),
        IPv6Network("fd00:96::/112"),
    )
    node_ports: tuple[int, int] = (30000, 32767)
    endpoints: tuple[str, ...] = ()  # addresses at which pods and nodes reach this server
    port: int = 6443
    ca_certificate: str = ""  # PEM, for kube-root-ca.crt
    git_version: str = "v1.33.1"
    watches: watching.Settings = field(default_factory=watching.Settings)
    remember: float = 300.0  # seconds for which changes are kept for watches and pages
    kubelet_port: int = 10250


@dataclass(frozen=True)
class Parts:
    """The server's inside."""

    config: Config
    store: revisions.Store
    cache: cache.Cache
    catalog: catalogs.Catalog
    clock: clock.Clock
    rng: random.Random
    issuer: tokens.Issuer
    authenticator: authentication.Authenticator
    authorizer: authorization.Authorizer
    services: allocations.Services
    quotas: quotas.Books
    callbacks: callbacks.Callbacks
    webhooks: webhooks.Webhooks
    kubelet_tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request about a resource. `warnings` go to the client with the answer."""

    parts: Parts
    request: messages.Request
    target: paths.Target
    user: authentication.User
    kind: kinds.Kind
    warnings: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.target.namespace

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def collection(self) -> cache.Collection:
        return self.parts.cache.of(self.kind)

    def key(self, name: str = "") -> str:
        """The store key of the object the call is about, or of another one of its kind and namespace."""
        return cache.key(self.kind, self.namespace, name or self.name)

    def transient(self, document: statuses.Document) -> entries.Entry:
        """An object that is shown and not stored."""
        return self.collection.shown(self.namespace, document)
