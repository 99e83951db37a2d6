"""Rules for a pod's volumes."""

from __future__ import annotations

from netemu.api import core, names, shapes
from netemu.api.validation import containers
from netemu.api.validation.findings import (
    Findings,
    duplicate,
    forbidden,
    invalid,
    named,
    required,
    within,
)

# The one field without which a source means nothing.
_NEEDED = {
    "hostPath": "path",
    "configMap": "name",
    "secret": "secretName",
    "persistentVolumeClaim": "claimName",
    "csi": "driver",
}


def check(volumes: tuple[core.Volume, ...], path: str) -> Findings:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        if not volume.name:
            yield required(f"{here}.name")
        else:
            yield from named(f"{here}.name", volume.name, names.label(volume.name))
            if volume.name in seen:
                yield duplicate(f"{here}.name", volume.name)
        seen.add(volume.name)
        yield from _sources(volume, here)


def _sources(volume: core.Volume, path: str) -> Findings:
    chosen = [name for name in shapes.of(core.VolumeSource).properties if getattr(volume, name) is not None]
    if not chosen:
        yield required(path, "must specify a volume type")
    for name in chosen[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
    for name in chosen[:1]:
        needed = _NEEDED.get(name)
        if needed and not getattr(getattr(volume, name), needed):
            yield required(f"{path}.{name}.{needed}")
    if volume.emptyDir is not None and volume.emptyDir.sizeLimit is not None:
        yield from containers.not_negative(volume.emptyDir.sizeLimit, f"{path}.emptyDir.sizeLimit")
    if volume.hostPath is not None and ".." in volume.hostPath.path.split("/"):
        yield invalid(f"{path}.hostPath.path", volume.hostPath.path, "must not contain '..'")
    for source, name in ((volume.configMap, "configMap"), (volume.secret, "secret")):
        if source is not None:
            yield from within(f"{path}.{name}.defaultMode", source.defaultMode, 0, 0o777)
            yield from _items(source.items, f"{path}.{name}.items")
    if volume.downwardAPI is not None:
        yield from _downward(volume.downwardAPI.items, f"{path}.downwardAPI.items")
    if volume.projected is not None:
        yield from _projected(volume.projected, f"{path}.projected")


def _items(items: tuple[core.KeyToPath, ...], path: str) -> Findings:
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        if not item.key:
            yield required(f"{here}.key")
        if not item.path:
            yield required(f"{here}.path")
        yield from containers.relative(item.path, f"{here}.path")
        yield from within(f"{here}.mode", item.mode, 0, 0o777)


def _downward(items: tuple[core.DownwardAPIVolumeFile, ...], path: str) -> Findings:
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        if not item.path:
            yield required(f"{here}.path")
        yield from containers.relative(item.path, f"{here}.path")
        if item.fieldRef is None and item.resourceFieldRef is None:
            yield required(here, "one of fieldRef and resourceFieldRef is required")


def _projected(projected: core.ProjectedVolumeSource, path: str) -> Findings:
    yield from within(f"{path}.defaultMode", projected.defaultMode, 0, 0o777)
    for index, source in enumerate(projected.sources):
        here = f"{path}.sources[{index}]"
        chosen = [
            name for name in shapes.of(core.VolumeProjection).properties if getattr(source, name) is not None
        ]
        if not chosen:
            yield required(here, "must specify a volume type")
        for name in chosen[1:]:
            yield forbidden(f"{here}.{name}", "may not specify more than 1 volume type")
        if source.configMap is not None:
            yield from _items(source.configMap.items, f"{here}.configMap.items")
        if source.secret is not None:
            yield from _items(source.secret.items, f"{here}.secret.items")
        if source.downwardAPI is not None:
            yield from _downward(source.downwardAPI.items, f"{here}.downwardAPI.items")
        token = source.serviceAccountToken
        if token is not None:
            if not token.path:
                yield required(f"{here}.serviceAccountToken.path")
            yield from containers.relative(token.path, f"{here}.serviceAccountToken.path")
            if token.expirationSeconds is not None and token.expirationSeconds < 600:
                yield invalid(
                    f"{here}.serviceAccountToken.expirationSeconds",
                    token.expirationSeconds,
                    "may not specify a duration less than 10 minutes",
                )
