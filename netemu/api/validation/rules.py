"""Which rules hold for which kind: names, creation, update, and the subresources with rules of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from netemu.api import (
    apps,
    codec,
    coordination,
    core,
    discovery,
    extensions,
    kinds,
    names,
    networking,
    rbac,
    registration,
)
from netemu.api.validation import (
    definitions,
    furnishing,
    metadata,
    pods,
    policies,
    records,
    services,
    words,
    workloads,
)
from netemu.api.validation.findings import FieldError

Create = Callable[[Any], Iterator[FieldError]]
Update = Callable[[Any, Any], Iterator[FieldError]]

# Most objects are named like DNS subdomains.
_NAMING: dict[type, metadata.Naming] = {
    core.Namespace: names.label,
    core.Service: names.label_1035,
    networking.IPAddress: services.ip_name,
    rbac.ClusterRole: names.path_segment,
    rbac.ClusterRoleBinding: names.path_segment,
    rbac.Role: names.path_segment,
    rbac.RoleBinding: names.path_segment,
    registration.APIService: names.path_segment,
}

_CREATE: dict[type, Create] = {
    core.ConfigMap: records.config_map,
    core.Endpoints: services.endpoints,
    core.Event: records.event,
    core.Node: records.node,
    core.Pod: pods.check_create,
    core.Secret: records.secret,
    core.Service: services.check,
    apps.Deployment: workloads.deployment,
    apps.ReplicaSet: workloads.replica_set,
    coordination.Lease: records.lease,
    discovery.EndpointSlice: services.slice_,
    networking.IPAddress: services.ip_address,
    networking.NetworkPolicy: policies.check,
    networking.ServiceCIDR: services.service_cidr,
    extensions.CustomResourceDefinition: definitions.definition,
    **furnishing.CREATE,
}

# Where none stands, the rules of creation hold.
_UPDATE: dict[type, Update] = {
    core.ConfigMap: records.config_map_update,
    core.Node: records.node_update,
    core.Pod: pods.check_update,
    core.Secret: records.secret_update,
    core.Service: services.check_update,
    apps.Deployment: workloads.deployment_update,
    apps.ReplicaSet: workloads.replica_set_update,
    discovery.EndpointSlice: services.slice_update,
    networking.IPAddress: services.ip_address_update,
    networking.ServiceCIDR: services.service_cidr_update,
    extensions.CustomResourceDefinition: definitions.definition_update,
    **furnishing.UPDATE,
}

_SUBRESOURCES: dict[tuple[type, str], Update] = {
    (core.Pod, "ephemeralcontainers"): pods.check_ephemeral,
    (core.Pod, "resize"): pods.check_resize,
}


def check(
    kind: kinds.Kind, new: codec.Document, old: codec.Document | None = None, *, subresource: str = ""
) -> tuple[FieldError, ...]:
    """What is wrong with a document that has its defaults and no `schema.problems`.

    On an update, also what may not change from `old`. A write to `status`, `binding`, `scale` or `finalize`
    is held to the rules of the metadata only: it never touches the rest.
    """
    wish: Any = codec.convert(kind.type, new)
    found = list(
        metadata.check(
            wish.metadata, namespaced=kind.namespaced, naming=_NAMING.get(kind.type, names.subdomain)
        )
    )
    if kind.custom is not None:
        found += kind.custom.check(new, old)
    if old is None:
        found += words.check(new, kind.type)
        found += _CREATE[kind.type](wish) if kind.type in _CREATE else ()
        return tuple(found)
    have: Any = codec.convert(kind.type, old)
    found += metadata.check_update(wish.metadata, have.metadata)
    if not subresource:
        found += words.check(new, kind.type)
        found += _update(kind, wish, have)
    elif (kind.type, subresource) in _SUBRESOURCES:
        found += _SUBRESOURCES[kind.type, subresource](wish, have)
    return tuple(found)


def _update(kind: kinds.Kind, new: Any, old: Any) -> Iterator[FieldError]:
    if kind.type in _UPDATE:
        yield from _UPDATE[kind.type](new, old)
    elif kind.type in _CREATE:
        yield from _CREATE[kind.type](new)
