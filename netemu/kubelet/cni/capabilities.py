"""What a pod asks of its network besides an address, in the words of CNI's capabilities. Pure.

Names and shapes are those of the conventions document (CONVENTIONS.md) and of containerd's CRI plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netemu.api import quantities
from netemu.base import errors
from netemu.kubelet import etc
from netemu.wire import cri

ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
_RATES = (("ingress", "kubernetes.io/ingress-bandwidth"), ("egress", "kubernetes.io/egress-bandwidth"))
_LEAST, _MOST = 1000, 10**15  # bits a second, as kubelet limits them
_BURST = 2**32 - 1  # as containerd: as much as may be


def offers(config: cri.SandboxConfig, *, cgroup: str = "", ranges: tuple[str, ...] = ()) -> dict[str, Any]:
    """For a sandbox. `cgroup`: its path below the root; `ranges`: the node's pod ranges, either family.

    Rejected for a bandwidth that is none.
    """
    resolver = etc.parse(config.resolv_conf)
    dns = {
        "servers": list(resolver.nameservers),
        "searches": list(resolver.searches),
        "options": list(resolver.options),
    }
    found: dict[str, Any] = {
        "portMappings": [_port(mapping) for mapping in config.port_mappings],
        "bandwidth": bandwidth(config.annotations),
        "dns": {key: value for key, value in dns.items() if value},
        "ipRanges": [[{"subnet": subnet}] for subnet in ranges],
        "cgroupPath": cgroup,
        ANNOTATIONS: dict(config.annotations),
    }
    return {name: value for name, value in found.items() if value}


def _port(mapping: cri.PortMapping) -> dict[str, Any]:
    document: dict[str, Any] = {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": mapping.protocol.lower(),
    }
    if mapping.host_ip:
        document["hostIP"] = mapping.host_ip
    return document


def bandwidth(annotations: Mapping[str, str]) -> dict[str, int]:
    """From a pod's annotations, in bits a second. Rejected with upstream's words for what is no rate."""
    found: dict[str, int] = {}
    for way, key in _RATES:
        text = annotations.get(key)
        if text is None:
            continue
        try:
            rate = quantities.whole(text)
        except quantities.Malformed:
            raise errors.Rejected(f"failed to get pod bandwidth: {key}: {text!r} is no quantity") from None
        if not _LEAST <= rate <= _MOST:
            which = "small (< 1kbit/s)" if rate < _LEAST else "large (> 1Pbit/s)"
            raise errors.Rejected(f"failed to get pod bandwidth: {key}: resource is unreasonably {which}")
        found |= {f"{way}Rate": rate, f"{way}Burst": _BURST}
    return found
