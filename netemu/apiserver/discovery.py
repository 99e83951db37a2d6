"""What is served, as discovery tells it: aggregated (v2) and the older form of one list a group.

Rendered from the table of kinds, and from what other servers say of the groups they answer for; holds no
second list of them.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import msgspec

from netemu.api import kinds, resources
from netemu.apiserver import priorities
from netemu.apiserver.aggregation import groups
from netemu.http import messages

_V2 = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
Served = tuple[kinds.Kind, ...]
Remotes = tuple[groups.Remote, ...]
_ADDRESSES = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]


@functools.lru_cache(maxsize=1)
def group_versions(served: Served, remotes: Remotes = ()) -> dict[str, tuple[str, ...]]:
    """The versions of each group, the preferred one first. Groups of higher priority come first, for of two
    that have a resource of some name `kubectl get` takes the first."""
    wanted = {(kind.group, kind.version): priorities.of(kind.group, kind.version) for kind in served}
    wanted |= {(remote.group, remote.version): remote.priority for remote in remotes}
    highest: dict[str, int] = {}
    for (group, _), priority in wanted.items():
        highest[group] = max(priority.group, highest.get(group, 0))
    found: dict[str, tuple[str, ...]] = {}
    for group in sorted(highest, key=lambda name: (-highest[name], name)):
        versions = [(priority, version) for (of, version), priority in wanted.items() if of == group]
        versions.sort(key=lambda one: (one[0].version, resources.rank(one[1])), reverse=True)
        found[group] = tuple(version for _, version in versions)
    return found


def answer(request: messages.Request, served: Served, remotes: Remotes = ()) -> messages.Response | None:
    """What /api, /apis and the paths below say of what is served; None for any other path."""
    parts = request.path.strip("/").split("/")
    if parts in (["api"], ["apis"]):
        return _root(request, parts[0], served, remotes)
    content = _legacy(parts, served, remotes)
    return None if content is None else _response(request, content, "application/json")


def _root(request: messages.Request, root: str, served: Served, remotes: Remotes) -> messages.Response:
    accept = request.header("accept").replace(" ", "")
    for element in accept.split(","):
        if "g=apidiscovery.k8s.io" in element:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in element.split(";"):
                    content = _aggregated(root, version, served, remotes)
                    return _response(request, content, _V2.format(version))
        elif element.partition(";")[0] in ("application/json", "*/*", "application/*"):
            break
    content = _versions(served) if root == "api" else _groups(served, remotes)
    return _response(request, content, "application/json")


def _response(request: messages.Request, content: bytes, media: str) -> messages.Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32].upper()}"'
    headers = (
        ("content-type", media),
        ("etag", tag),
        ("vary", "Accept"),
        ("cache-control", "public"),
    )
    if request.header("if-none-match") == tag:
        return messages.Response(304, headers)
    return messages.Response(200, headers, content)


# -- aggregated


@functools.lru_cache(maxsize=4)
def _aggregated(root: str, version: str, served: Served, remotes: Remotes) -> bytes:
    every = group_versions(served, remotes)
    names = [""] if root == "api" else [group for group in every if group]
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [{"version": v, **_listed(group, v, served, remotes)} for v in every[group]],
        }
        for group in names
    ]
    return msgspec.json.encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
    )


def _listed(group: str, version: str, served: Served, remotes: Remotes) -> dict[str, Any]:
    for remote in remotes:
        if (remote.group, remote.version) == (group, version):
            known = list(remote.resources) if remote.fresh else []
            return {"resources": known, "freshness": "Current" if remote.fresh else "Stale"}
    own = [_resource(kind) for kind in served if (kind.group, kind.version) == (group, version)]
    return {"resources": own, "freshness": "Current"}


def _resource(kind: kinds.Kind) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sorted(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return entry


# -- legacy


@functools.lru_cache(maxsize=1)
def _versions(served: Served) -> bytes:
    return msgspec.json.encode(
        {
            "kind": "APIVersions",
            "versions": list(group_versions(served)[""]),
            "serverAddressByClientCIDRs": _ADDRESSES,
        }
    )


@functools.lru_cache(maxsize=1)
def _groups(served: Served, remotes: Remotes) -> bytes:
    found = [_group(group, served, remotes) for group in group_versions(served, remotes) if group]
    return msgspec.json.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": found})


def _group(group: str, served: Served, remotes: Remotes) -> dict[str, Any]:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for version in group_versions(served, remotes)[group]
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _legacy(parts: list[str], served: Served, remotes: Remotes) -> bytes | None:
    if parts[0] == "api" and len(parts) == 2:
        return _list("", parts[1], served)
    if parts[0] == "apis" and len(parts) == 2 and parts[1] and parts[1] in group_versions(served, remotes):
        about = {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], served, remotes)}
        return msgspec.json.encode(about)
    if parts[0] == "apis" and len(parts) == 3:
        return _list(parts[1], parts[2], served)
    return None


def _list(group: str, version: str, served: Served) -> bytes | None:
    if version not in group_versions(served).get(group, ()):
        return None
    resources: list[dict[str, Any]] = []
    for kind in served:
        if (kind.group, kind.version) != (group, version):
            continue
        about: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": sorted(kind.verbs),
        }
        about |= {"shortNames": list(kind.short_names)} if kind.short_names else {}
        about |= {"categories": list(kind.categories)} if kind.categories else {}
        resources.append(about)
        for sub in kind.subresources:
            entry = {
                "name": f"{kind.plural}/{sub.name}",
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub.kind,
                "verbs": sorted(sub.verbs),
            }
            if (sub.group, sub.version) != (group, version):
                entry |= {"group": sub.group, "version": sub.version}
            resources.append(entry)
    return msgspec.json.encode(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": resources,
        }
    )
