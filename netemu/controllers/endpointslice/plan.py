"""The EndpointSlices a Service should have, reached with few changes. Pure.

One group of slices per address family and set of ports; at most 100 endpoints each; an empty group keeps a
placeholder. Source: k8s.io/endpointslice, Reconciler.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from netemu.api import core, discovery, meta, wellknown
from netemu.controllers import ownership
from netemu.controllers.endpointslice import endpoints, hints

MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS: Final = 100

_OWN_LABELS: Final = (MANAGED_BY, wellknown.SERVICE_NAME, wellknown.HEADLESS)
_Who = tuple[str, ...]  # an endpoint's identity


@dataclass(frozen=True, slots=True)
class Changes:
    """Writes, in the order to make them: what is new first, so that no endpoint is missing in between."""

    create: tuple[discovery.EndpointSlice, ...] = ()
    update: tuple[discovery.EndpointSlice, ...] = ()
    delete: tuple[discovery.EndpointSlice, ...] = ()


def plan(
    service: core.Service,
    pods: Sequence[core.Pod],
    nodes: Mapping[str, Mapping[str, str]],
    slices: Iterable[discovery.EndpointSlice],
    trigger_time: str = "",
) -> Changes:
    """`pods`: those the Service selects; `nodes`: labels by name; `slices`: its own, of this controller.

    `trigger_time`: when what is now written happened, for the annotation; empty when not known.
    """
    known = [one for one in slices if not one.metadata.deletionTimestamp]
    wanted = () if service.spec.type == "ExternalName" else endpoints.address_types(service)
    create: list[discovery.EndpointSlice] = []
    update: list[discovery.EndpointSlice] = []
    delete = [one for one in known if one.addressType not in wanted]
    for address_type in wanted:
        groups = endpoints.grouped(service, pods, nodes, address_type) or {(): []}
        frame = _Frame(service, address_type, hints.distribution(service), trigger_time)
        mine: dict[endpoints.Ports, list[discovery.EndpointSlice]] = {}
        for one in known:
            if one.addressType == address_type:
                mine.setdefault(endpoints.port_key(one.ports), []).append(one)
        placeholders: list[discovery.EndpointSlice] = []
        for ports in mine.keys() - groups.keys():
            placeholders.extend(mine[ports])
        for ports, wanted_endpoints in groups.items():
            changes = _group(frame, ports, wanted_endpoints, mine.get(ports, ()))
            create.extend(changes.create)
            update.extend(changes.update)
            delete.extend(changes.delete)
        delete.extend(placeholders)
    return Changes(*_reused(create, update, delete))


@dataclass(frozen=True, slots=True)
class _Frame:
    service: core.Service
    address_type: str
    distribution: str
    trigger_time: str

    def slice(
        self,
        ports: endpoints.Ports,
        wanted: Iterable[discovery.Endpoint],
        base: discovery.EndpointSlice | None = None,
    ) -> discovery.EndpointSlice:
        """A new slice, or `base` with this content."""
        service = self.service
        labels = labels_of(service)
        annotations = dict(base.metadata.annotations) if base is not None else {}
        annotations.pop(wellknown.TRIGGER_TIME, None)
        if self.trigger_time:
            annotations[wellknown.TRIGGER_TIME] = self.trigger_time
        if base is None:
            metadata = meta.ObjectMeta(
                generateName=f"{service.metadata.name}-",
                namespace=service.metadata.namespace,
                labels=labels,
                annotations=annotations,
                ownerReferences=(ownership.reference(service),),
            )
        else:
            metadata = msgspec.structs.replace(
                base.metadata,
                labels=labels,
                annotations=annotations,
                ownerReferences=(ownership.reference(service),),
            )
        return discovery.EndpointSlice(
            metadata=metadata,
            addressType=self.address_type,
            ports=ports,
            endpoints=tuple(hints.hinted(one, self.distribution) for one in wanted),
        )


def labels_of(service: core.Service) -> dict[str, str]:
    """The Service's own labels, and the three which say what a slice is."""
    labels = {key: value for key, value in service.metadata.labels.items() if key not in _OWN_LABELS}
    if service.spec.clusterIP in ("", "None") and service.spec.type != "ExternalName":
        labels[wellknown.HEADLESS] = ""
    labels[wellknown.SERVICE_NAME] = service.metadata.name
    labels[MANAGED_BY] = MANAGER
    return labels


