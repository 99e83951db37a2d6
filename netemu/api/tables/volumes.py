"""Tables of volumes and of what provides them."""

from __future__ import annotations

from collections.abc import Iterable

from netemu.api import core, storage
from netemu.api.tables.layout import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Cell,
    Table,
    age,
    number,
    text,
    wide,
)

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(found: Iterable[str]) -> str:
    given = set(found)
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _claim(found: core.PersistentVolumeClaim, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    bound = bool(spec.volumeName)
    return (
        found.metadata.name,
        "Terminating" if found.metadata.deletionTimestamp else status.phase,
        spec.volumeName,
        status.capacity.get("storage", "0") if bound else "",
        _modes(status.accessModes) if bound else "",
        spec.storageClassName or "",
        spec.volumeAttributesClassName or UNSET,
        age(found.metadata, now),
        spec.volumeMode or UNSET,
    )


CLAIM = Table(
    (
        NAME,
        text("Status"),
        text("Volume"),
        text("Capacity"),
        text("Access Modes"),
        text("StorageClass"),
        text("VolumeAttributesClass"),
        AGE,
        wide("VolumeMode"),
    ),
    _claim,
)


def _volume(found: core.PersistentVolume, now: float) -> tuple[Cell, ...]:
    spec, status = found.spec, found.status
    claim = f"{spec.claimRef.namespace}/{spec.claimRef.name}" if spec.claimRef else ""
    return (
        found.metadata.name,
        spec.capacity.get("storage", "0"),
        _modes(spec.accessModes),
        spec.persistentVolumeReclaimPolicy,
        "Terminating" if found.metadata.deletionTimestamp else status.phase,
        claim,
        spec.storageClassName,
        spec.volumeAttributesClassName or UNSET,
        status.reason,
        age(found.metadata, now),
        spec.volumeMode or UNSET,
    )


VOLUME = Table(
    (
        NAME,
        text("Capacity"),
        text("Access Modes"),
        text("Reclaim Policy"),
        text("Status"),
        text("Claim"),
        text("StorageClass"),
        text("VolumeAttributesClass"),
        text("Reason"),
        AGE,
        wide("VolumeMode"),
    ),
    _volume,
)


def _storage_class(found: storage.StorageClass, now: float) -> tuple[Cell, ...]:
    default = found.metadata.annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return (
        found.metadata.name + (" (default)" if default else ""),
        found.provisioner,
        found.reclaimPolicy or "Delete",
        found.volumeBindingMode or "Immediate",
        bool(found.allowVolumeExpansion),
        age(found.metadata, now),
    )


STORAGE_CLASS = Table(
    (
        NAME,
        text("Provisioner"),
        text("ReclaimPolicy"),
        text("VolumeBindingMode"),
        text("AllowVolumeExpansion"),
        AGE,
    ),
    _storage_class,
)


def _driver(found: storage.CSIDriver, now: float) -> tuple[Cell, ...]:
    spec = found.spec
    return (
        found.metadata.name,
        spec.attachRequired is not False,
        bool(spec.podInfoOnMount),
        bool(spec.storageCapacity),
        ",".join(token.audience for token in spec.tokenRequests) or UNSET,
        bool(spec.requiresRepublish),
        ",".join(spec.volumeLifecycleModes) or NONE,
        age(found.metadata, now),
    )


DRIVER = Table(
    (
        NAME,
        text("AttachRequired"),
        text("PodInfoOnMount"),
        text("StorageCapacity"),
        text("TokenRequests"),
        text("RequiresRepublish"),
        text("Modes"),
        AGE,
    ),
    _driver,
)


def _csi_node(found: storage.CSINode, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, len(found.spec.drivers), age(found.metadata, now)


CSI_NODE = Table((NAME, number("Drivers"), AGE), _csi_node)


def _capacity(found: storage.CSIStorageCapacity, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.storageClassName, found.capacity or UNSET


CAPACITY = Table((NAME, text("StorageClassName"), text("Capacity")), _capacity)


def _attachment(found: storage.VolumeAttachment, now: float) -> tuple[Cell, ...]:
    spec = found.spec
    volume = spec.source.persistentVolumeName or ""
    attached = found.status.attached
    return found.metadata.name, spec.attacher, volume, spec.nodeName, attached, age(found.metadata, now)


ATTACHMENT = Table((NAME, text("Attacher"), text("PV"), text("Node"), text("Attached"), AGE), _attachment)


def _attributes(found: storage.VolumeAttributesClass, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.driverName, age(found.metadata, now)


ATTRIBUTES = Table((NAME, text("DriverName"), AGE), _attributes)


TABLES: dict[type, Table] = {
    core.PersistentVolume: VOLUME,
    core.PersistentVolumeClaim: CLAIM,
    storage.CSIDriver: DRIVER,
    storage.CSINode: CSI_NODE,
    storage.CSIStorageCapacity: CAPACITY,
    storage.StorageClass: STORAGE_CLASS,
    storage.VolumeAttachment: ATTACHMENT,
    storage.VolumeAttributesClass: ATTRIBUTES,
}
