"""Pods' own verbs: binding to a node, eviction, logs from the node's kubelet."""

from __future__ import annotations

from typing import Any

from netemu.api import core, kinds, policy
from netemu.apiserver import bodies, contexts, deleting, kubelets, rendering, statuses, writing
from netemu.apiserver.admission import budgets, chain
from netemu.base import clock as clocks
from netemu.http import messages

_BINDING = kinds.of(core.Binding)
_EVICTION = kinds.Kind(type=policy.Eviction, plural="evictions")
_SUCCESS = statuses.status("Success", code=201)
_LOG_OPTIONS = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
    "limitBytes",
    "stream",
)


async def binding(call: contexts.Call) -> messages.Response:
    """Give the pod to a node, once. Conflict when it has one already or is another pod."""
    given, _ = bodies.read(call.request, _BINDING)
    given = await chain.hand(call, _named(given, _BINDING), _BINDING)
    target, about = given.get("target") or {}, given.get("metadata") or {}
    node = target.get("name", "") if isinstance(target, dict) else ""
    if not node or target.get("kind", "Node") not in ("", "Node"):
        cause = statuses.Cause("FieldValueRequired", "Required value", "target.name")
        raise statuses.invalid("", "Binding", call.name, [cause])
    name = call.name or str(about.get("name", ""))
    pod = contexts.Call(
        call.parts,
        call.request,
        call.target._replace(name=name, subresource="status"),
        call.user,
        kinds.of(core.Pod),
    )

    def bind(current: statuses.Document) -> tuple[statuses.Document, tuple[str, ...]]:
        metadata, spec = current["metadata"], current["spec"]
        why, uid = "", about.get("uid", "")
        if uid and uid != metadata["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        elif "deletionTimestamp" in metadata:
            why = f"pod {name} is being deleted, cannot be assigned to a host"
        elif spec.get("nodeName"):
            why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        elif spec.get("schedulingGates"):
            why = f"pod {name} has non-empty .spec.schedulingGates"
        if why:
            raise statuses.conflict("", "pods/binding", name, why)
        spec["nodeName"] = node
        if about.get("annotations"):
            metadata.setdefault("annotations", {}).update(about["annotations"])
        _scheduled(current, clocks.rfc3339(call.parts.clock.now()))
        return current, ()

    await writing.store(pod, bind, dry=writing.dry_run(call))
    return rendering.document(call, _SUCCESS, 201)


def _named(document: statuses.Document, kind: kinds.Kind) -> statuses.Document:
    return {"kind": kind.kind, "apiVersion": kind.api_version, **document}


def _scheduled(pod: statuses.Document, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": now})


async def eviction(call: contexts.Call) -> messages.Response:
    """Delete the pod as evicted, if its disruption budget allows it. TooManyRequests."""
    given: dict[str, Any] = {}
    if call.request.body:
        given, _ = bodies.read(call.request, _EVICTION)
    given = await chain.hand(call, _named(given, _EVICTION), _EVICTION)
    options = given.get("deleteOptions") or {}
    if not isinstance(options, dict):
        raise statuses.bad_request("deleteOptions is not an object")
    if writing.dry_run(call):
        options = {**options, "dryRun": ["All"]}
    pod = contexts.Call(
        call.parts, call.request, call.target._replace(subresource=""), call.user, kinds.of(core.Pod)
    )
    budgets.check(call.parts.cache, writing.find(pod.kind, pod).document())
    await deleting.delete(pod, deleting.convert_options(options))
    return rendering.document(call, _SUCCESS, 201)


async def log(call: contexts.Call) -> messages.Response:
    """What a container has written, as its node's kubelet tells it."""
    pod = writing.find(call.kind, call).document()
    chosen = container(pod, call.request.parameter("container"))
    node = pod["spec"].get("nodeName", "")
    if not node:
        raise statuses.bad_request(f"pod {call.name} does not have a host assigned")
    query = tuple((key, value) for key, value in call.request.query if key in _LOG_OPTIONS)
    path = f"/containerLogs/{call.namespace}/{call.name}/{chosen}"
    return await kubelets.ask(call, node, path, query)


def container(pod: statuses.Document, wanted: str) -> str:
    """The container a request means: the one it names, or the only one, or the annotated one. BadRequest."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    every = [
        found["name"]
        for field in ("initContainers", "containers", "ephemeralContainers")
        for found in spec.get(field, ())
    ]
    if wanted:
        if wanted not in every:
            raise statuses.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    names = [found["name"] for found in spec.get("containers", ())]
    chosen = pod["metadata"].get("annotations", {}).get("kubectl.kubernetes.io/default-container", "")
    if len(names) == 1 or chosen in names:
        return str(chosen if chosen in names else names[0])
    message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    init = [found["name"] for found in spec.get("initContainers", ())]
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise statuses.bad_request(message)
