"""What a pod may read of itself: fields and resources, for variables and volumes (the downward API). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from netemu.api import core, quantities
from netemu.base import errors


class Self(NamedTuple):
    """The pod, its addresses as they are now, its node's, and what the node can give (for absent limits)."""

    pod: core.Pod
    ips: tuple[str, ...]
    node_ips: tuple[str, ...]
    allocatable: Mapping[str, str]


def field(me: Self, path: str) -> str:
    """The value at a fieldPath. Rejected for a path the downward API does not know."""
    name, key = _subscript(path)
    about, spec = me.pod.metadata, me.pod.spec
    if name == "metadata.labels":
        return about.labels.get(key, "") if key is not None else _table(about.labels)
    if name == "metadata.annotations":
        return about.annotations.get(key, "") if key is not None else _table(about.annotations)
    simple = {
        "metadata.name": about.name,
        "metadata.namespace": about.namespace,
        "metadata.uid": about.uid,
        "spec.nodeName": spec.nodeName,
        "spec.serviceAccountName": spec.serviceAccountName,
        "status.hostIP": me.node_ips[0] if me.node_ips else "",
        "status.hostIPs": ",".join(me.node_ips),
        "status.podIP": me.ips[0] if me.ips else "",
        "status.podIPs": ",".join(me.ips),
    }
    if path not in simple:
        raise errors.Rejected(f"unsupported fieldPath: {path}")
    return simple[path]


def _subscript(path: str) -> tuple[str, str | None]:
    """metadata.labels['a'] -> (metadata.labels, a)."""
    name, bracket, rest = path.partition("['")
    return (name, rest.removesuffix("']")) if bracket and rest.endswith("']") else (path, None)


def _table(values: Mapping[str, str]) -> str:
    return "".join(f"{key}={_go_quoted(value)}\n" for key, value in sorted(values.items())).rstrip("\n")


def _go_quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


def resource(me: Self, container: core.Container, selector: core.ResourceFieldSelector) -> str:
    """limits.cpu and its like, in units of the divisor, rounded up. An absent limit is the node's."""
    if selector.containerName and selector.containerName != container.name:
        everything = (*me.pod.spec.initContainers, *me.pod.spec.containers)
        named = [c for c in everything if c.name == selector.containerName]
        if not named:
            raise errors.Rejected(f"container {selector.containerName} not found")
        container = named[0]
    kind, _, name = selector.resource.partition(".")
    if kind not in ("limits", "requests") or not name:
        raise errors.Rejected(f"unsupported container resource: {selector.resource}")
    table = container.resources.limits if kind == "limits" else container.resources.requests
    text = table.get(name) or (me.allocatable.get(name, "0") if kind == "limits" else "0")
    divisor = (
        Fraction(quantities.parse(selector.divisor)) if selector.divisor not in ("", "0") else Fraction(1)
    )
    return str(math.ceil(Fraction(quantities.parse(text)) / divisor))
