"""A pod's further networks, as Multus users ask for them, and what they are told about all of them. Pure.

Specification: Kubernetes Network Custom Resource Definition De-facto Standard, version 1.3
(k8snetworkplumbingwg/multi-net-spec).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.wire import cni, conflists

NETWORKS = "k8s.v1.cni.cncf.io/networks"
STATUS = "k8s.v1.cni.cncf.io/network-status"
GROUP, VERSION, PLURAL = "k8s.cni.cncf.io", "v1", "network-attachment-definitions"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_SHORT = re.compile(r"(?:(?P<namespace>[^/@]+)/)?(?P<name>[^/@]+)(?:@(?P<interface>[^/@]+))?")
_UNSUPPORTED = ("default-route", "device-id", "infiniband-guid")


class Selection(NamedTuple):
    """One further network. `interface` in the pod; `capabilities` are given to plugins that declare them."""

    namespace: str
    name: str
    interface: str
    arguments: tuple[tuple[str, str], ...] = ()
    capabilities: Mapping[str, Any] = {}
    config_arguments: Mapping[str, Any] = {}

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"


def selections(annotations: Mapping[str, str], namespace: str) -> tuple[Selection, ...]:
    """What a pod's annotation asks for: `name`, `namespace/name@interface`, ... or a JSON list.

    Interfaces without a name are net1, net2 ... by their place in the list. Rejected for what is malformed.
    """
    text = annotations.get(NETWORKS, "").strip()
    if not text:
        return ()
    found = _listed(text) if text.startswith("[") else [_short(part.strip()) for part in text.split(",")]
    chosen = tuple(_selection(one, namespace, number) for number, one in enumerate(found, 1))
    names = [one.interface for one in chosen]
    for name in names:
        if name == "eth0" or names.count(name) > 1:
            raise _bad(f"interface {name} is used twice")
    return chosen


def _listed(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError as problem:
        raise _bad(
            f"failed to parse pod Network Attachment Selection Annotation JSON format: {problem}"
        ) from None
    if not all(isinstance(one, dict) for one in found):
        raise _bad("a network is not an object")
    return list(found)


def _short(text: str) -> dict[str, Any]:
    match = _SHORT.fullmatch(text)
    if match is None:
        raise _bad(f"Invalid network object {text!r}")
    return {key: value for key, value in match.groupdict().items() if value}


def _selection(document: Mapping[str, Any], namespace: str, number: int) -> Selection:
    name, where = document.get("name"), document.get("namespace") or namespace
    for part in (name, where):
        if not isinstance(part, str) or not _NAME.fullmatch(part):
            raise _bad(f"{part!r} is no name of a network or namespace")
    for key in _UNSUPPORTED:
        if document.get(key):
            raise _bad(f"{name}: {key} is not offered here")
    interface = document.get("interface") or f"net{number}"
    try:
        cni.check_ifname(interface)
    except (cni.Failure, AttributeError, TypeError) as problem:
        raise _bad(f"{name}: {problem}") from None
    offered = {
        "ips": document.get("ips"),
        "mac": document.get("mac"),
        "portMappings": document.get("portMappings"),
        "bandwidth": document.get("bandwidth"),
    }
    mac = document.get("mac")
    return Selection(
        where,
        str(name),
        interface,
        (("MAC", mac),) if mac else (),
        {key: value for key, value in offered.items() if value},
        document.get("cni-args") or {},
    )


def _bad(what: str) -> errors.Rejected:
    return errors.Rejected(f"annotation {NETWORKS}: {what}")


def network(chosen: Selection, config: str) -> conflists.ConfigList:
    """A definition's `spec.config` as a list; one without a name has the definition's. Failure."""
    document = json.loads(config) if config.strip().startswith("{") else None
    if not isinstance(document, dict):
        raise cni.Failure(cni.DECODING_FAILURE, f"{chosen.title}: spec.config is not a JSON object")
    document.setdefault("name", chosen.name)
    document.setdefault("cniVersion", "0.3.1")
    return with_arguments(chosen, conflists.complete(conflists.parse(json.dumps(document).encode())))


def with_arguments(chosen: Selection, found: conflists.ConfigList) -> conflists.ConfigList:
    """The list with a selection's `cni-args` in every plugin's `args.cni`."""
    if not chosen.config_arguments:
        return found
    document = json.loads(found.text)
    for plugin in document["plugins"]:
        known = plugin.get("args") or {}
        plugin["args"] = {**known, "cni": {**(known.get("cni") or {}), **chosen.config_arguments}}
    return conflists.parse(json.dumps(document).encode())


def status(attached: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """The annotation network-status, from (name, interface, result); the first is the default network."""
    return json.dumps([_status(*one, default=number == 0) for number, one in enumerate(attached)], indent=4)


def _status(name: str, ifname: str, document: Mapping[str, Any], *, default: bool) -> dict[str, Any]:
    result = cni.result(dict(document))
    inside = [each for each in result.interfaces if each.sandbox and each.name == ifname]
    link = inside[0] if inside else cni.Interface(ifname)
    ips = conflists.addresses(result, ifname)
    found: dict[str, Any] = {"name": name, "interface": ifname, "ips": [str(ip.address.ip) for ip in ips]}
    if link.mac:
        found["mac"] = link.mac
    if link.mtu:
        found["mtu"] = link.mtu
    if default:
        found["default"] = True
    found["dns"] = {key: value for key, value in (document.get("dns") or {}).items() if value}
    gateways: Sequence[str] = [str(ip.gateway) for ip in ips if ip.gateway is not None]
    if default and gateways:
        found["gateway"] = list(gateways)
    return found
