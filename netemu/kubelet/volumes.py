"""A pod's volumes: which files they hold and where containers see them. Pure: contents are handed in.

A volume is either a directory of the pod's own with files made from API objects, an empty one, or a path of
the node. Modes are permission bits.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from netemu.api import core
from netemu.base import errors
from netemu.kubelet import downward, environments
from netemu.wire import cri

FILE_MODE = 0o644
TOKEN_SECONDS = 3600
_PLUGINS = {
    "emptyDir": "kubernetes.io~empty-dir",
    "configMap": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "projected": "kubernetes.io~projected",
    "downwardAPI": "kubernetes.io~downward-api",
}


class Token(NamedTuple):
    """A service account's token, as TokenRequest is asked for it."""

    audience: str
    seconds: int


class File(NamedTuple):
    """`mode`: its permission bits."""

    content: bytes
    mode: int


class HostPath(NamedTuple):
    """A place of the node."""

    path: str
    kind: str  # as HostPathType; "" checks nothing


class Directory(NamedTuple):
    """A directory of the pod's own. `files` by relative path; None: an empty directory that is the pod's."""

    path: str
    files: Mapping[str, File] | None = None


def sources(volume: core.Volume) -> frozenset[environments.Source]:
    """The ConfigMaps and Secrets a volume is made from."""
    found = set()
    if volume.configMap:
        found.add(environments.Source("ConfigMap", volume.configMap.name))
    if volume.secret:
        found.add(environments.Source("Secret", volume.secret.secretName))
    for each in volume.projected.sources if volume.projected else ():
        if each.configMap:
            found.add(environments.Source("ConfigMap", each.configMap.name))
        if each.secret:
            found.add(environments.Source("Secret", each.secret.name))
    return frozenset(found)


def tokens(volume: core.Volume) -> frozenset[Token]:
    """The tokens a volume holds."""
    found = volume.projected.sources if volume.projected else ()
    return frozenset(_token(s.serviceAccountToken) for s in found if s.serviceAccountToken)


def _token(projection: core.ServiceAccountTokenProjection) -> Token:
    return Token(projection.audience, projection.expirationSeconds or TOKEN_SECONDS)


def changes(volume: core.Volume) -> bool:
    """Whether what is in the volume may change while the pod runs."""
    return bool(volume.configMap or volume.secret or volume.projected or volume.downwardAPI)


def realize(
    me: downward.Self,
    volume: core.Volume,
    root: str,
    contents: environments.Contents,
    given: Mapping[Token, str],
) -> Directory | HostPath:
    """Where a volume is and what it holds. Missing says what is not there, Rejected what we lack."""
    if volume.hostPath:
        return HostPath(volume.hostPath.path, volume.hostPath.type or "")
    kind = next((name for name in _PLUGINS if getattr(volume, name) is not None), "")
    if not kind:
        raise errors.Rejected(f'volume "{volume.name}" is of a kind this node does not offer')
    path = posixpath.join(root, "volumes", _PLUGINS[kind], volume.name)
    if volume.emptyDir:
        return Directory(path)
    if volume.configMap:
        one = volume.configMap
        files = _keys("ConfigMap", one.name, one.items, one.optional, contents, mode=one.defaultMode)
    elif volume.secret:
        two = volume.secret
        files = _keys("Secret", two.secretName, two.items, two.optional, contents, mode=two.defaultMode)
    elif volume.downwardAPI:
        files = _downward(me, volume.downwardAPI.items, volume.downwardAPI.defaultMode)
    else:
        assert volume.projected is not None
        files = _projected(me, volume.projected, contents, given)
    return Directory(path, files)


def _projected(
    me: downward.Self,
    projected: core.ProjectedVolumeSource,
    contents: environments.Contents,
    given: Mapping[Token, str],
) -> dict[str, File]:
    files: dict[str, File] = {}
    mode = projected.defaultMode
    for each in projected.sources:
        if each.configMap:
            one = each.configMap
            files |= _keys("ConfigMap", one.name, one.items, one.optional, contents, mode=mode)
        if each.secret:
            two = each.secret
            files |= _keys("Secret", two.name, two.items, two.optional, contents, mode=mode)
        if each.downwardAPI:
            files |= _downward(me, each.downwardAPI.items, mode)
        if each.serviceAccountToken:
            text = given[_token(each.serviceAccountToken)]
            files[each.serviceAccountToken.path] = File(
                text.encode(), mode if mode is not None else FILE_MODE
            )
    return files


def _keys(
    kind: str,
    name: str,
    items: tuple[core.KeyToPath, ...],
    optional: bool | None,
    contents: environments.Contents,
    *,
    mode: int | None,
) -> dict[str, File]:
    table = contents.get(environments.Source(kind, name))
    usual = FILE_MODE if mode is None else mode
    if table is None:
        if optional:
            return {}
        raise environments.Missing(f'{kind.lower()} "{name}" not found')
    if not items:
        return {key: File(value, usual) for key, value in table.items()}
    files = {}
    for item in items:
        if item.key in table:
            files[item.path] = File(table[item.key], usual if item.mode is None else item.mode)
        elif not optional:
            raise environments.Missing(f"references non-existent {kind.lower()} key: {item.key}")
    return files


def _downward(
    me: downward.Self, items: tuple[core.DownwardAPIVolumeFile, ...], mode: int | None
) -> dict[str, File]:
    files = {}
    for item in items:
        if item.fieldRef:
            text = downward.field(me, item.fieldRef.fieldPath)
        elif item.resourceFieldRef:
            text = downward.resource(me, me.pod.spec.containers[0], item.resourceFieldRef)
        else:
            continue
        chosen = item.mode if item.mode is not None else mode
        files[item.path] = File(text.encode(), FILE_MODE if chosen is None else chosen)
    return files


def mounts(
    container: core.Container, places: Mapping[str, str], variables: Mapping[str, str]
) -> tuple[cri.Mount, ...]:
    """Where a container sees its volumes, which are at `places` on the node. Rejected for a path outside."""
    found = []
    for mount in container.volumeMounts:
        if mount.name not in places:
            raise errors.Rejected(
                f'cannot find volume "{mount.name}" to mount into container "{container.name}"'
            )
        below = mount.subPath or environments.expand(mount.subPathExpr, variables)
        if below.startswith("/") or ".." in below.split("/"):
            raise errors.Rejected(f'subPath "{below}" must be a relative path inside the volume')
        path = posixpath.join(places[mount.name], below) if below else places[mount.name]
        target = mount.mountPath if mount.mountPath.startswith("/") else f"/{mount.mountPath}"
        found.append(cri.Mount(host_path=path, container_path=target, readonly=mount.readOnly))
    return tuple(found)
