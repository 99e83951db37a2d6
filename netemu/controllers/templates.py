"""Pods made of templates (upstream: GetPodFromTemplate). What differs by controller is its own to say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from netemu.api import core, meta
from netemu.controllers import ownership

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def pod(
    owner: meta.Object,
    template: core.PodTemplateSpec,
    spec: core.PodSpec,
    *,
    name: str = "",
    prefix: str = "",
    labels: Mapping[str, str] = _NOTHING,
    annotations: Mapping[str, str] = _NOTHING,
    finalizers: tuple[str, ...] = (),
) -> core.Pod:
    """A pod that `owner` controls. Without a `name` the API server completes `prefix` (default: the owner's
    name). Labels, annotations and finalizers come on top of the template's.
    """
    about = template.metadata
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            generateName="" if name else prefix or f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels={**about.labels, **labels},
            annotations={**about.annotations, **annotations},
            finalizers=(*about.finalizers, *finalizers),
            ownerReferences=(ownership.reference(owner),),
        ),
        spec=spec,
    )
