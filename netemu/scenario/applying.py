"""Creates objects from manifests, or merges them into what is there, as `kubectl apply` does.

Knows the three-way merge over the last-applied annotation, so that kubectl and netemu can take turns.
"""

import asyncio
import json
from typing import Any, Literal, NamedTuple

from netemu.api import codec, kinds, meta, schema
from netemu.base import errors as base_errors
from netemu.client import api, errors
from netemu.http import messages
from netemu.scenario import customs, manifests

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_DISCOVERY = (("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),)
_JSON = (("content-type", "application/json"),)
_MERGE = (("content-type", "application/strategic-merge-patch+json"),)
_MERGE_CUSTOM = (("content-type", "application/merge-patch+json"),)  # all that custom kinds know


class Applied(NamedTuple):
    """What became of a manifest."""

    manifest: manifests.Manifest
    action: Literal["created", "configured", "unchanged"]


async def apply(client: api.Client, manifest: manifests.Manifest, *, patience: float = 5.0) -> Applied:
    """Create the object, or merge it into the one there is. Rejected, with file:line, if refused.

    A new Namespace takes a moment until pods may be made in it (its ServiceAccount comes from a controller),
    and so does a new definition until its kind is served: those refusals are tried again for `patience` s.
    """
    wanted = _annotated(manifest)
    end = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await _create_or_merge(client, manifest, wanted)
        except errors.Conflict:
            if asyncio.get_running_loop().time() > end:
                raise
        except errors.Forbidden as error:
            if "serviceaccount" not in error.message.lower() or asyncio.get_running_loop().time() > end:
                raise manifest.document.rejected((), error.message) from error
            await asyncio.sleep(0.02)
        except (errors.Invalid, errors.BadRequest, errors.NotFound) as error:
            late = asyncio.get_running_loop().time() > end
            if isinstance(error, errors.NotFound) and _unserved(manifest, error) and not late:
                await asyncio.sleep(0.02)
                continue
            raise manifest.document.rejected((), error.message) from error


def _unserved(manifest: manifests.Manifest, error: errors.NotFound) -> bool:
    """Whether it is the kind that was not found, not what it belongs to."""
    details = error.status.details
    return customs.is_custom(manifest.kind) and not (details and details.name)


async def discovered(client: api.Client) -> tuple[kinds.Kind, ...]:
    """The kinds that an API server has and netemu has not: its users' own, and those of other servers."""
    return customs.discovered(json.loads(await call(client, "GET", "/apis", headers=_DISCOVERY)))


async def _create_or_merge(
    client: api.Client, manifest: manifests.Manifest, wanted: dict[str, Any]
) -> Applied:
    path = manifest.kind.path(manifest.namespace, "")
    query = (("fieldManager", "netemu"), ("fieldValidation", "Strict"))
    try:
        await call(client, "POST", path, query=query, body=json.dumps(wanted).encode(), headers=_JSON)
        return Applied(manifest, "created")
    except errors.AlreadyExists:
        pass
    path = manifest.kind.path(manifest.namespace, manifest.name)
    live = json.loads(await call(client, "GET", path))
    last = json.loads(live["metadata"].get("annotations", {}).get(LAST_APPLIED) or "{}")
    change = merge(manifest.kind, last, wanted, live)
    if not change:
        return Applied(manifest, "unchanged")
    how = _MERGE if manifest.kind in kinds.SERVED else _MERGE_CUSTOM
    changed = json.loads(
        await call(client, "PATCH", path, query=query[:1], body=json.dumps(change).encode(), headers=how)
    )
    same = changed["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    return Applied(manifest, "unchanged" if same else "configured")


def merge(
    kind: kinds.Kind,
    last: dict[str, Any],
    wanted: dict[str, Any],
    live: dict[str, Any],
    path: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The strategic merge patch from `live` to `wanted`: what differs, and the end of what only `last` had.

    Lists with a merge key (containers by name, ports by port) are merged by item; what others added stays.
    """
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        have, before = live.get(key), last.get(key)
        here = (*path, key)
        rule = schema.merge_rule(kind, here)
        if isinstance(value, dict) and isinstance(have, dict):
            if inner := merge(kind, before if isinstance(before, dict) else {}, value, have, here):
                patch[key] = inner
        elif isinstance(value, list) and isinstance(have, list) and rule.merge and rule.key:
            was = before if isinstance(before, list) else []
            if items := _merge_items(kind, was, value, have, here):
                patch[key] = items
        elif value != have:
            patch[key] = value
    patch.update({key: None for key in last if key not in wanted and key in live})
    return patch


def _merge_items(
    kind: kinds.Kind,
    last: list[Any],
    wanted: list[Any],
    live: list[Any],
    path: tuple[str, ...],
) -> list[Any]:
    """The items to patch of a list merged by a key; an item of `last` that is not wanted now is deleted."""
    by = schema.merge_rule(kind, path).key
    was, have = ({item.get(by): item for item in items} for items in (last, live))
    patch: list[Any] = []
    for item in wanted:
        name = item.get(by)
        if name not in have:
            patch.append(item)
        elif inner := merge(kind, was.get(name, {}), item, have[name], path):
            patch.append({by: name, **inner})
    kept = {item.get(by) for item in wanted}
    patch.extend({by: name, "$patch": "delete"} for name in was if name not in kept and name in have)
    return patch


def _annotated(manifest: manifests.Manifest) -> dict[str, Any]:
    """The object as sent: with its namespace, and with a copy of itself for the next three-way merge."""
    value = json.loads(json.dumps(manifest.document.value))
    metadata = value["metadata"]
    if manifest.namespace:
        metadata["namespace"] = manifest.namespace
    notes = metadata.get("annotations") or {}
    notes.pop(LAST_APPLIED, None)
    metadata["annotations"] = notes
    text = json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n"
    metadata["annotations"] = {**notes, LAST_APPLIED: text}
    return dict(value)


async def call(
    client: api.Client,
    method: str,
    path: str,
    *,
    query: messages.Fields = (),
    body: bytes = b"",
    headers: messages.Fields = (),
) -> bytes:
    """A raw request; ApiError when the server refuses it."""
    response = await client.raw(method, path, query=query, body=body, headers=headers)
    data = await messages.whole(response)
    if response.status >= 400:
        raise refusal(response.status, data)
    return data


def refusal(code: int, data: bytes) -> errors.ApiError:
    """The error in the body of a refused request."""
    try:
        status = codec.decode(meta.Status, data)
    except base_errors.Rejected:
        status = meta.Status(status="Failure", code=code, message=data[:200].decode(errors="replace"))
    return errors.of(status)
