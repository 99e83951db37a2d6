"""Where the traffic of a Service should stay: topology hints on ready endpoints. Pure.

KEP-4444, KEP-3015 (spec.trafficDistribution). The older annotation topology-mode: Auto has precedence over
it; hints by CPU share, which that asks for, are not given: proxies then use all endpoints, as they do
wherever Auto finds too few.
"""

from typing import Final

import msgspec

from netemu.api import core, discovery

_MODE: Final = "service.kubernetes.io/topology-mode"
_OLD_MODE: Final = "service.kubernetes.io/topology-aware-hints"
_BY_ZONE: Final = ("PreferClose", "PreferSameZone")
_BY_NODE: Final = "PreferSameNode"


def distribution(service: core.Service) -> str:
    """What the Service asks for, or empty."""
    annotations = service.metadata.annotations
    if (annotations.get(_MODE) or annotations.get(_OLD_MODE, "")).lower() == "auto":
        return ""
    wanted = service.spec.trafficDistribution or ""
    return wanted if wanted in (*_BY_ZONE, _BY_NODE) else ""


def hinted(endpoint: discovery.Endpoint, wanted: str) -> discovery.Endpoint:
    """The endpoint with the hints it should have."""
    zones: tuple[discovery.ForZone, ...] = ()
    nodes: tuple[discovery.ForNode, ...] = ()
    if wanted and endpoint.conditions.ready is not False:
        if endpoint.zone:
            zones = (discovery.ForZone(name=endpoint.zone),)
        if wanted == _BY_NODE and endpoint.nodeName:
            nodes = (discovery.ForNode(name=endpoint.nodeName),)
    if not zones and not nodes:
        return endpoint
    return msgspec.structs.replace(endpoint, hints=discovery.EndpointHints(forZones=zones, forNodes=nodes))
