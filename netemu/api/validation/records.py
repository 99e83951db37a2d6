"""Rules for kinds that mostly hold data: ConfigMaps, Secrets, Events, Leases, Nodes."""

from __future__ import annotations

import base64

from netemu.api import addresses, coordination, core, names
from netemu.api.validation import placement
from netemu.api.validation.findings import (
    Findings,
    at_least,
    duplicate,
    forbidden,
    invalid,
    named,
    required,
    too_long,
    unchanged,
)

SIZE_LIMIT = 1024 * 1024
IMMUTABLE = "field is immutable when `immutable` is set"


def config_map(found: core.ConfigMap) -> Findings:
    for name in ("data", "binaryData"):
        for key in getattr(found, name):
            yield from named(f"{name}[{key}]", key, names.config_key(key))
    for key in sorted(found.data.keys() & found.binaryData.keys()):
        yield invalid(f"binaryData[{key}]", key, "duplicate of key present in data")
    size = sum(len(value.encode()) for value in found.data.values())
    if size + sum(map(_decoded_size, found.binaryData.values())) > SIZE_LIMIT:
        yield too_long("", SIZE_LIMIT)


def config_map_update(new: core.ConfigMap, old: core.ConfigMap) -> Findings:
    yield from config_map(new)
    if old.immutable:
        if not new.immutable:
            yield forbidden("immutable", IMMUTABLE)
        for name in ("data", "binaryData"):
            if getattr(new, name) != getattr(old, name):
                yield forbidden(name, IMMUTABLE)


def _decoded_size(text: str) -> int:
    return len(base64.b64decode(text, validate=False)) if text else 0


# A secret's type, and the keys without which it is none of that type.
_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def secret(found: core.Secret) -> Findings:
    for key in found.data:
        yield from named(f"data[{key}]", key, names.config_key(key))
    if sum(map(_decoded_size, found.data.values())) > SIZE_LIMIT:
        yield too_long("data", SIZE_LIMIT)
    for key in _SECRET_KEYS.get(found.type, ()):
        if key not in found.data:
            yield required(f"data[{key}]")
    if found.type == "kubernetes.io/service-account-token":
        annotation = "kubernetes.io/service-account.name"
        if not found.metadata.annotations.get(annotation):
            yield required(f"metadata.annotations[{annotation}]")
    if found.type == "kubernetes.io/basic-auth" and not {"username", "password"} & found.data.keys():
        yield required("data[username]")
        yield required("data[password]")


def secret_update(new: core.Secret, old: core.Secret) -> Findings:
    yield from secret(new)
    yield from unchanged("type", new.type, old.type)
    if old.immutable:
        if not new.immutable:
            yield forbidden("immutable", IMMUTABLE)
        if new.data != old.data:
            yield forbidden("data", IMMUTABLE)


def event(found: core.Event) -> Findings:
    """Lenient: an event must not be lost. Events about what has no namespace live in `default`."""
    about, own = found.involvedObject.namespace, found.metadata.namespace
    if about != own and not (not about and own in ("default", "kube-system")):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")


def lease(found: coordination.Lease) -> Findings:
    """An empty holder is how client-go's leader election releases a lease."""
    spec = found.spec
    yield from at_least("spec.leaseDurationSeconds", spec.leaseDurationSeconds, 1)
    yield from at_least("spec.leaseTransitions", spec.leaseTransitions)


def node(found: core.Node) -> Findings:
    yield from placement.taints(found.spec.taints, "spec.taints")
    cidrs = found.spec.podCIDRs
    for index, text in enumerate(cidrs):
        if addresses.parse_cidr(text) is None:
            yield invalid(f"spec.podCIDRs[{index}]", text, addresses.CIDR_MESSAGE)
    families = [addresses.family(text) for text in cidrs]
    if len(set(families)) < len(families):
        yield invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")
    seen = set()
    for index, address in enumerate(found.status.addresses):
        if address in seen:
            yield duplicate(f"status.addresses[{index}]", address)
        seen.add(address)


def node_update(new: core.Node, old: core.Node) -> Findings:
    yield from node(new)
    if old.spec.podCIDRs and new.spec.podCIDRs != old.spec.podCIDRs:
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if old.spec.providerID and new.spec.providerID != old.spec.providerID:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