def _group(
    frame: _Frame,
    ports: endpoints.Ports,
    wanted: Sequence[discovery.Endpoint],
    slices: Sequence[discovery.EndpointSlice],
) -> Changes:
    """One family and port set: endpoints stay in their slice; new ones fill changed slices, then the emptiest
    fitting.
    """
    missing = {_who(one): hints.hinted(one, frame.distribution) for one in wanted}
    contents: list[list[discovery.Endpoint]] = []
    for one in slices:
        kept = [missing.pop(_who(old)) for old in one.endpoints if _who(old) in missing]
        contents.append(kept)
    changed = [
        tuple(kept) != one.endpoints or not _same_frame(frame, one)
        for one, kept in zip(slices, contents, strict=True)
    ]
    rest = list(missing.values())
    for index in sorted(range(len(slices)), key=lambda i: -len(contents[i])):
        if rest and changed[index]:
            _fill(contents[index], rest)
    for index in sorted(range(len(slices)), key=lambda i: -len(contents[i])):
        # A slice in which all that is left fits is worth a write; splitting the rest over several is not.
        if rest and len(contents[index]) + len(rest) <= MAX_ENDPOINTS:
            _fill(contents[index], rest)
            changed[index] = True
    create = []
    while rest:
        create.append(frame.slice(ports, rest[:MAX_ENDPOINTS]))
        del rest[:MAX_ENDPOINTS]
    empty = [index for index in range(len(slices)) if not contents[index]]
    keep_empty = empty[:1] if len(empty) == len(slices) and not create else []
    if not slices and not create:
        create.append(frame.slice(ports, ()))
    return Changes(
        tuple(create),
        tuple(
            frame.slice(ports, contents[index], one)
            for index, one in enumerate(slices)
            if changed[index] and (contents[index] or index in keep_empty)
        ),
        tuple(one for index, one in enumerate(slices) if index in empty and index not in keep_empty),
    )


def _fill(content: list[discovery.Endpoint], rest: list[discovery.Endpoint]) -> None:
    room = MAX_ENDPOINTS - len(content)
    content.extend(rest[:room])
    del rest[:room]


def _who(endpoint: discovery.Endpoint) -> _Who:
    target = endpoint.targetRef
    return (target.namespace, target.name, target.uid) if target is not None else endpoint.addresses


def _same_frame(frame: _Frame, one: discovery.EndpointSlice) -> bool:
    owner = ownership.controller(one)
    return (
        one.metadata.labels == labels_of(frame.service)
        and owner is not None
        and owner.uid == frame.service.metadata.uid
    )


def _reused(
    create: list[discovery.EndpointSlice],
    update: list[discovery.EndpointSlice],
    delete: list[discovery.EndpointSlice],
) -> tuple[
    tuple[discovery.EndpointSlice, ...],
    tuple[discovery.EndpointSlice, ...],
    tuple[discovery.EndpointSlice, ...],
]:
    """A slice to be deleted serves as the one to be created, if the family is the same: one write instead of
    two.
    """
    left = []
    for new in create:
        old = next((one for one in delete if one.addressType == new.addressType), None)
        if old is None:
            left.append(new)
            continue
        delete.remove(old)
        metadata = msgspec.structs.replace(
            old.metadata,
            labels=new.metadata.labels,
            annotations=new.metadata.annotations,
            ownerReferences=new.metadata.ownerReferences,
        )
        update.append(msgspec.structs.replace(new, metadata=metadata))
    return tuple(left), tuple(update), tuple(delete)
