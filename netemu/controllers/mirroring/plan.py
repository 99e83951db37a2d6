"""EndpointSlices for Endpoints that people write themselves, for Services without a selector. Pure.

https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from netemu.api import core, discovery, meta, wellknown
from netemu.controllers import ownership
from netemu.controllers.endpointslice import endpoints
from netemu.controllers.endpointslice import plan as slices

MANAGER: Final = "endpointslicemirroring-controller.k8s.io"
_LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED: Final = (wellknown.LAST_APPLIED, wellknown.TRIGGER_TIME)
_MAX_ADDRESSES: Final = 1000  # of each subset

_Group = tuple[str, endpoints.Ports]  # family and ports


def is_mirrored(service: core.Service | None, found: core.Endpoints | None) -> bool:
    """Only of a Service without a selector, and only if nobody asked otherwise."""
    return (
        service is not None
        and found is not None
        and not service.spec.selector
        and service.spec.type != "ExternalName"
        and found.metadata.labels.get(wellknown.SKIP_MIRROR) != "true"
        and _LEADER not in found.metadata.annotations
    )


def plan(
    service: core.Service | None,
    found: core.Endpoints | None,
    current: Iterable[discovery.EndpointSlice],
) -> slices.Changes:
    """`current`: the slices this controller made for the Service of that name."""
    left = {_group_of(one): one for one in current if not one.metadata.deletionTimestamp}
    surplus = [one for one in current if left.get(_group_of(one)) is not one]
    create, update = [], []
    if found is not None and is_mirrored(service, found):
        for group, wanted in _groups(found).items():
            base = left.pop(group, None)
            new = _slice(found, group, tuple(wanted), base)
            if base is None:
                create.append(new)
            elif not _same(base, new):
                update.append(new)
    return slices.Changes(tuple(create), tuple(update), (*left.values(), *surplus))


def _groups(found: core.Endpoints) -> dict[_Group, list[discovery.Endpoint]]:
    groups: dict[_Group, list[discovery.Endpoint]] = {}
    for subset in found.subsets:
        ports = endpoints.port_key(
            tuple(
                discovery.EndpointPort(
                    name=p.name, protocol=p.protocol or "TCP", port=p.port, appProtocol=p.appProtocol
                )
                for p in subset.ports
            )
        )
        rows = [(one, True) for one in subset.addresses] + [(one, False) for one in subset.notReadyAddresses]
        for address, ready in rows[:_MAX_ADDRESSES]:
            family = f"IPv{ipaddress.ip_address(address.ip).version}"
            groups.setdefault((family, ports), []).append(_endpoint(address, ready=ready))
    return groups


def _endpoint(address: core.EndpointAddress, *, ready: bool) -> discovery.Endpoint:
    return discovery.Endpoint(
        addresses=(address.ip,),
        conditions=discovery.EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        nodeName=address.nodeName or None,
        targetRef=address.targetRef,
    )


def _slice(
    found: core.Endpoints,
    group: _Group,
    wanted: tuple[discovery.Endpoint, ...],
    base: discovery.EndpointSlice | None,
) -> discovery.EndpointSlice:
    about = found.metadata
    labels = {**about.labels, wellknown.SERVICE_NAME: about.name, slices.MANAGED_BY: MANAGER}
    annotations = {key: value for key, value in about.annotations.items() if key not in _NOT_COPIED}
    owners = (ownership.reference(found),)
    if base is None:
        metadata = meta.ObjectMeta(
            generateName=f"{about.name}-",
            namespace=about.namespace,
            labels=labels,
            annotations=annotations,
            ownerReferences=owners,
        )
    else:
        metadata = msgspec.structs.replace(
            base.metadata, labels=labels, annotations=annotations, ownerReferences=owners
        )
    family, ports = group
    return discovery.EndpointSlice(metadata=metadata, addressType=family, ports=ports, endpoints=wanted)


def _group_of(one: discovery.EndpointSlice) -> _Group:
    return one.addressType, endpoints.port_key(one.ports)


def _same(one: discovery.EndpointSlice, other: discovery.EndpointSlice) -> bool:
    return (
        one.endpoints == other.endpoints
        and one.metadata.labels == other.metadata.labels
        and one.metadata.annotations == other.metadata.annotations
        and one.metadata.ownerReferences == other.metadata.ownerReferences
    )
