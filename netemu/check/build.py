"""Expectations as a scenario: manifests that a lab can run, and checks of every flow. Pure but for the files.

Policies care for ports, not for programs: each container gives way to servers that listen on its declared
ports and say who they are. Workloads are marked by a label, so that a check can name their pods.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from netemu.check import expectations, imagine, static
from netemu.lab import config
from netemu.model import worlds
from netemu.scenario import manifests, places, scenarios

MARK = "netemu.io/workload"
IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.53"
WITHIN, READY_WITHIN = 5.0, 60.0  # seconds: until a check holds, until everything is ready
_KINDS = (
    "Namespace",
    "Pod",
    *imagine.TEMPLATES,
    "Service",
    "EndpointSlice",
    "NetworkPolicy",
    "ClusterNetworkPolicy",
)
_UNUSED_PORT = 61000

Document = dict[str, Any]


def scenario(
    found: Sequence[manifests.Manifest],
    imagined: imagine.Imagined,
    wanted: expectations.Expectations,
    directory: pathlib.Path,
    *,
    name: str,
    images: bool = False,
) -> scenarios.Scenario:
    """Write the manifests into `directory`, and a scenario that asks every flow of the static report."""
    documents = [
        *_namespaces(found),
        *(_runnable(one, images=images) for one in found if one.kind.kind in _KINDS),
    ]
    path = directory / "manifests.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    return scenarios.Scenario(
        name=name,
        about="",
        file=str(path),
        lab=config.default(),
        manifests=(str(path),),
        listeners=(scenarios.Listener(places.Place("outside"), 8080),),
        ready_within=READY_WITHIN,
        checks=tuple(checks(imagined, wanted, connect_only=images)),
    )


# --- what runs


def _namespaces(found: Iterable[manifests.Manifest]) -> Iterator[Document]:
    """Those that objects are in and nobody wrote down."""
    written = {one.name for one in found if one.kind.kind == "Namespace"}
    used = {one.namespace for one in found if one.namespace}
    for name in sorted(used - written - {"default", "kube-system", "kube-public", "kube-node-lease"}):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _runnable(manifest: manifests.Manifest, *, images: bool) -> Document:
    value = json.loads(json.dumps(manifest.document.value))
    meta, kind = value["metadata"], manifest.kind.kind
    if manifest.namespace:
        meta["namespace"] = manifest.namespace
    if kind == "Pod":
        value["spec"] = value["spec"] if images else _stand_in(value["spec"])
    elif kind in imagine.TEMPLATES:
        spec = value["spec"]
        template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[MARK] = _marked(f"{kind.lower()}/{manifest.name}")
        template["spec"] = template["spec"] if images else _stand_in(template["spec"])
        if (spec.get("replicas") or 0) > imagine.MOST_REPLICAS:
            spec["replicas"] = imagine.MOST_REPLICAS
    return dict(value)


def _marked(workload: str) -> str:
    return workload.replace("/", ".")


def _stand_in(spec: Document) -> Document:
    """A pod's spec with servers on its declared ports, and nothing else that it would need."""
    kept = (
        "nodeName",
        "nodeSelector",
        "hostNetwork",
        "hostname",
        "subdomain",
        "dnsPolicy",
        "dnsConfig",
        "tolerations",
    )
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    declared = [port for one in (*spec["containers"], *sidecars) for port in one.get("ports") or ()]
    unique = {(port["containerPort"], port.get("protocol", "TCP")): port for port in declared}
    made = [_server(number, port) for number, port in enumerate(unique.values())]
    if not made:
        made = [{"name": "idle", "image": IMAGE, "args": ["pause"]}]
    return {
        **{key: spec[key] for key in kept if key in spec},
        "containers": made,
        "terminationGracePeriodSeconds": 0,
    }


