"""How well the proxy is, as values and as HTTP answers. Knows no socket; who asks it says what time it is.

A proxy is unhealthy when a change has waited for longer than `PATIENCE`. `/healthz` also says whether the
node is there to stay (load balancers drain it else, KEP-3836); `/livez` does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from netemu.api import core, meta, wellknown
from netemu.base import clock
from netemu.http import messages
from netemu.kubeproxy import changes, metrics

PATIENCE = 60.0  # seconds; twice kube-proxy's syncPeriod
PROGRAMMED = "x-netemu-programmed"  # header: up to which revisions Services and EndpointSlices are programmed


class Check(NamedTuple):
    """What the health-check node port of one Service tells."""

    port: int
    endpoints: int


class Health:
    """When changes came and were programmed. `now` is monotonic seconds, `at` unix seconds."""

    def __init__(self) -> None:
        self.eligible = True
        self.programmed = (0, 0)  # revisions of Services and of EndpointSlices
        self.updated: float | None = None
        self._waiting_since: float | None = None

    def queued(self, now: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = now

    def synced(self, at: float) -> None:
        self.updated = at
        self._waiting_since = None

    def healthy(self, now: float) -> bool:
        if self._waiting_since is None:
            return self.updated is not None
        return now - self._waiting_since < PATIENCE and self.updated is not None

    def see(self, node: core.Node | None) -> None:
        """The node as it is now; None: it was deleted."""
        self.eligible = (
            node is not None
            and node.metadata.deletionTimestamp is None
            and not any(taint.key == wellknown.TO_BE_DELETED for taint in node.spec.taints)
        )

    def document(self, at: float, now: float) -> dict[str, Any]:
        updated, well = clock.rfc3339_micro(self.updated or 0.0), self.healthy(now)
        return {
            "lastUpdated": updated,
            "currentTime": clock.rfc3339_micro(at),
            "nodeEligible": self.eligible,
            "healthy": well,
            "status": {family: {"lastUpdated": updated, "healthy": well} for family in metrics.FAMILIES},
        }


def healthz(health: Health, counted: metrics.Metrics, path: str, time: clock.Clock) -> messages.Response:
    """The answer on the node's own health port."""
    now = time.monotonic()
    well = health.healthy(now)
    if path == "/healthz":
        well = well and health.eligible
    elif path != "/livez":
        return plain(404, "404 page not found\n")
    status = 200 if well else 503
    counted.add(f"proxy_{path[1:]}_total", 1, (("code", str(status)),))
    programmed = (PROGRAMMED, "services={} endpoints={}".format(*health.programmed))
    return _json(status, health.document(time.now(), now), programmed)


def served(key: meta.Key, check: Check, healthy: bool) -> messages.Response:
    """The answer on a Service's health-check node port: 200 only where a load balancer should send."""
    status = 200 if check.endpoints and healthy else 503
    document = {
        "service": {"namespace": key.namespace, "name": key.name},
        "localEndpoints": check.endpoints,
        "serviceProxyHealthy": healthy,
    }
    weight = ("x-load-balancing-endpoint-weight", str(check.endpoints))
    return _json(status, document, weight)


def check(state: changes.State, node: str) -> Check | None:
    """None when the Service has no such port. Counts this node's ready endpoints: who terminates is none."""
    service = state.service
    if service is None or not service.health_check_node_port or not service.external_local:
        return None
    ready = {e.ip for s in state.slices for e in s.endpoints if e.ready and e.node == node}
    return Check(service.health_check_node_port, len(ready))


def admin(
    path: str, counted: metrics.Metrics, settings: Mapping[str, Any], healthy: bool
) -> messages.Response:
    """The answer on the metrics port."""
    if path == "/metrics":
        kind = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
        return messages.Response(200, (kind,), counted.text().encode())
    if path == "/proxyMode":
        return plain(200, str(settings["mode"]))
    if path == "/healthz":
        return plain(200, "ok") if healthy else plain(503, "not synced\n")
    if path == "/configz":
        return _json(200, {"kubeproxy.config.k8s.io": dict(settings)})
    return plain(404, "404 page not found\n")


def plain(status: int, text: str) -> messages.Response:
    return messages.Response(status, (("content-type", "text/plain; charset=utf-8"),), text.encode())


def _json(status: int, document: Mapping[str, Any], *more: tuple[str, str]) -> messages.Response:
    headers = (("content-type", "application/json"), ("x-content-type-options", "nosniff"), *more)
    return messages.Response(status, headers, (json.dumps(document, indent="\t") + "\n").encode())
