"""APIServices as values: who answers for a group and version, whether they can, what discovery says of them.

Pure. Source: kube-aggregator pkg/controllers/status/remote and pkg/apiserver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from netemu.api import kinds, registration, wellknown
from netemu.apiserver import priorities

Document = dict[str, Any]
KIND = kinds.of(registration.APIService)
_OWN_GROUP = KIND.group
AUTOMATIC = "kube-aggregator.kubernetes.io/automanaged"
AT_START, WHILE_SERVED = "onstart", "true"


@dataclass(frozen=True, eq=False)
class Remote:
    """A group and version that another server answers for. It equals itself only, and so is a cheap key.

    resources   as aggregated discovery (v2) lists them; schema: its OpenAPI v3 document
    fresh       False: it could not be asked, and what is known of it may be out of date
    """

    group: str
    version: str
    priority: priorities.Priority
    resources: tuple[Document, ...] = ()
    schema: bytes = b""
    fresh: bool = False


class Verdict(NamedTuple):
    """The condition Available of an APIService."""

    status: str
    reason: str
    message: str


LOCAL = Verdict("True", "Local", "Local APIServices are always available")
PASSED = Verdict("True", "Passed", "all checks passed")


def local(group: str, version: str, kept: str, now: str) -> Document:
    """The APIService of a group and version this server answers for; `kept`: how long it is looked after."""
    wanted = priorities.of(group, version)
    return {
        "kind": KIND.kind,
        "apiVersion": KIND.api_version,
        "metadata": {"name": f"{version}.{group}", "labels": {AUTOMATIC: kept}},
        "spec": {
            **({"group": group} if group else {}),
            "version": version,
            "groupPriorityMinimum": wanted.group,
            "versionPriority": wanted.version,
        },
        "status": {"conditions": [condition(LOCAL, now)]},
    }


def own(served: Iterable[kinds.Kind]) -> tuple[tuple[str, str], ...]:
    """The groups and versions of kinds that have APIServices: all but APIServices' own."""
    found = dict.fromkeys((kind.group, kind.version) for kind in served)
    return tuple(one for one in found if one[0] != _OWN_GROUP)


def condition(verdict: Verdict, now: str, before: Document | None = None) -> Document:
    """As status.conditions has it, with the time it became so."""
    moved = before is None or before.get("status") != verdict.status
    since = now if before is None or moved else before.get("lastTransitionTime", now)
    return {"type": "Available", "lastTransitionTime": since, **verdict._asdict()}


def told(document: Document) -> Document | None:
    """The condition Available an APIService has."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == "Available"), None)


def service_verdict(wanted: Document, service: Document | None, slices: Iterable[Document]) -> Verdict | None:
    """Why a Service cannot be asked; None when it can. `wanted` is spec.service, `slices` are the
    EndpointSlices of its namespace."""
    namespace, name, port = wanted.get("namespace", ""), wanted.get("name", ""), wanted.get("port") or 443
    where = f'service/{name} in "{namespace}"'
    if service is None:
        return Verdict("False", "ServiceNotFound", f"{where} is not present")
    spec = service.get("spec", {})
    if spec.get("type", "ClusterIP") != "ClusterIP":
        return None
    found = next((one for one in spec.get("ports") or () if one.get("port") == port), None)
    if found is None:
        return Verdict("False", "ServicePortError", f"{where} is not listening on port {port}")
    if not any(True for _ in _endpoints(name, found.get("name", ""), slices)):
        why = f'endpoints for {where} have no addresses with port name "{found.get("name", "")}"'
        return Verdict("False", "MissingEndpoints", why)
    return None


def _endpoints(service: str, port: str, slices: Iterable[Document]) -> Iterator[str]:
    for one in slices:
        about = one["metadata"].get("labels") or {}
        named = any(found.get("name", "") == port for found in one.get("ports") or ())
        if about.get(wellknown.SERVICE_NAME) == service and named:
            for endpoint in one.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready", True):
                    yield from endpoint.get("addresses") or ()


def resources(group: str, version: str, listed: Any) -> tuple[Document, ...]:
    """An APIResourceList as aggregated discovery lists the same. ValueError if it is none."""
    found: dict[str, Document] = {}
    try:
        for one in listed["resources"]:
            name, _, sub = one["name"].partition("/")
            gvk = {
                "group": one.get("group") or group,
                "version": one.get("version") or version,
                "kind": one["kind"],
            }
            if sub:
                below = {"subresource": sub, "responseKind": gvk, "verbs": list(one["verbs"])}
                entry = found.setdefault(name, {"resource": name})
                entry.setdefault("subresources", []).append(below)
                continue
            found[name] = {
                "resource": name,
                "responseKind": gvk,
                "scope": "Namespaced" if one.get("namespaced") else "Cluster",
                "singularResource": one.get("singularName") or str(one["kind"]).lower(),
                "verbs": list(one["verbs"]),
                **{key: list(one[key]) for key in ("shortNames", "categories") if one.get(key)},
                **{key: found[name][key] for key in ("subresources",) if key in found.get(name, {})},
            }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no APIResourceList: {error!r}") from None
    return tuple(found.values())