def _server(number: int, port: Document) -> Document:
    """netexec always serves HTTP as well: on its own port, or on one that nobody asks.

    Its /healthz waits for the UDP server, which may not be asked for.
    """
    protocol, wanted = port.get("protocol", "TCP"), port["containerPort"]
    http = wanted if protocol == "TCP" else _UNUSED_PORT + number
    ports = {"udp": wanted if protocol == "UDP" else -1, "sctp": wanted if protocol == "SCTP" else -1}
    args = ["netexec", f"--http-port={http}", *(f"--{name}-port={value}" for name, value in ports.items())]
    return {
        "name": f"port-{number}",
        "image": IMAGE,
        "args": args,
        "ports": [{key: port[key] for key in ("name", "containerPort", "protocol") if key in port}],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": http}, "periodSeconds": 1},
    }


# --- what is asked


def checks(
    imagined: imagine.Imagined, wanted: expectations.Expectations, *, connect_only: bool = False
) -> Iterator[scenarios.Check]:
    """A check for each expectation and port, and for each target which nobody else may reach."""
    report = static.judge(imagined, wanted, others=True)
    groups: dict[tuple[Any, ...], list[static.Row]] = {}
    for row in report.rows:
        to = _to(imagined, row)
        key = (
            row.by,
            row.wanted,
            to,
            row.flow.port if row.flow.protocol != "ICMP" else None,
            row.flow.protocol,
        )
        groups.setdefault(key, []).append(row)
    for (by, word, (to, via), port, protocol), rows in groups.items():
        if protocol == "ICMP":
            continue  # asked by the model alone
        number = None if via == "node-port" else port
        yield scenarios.Check(
            name=by.text if by else f"nothing else may reach {_called(to)} on {protocol.lower()}/{port}",
            senders=tuple(dict.fromkeys(_from(imagined, row.flow.source) for row in rows)),
            targets=(to,),
            port=number,
            protocols=(protocol,),
            families=tuple(sorted({row.flow.family for row in rows})),
            via=(via,),
            where=(),
            expect={expectations.MAY: "ok", expectations.MAY_NOT: scenarios.STOPPED}.get(word, word),
            source="any",
            spread=False,
            identify=not connect_only,
            within=WITHIN,
            defined=by.defined if by else wanted.nothing_else,
        )


def _called(place: places.Place) -> str:
    """A place as its author knows it: a workload by its name, not by its mark."""
    if place.kind == "pods" and place.name.startswith(f"{MARK}="):
        return f"{place.name.partition('=')[2].replace('.', ' ', 1)} in {place.namespace}"
    return str(place)


def _from(imagined: imagine.Imagined, party: worlds.Party) -> places.Place:
    if party.kind == "pod":
        return _pod(imagined, party)
    return places.Place("node", party.name) if party.kind == "node" else places.Place("outside")


def _pod(imagined: imagine.Imagined, party: worlds.Party) -> places.Place:
    """A pod by its name; a workload's by its mark."""
    workload = imagined.workloads.get((party.namespace, party.name))
    if workload is None:
        return places.Place("pod", party.name, party.namespace)
    return places.Place("pods", f"{MARK}={_marked(workload)}", party.namespace)


def _to(imagined: imagine.Imagined, row: static.Row) -> tuple[places.Place, str]:
    """The target's place, and by which way a Service is asked."""
    kind, _, name = row.shown.partition(" ")
    owner = imagined.world.owner(row.flow.host)
    if row.shown.startswith(static.NODE_PORT):
        namespace, _, service = row.shown.removeprefix(static.NODE_PORT).partition("/")
        return places.Place("service", service, namespace), "node-port"
    if kind == "Service":
        namespace, _, service = name.partition("/")
        return places.Place("service", service, namespace), "address"
    if owner is not None and owner.kind == "pod":
        return _pod(imagined, owner), "address"
    if owner is not None and owner.kind == "node":
        return places.Place("node", owner.name), "address"
    if row.shown == "outside":
        return places.Place("outside"), "address"
    return places.Place("address" if worlds.is_address(row.flow.host) else "name", row.flow.host), "address"
