"""How fast the model answers: run as `python -m bench.model [--pods N] [--policies N] [--write]`.

Every flow is asked once: of all pairs of pods by address, and of pods to Services of two endpoints; without
reasons (`judge`) and with them (`expect`); and how long compiling takes. Seconds are the processor's, of one
process: nothing is waited for. No root, no lab: objects are made up.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence

from bench import harness
from netemu.api import codec, core, discovery, networking
from netemu.model import expect, flows, worlds

GOAL = 100_000  # flows a second
_SPACES = 5
_PORTS = (8080, 9090)


def pods(count: int) -> tuple[core.Pod, ...]:
    """On two nodes, in five Namespaces, of ten applications."""
    made = []
    for number in range(count):
        node, host = 1 + number % 2, 2 + number // 2
        declared = [{"containerPort": p, "protocol": proto} for p in _PORTS for proto in ("TCP", "UDP")]
        ips = [f"10.244.{node}.{host}", f"fd00:244:0:{node}::{host:x}"]
        document = {
            "metadata": {
                "name": f"pod-{number}",
                "namespace": f"space-{number % _SPACES}",
                "labels": {"app": f"app-{number % 10}", "number": str(number)},
            },
            "spec": {"nodeName": f"worker-{node}", "containers": [{"name": "main", "ports": declared}]},
            "status": {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]},
        }
        made.append(codec.convert(core.Pod, document))
    return tuple(made)


def policies(count: int, seed: int = 1) -> tuple[networking.NetworkPolicy, ...]:
    """Selectors in the pod's own Namespace and in others, ranges with holes, ports."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        spec = {
            "podSelector": {"matchLabels": {"app": f"app-{rng.randrange(10)}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {"matchLabels": {"app": f"app-{rng.randrange(10)}"}}},
                        {
                            "namespaceSelector": {"matchLabels": {"team": f"team-{rng.randrange(3)}"}},
                            "podSelector": {"matchLabels": {"number": str(rng.randrange(100))}},
                        },
                    ],
                    "ports": [
                        {"port": rng.choice(_PORTS)},
                        {"protocol": "UDP", "port": 8000, "endPort": 8999},
                    ],
                }
            ],
            "egress": [
                {
                    "to": [
                        {"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"10.244.1.{rng.randrange(64)}/32"]}}
                    ]
                }
            ],
        }
        meta = {"name": f"policy-{number}", "namespace": f"space-{rng.randrange(_SPACES)}"}
        made.append(codec.convert(networking.NetworkPolicy, {"metadata": meta, "spec": spec}))
    return tuple(made)


def services(
    found: Sequence[core.Pod],
) -> tuple[tuple[core.Service, ...], tuple[discovery.EndpointSlice, ...]]:
    """One for each application and Namespace that has pods, over two of them, in both families."""
    made, slices = [], []
    key = sorted({(pod.metadata.namespace, pod.metadata.labels["app"]) for pod in found})
    for number, (namespace, app) in enumerate(key):
        meta = {"name": f"service-{app}", "namespace": namespace}
        spec = {
            "clusterIPs": [f"10.96.{number // 250}.{2 + number % 250}", f"fd00:96::{2 + number:x}"],
            "ports": [{"name": str(port), "port": port - 8000} for port in _PORTS],
        }
        made.append(codec.convert(core.Service, {"metadata": meta, "spec": spec}))
        chosen = [p for p in found if (p.metadata.namespace, p.metadata.labels["app"]) == (namespace, app)]
        slices += [_slice(meta, family, chosen[:2]) for family in (4, 6)]
    return tuple(made), tuple(slices)


def _slice(service: dict[str, str], family: int, found: Sequence[core.Pod]) -> discovery.EndpointSlice:
    document = {
        "metadata": service
        | {"name": f"{service['name']}-{family}", "labels": {worlds.SERVICE_NAME: service["name"]}},
        "addressType": f"IPv{family}",
        "ports": [{"name": str(port), "port": port} for port in _PORTS],
        "endpoints": [
            {
                "addresses": [pod.status.podIPs[family == 6].ip],
                "nodeName": pod.spec.nodeName,
                "targetRef": {"kind": "Pod", "name": pod.metadata.name},
            }
            for pod in found
        ],
    }
    return codec.convert(discovery.EndpointSlice, document)


def namespaces() -> tuple[core.Namespace, ...]:
    made = ({"name": f"space-{n}", "labels": {"team": f"team-{n % 3}"}} for n in range(_SPACES))
    return tuple(codec.convert(core.Namespace, {"metadata": meta}) for meta in made)


def world(pod_count: int, policy_count: int) -> worlds.World:
    found = pods(pod_count)
    made, slices = services(found)
    return worlds.World(found, (), made, slices, namespaces=namespaces(), policies=policies(policy_count))


def to_pods(found: worlds.World) -> Iterator[flows.Flow]:
    """All pairs, ports, protocols, families: each flow once."""
    parties = [party for party in found.parties() if party.kind == "pod"]
    for source, target in itertools.permutations(parties, 2):
        for port, protocol, family in itertools.product(_PORTS, ("TCP", "UDP"), (0, 1)):
            yield flows.Flow(source, target.addresses[family], port, protocol, 6 if family else 4)


def to_services(found: worlds.World) -> Iterator[flows.Flow]:
    """Every pod to every Service, ports and families: each flow once."""
    for source in (party for party in found.parties() if party.kind == "pod"):
        for service, family in itertools.product(found.services, (0, 1)):
            for port in service.spec.ports:
                yield flows.Flow(
                    source, service.spec.clusterIPs[family], port.port, "TCP", 6 if family else 4
                )


def processed(work: Callable[[], object]) -> float:
    """Processor seconds, without those for garbage of what was done before."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(pod_count: int, policy_count: int, rounds: int) -> list[harness.Sample]:
    """Each round in a world of its own: nothing is known from the one before."""
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        found = world(pod_count, policy_count)
        taken.setdefault("compile", []).append(processed(functools.partial(expect.of, found)) * 1000)
        model = expect.of(found)
        for name, asked, answer in (
            ("pods, judged", list(to_pods(found)), model.judge),
            ("Services, judged", list(to_services(found)), model.judge),
            ("pods, explained", list(to_pods(found))[::4], model.expect),
        ):
            seconds = processed(functools.partial(collections.deque, map(answer, asked), 0))
            taken.setdefault(name, []).append(seconds / len(asked) * 1e6)
    goals = {"pods, judged": 1e6 / GOAL, "Services, judged": 1e6 / GOAL}
    label = f"{pod_count} pods, {policy_count} policies"
    return [
        harness.Sample(
            f"model: {name} ({label})",
            "ms" if name == "compile" else "µs/flow",
            tuple(values),
            goals.get(name),
        )
        for name, values in taken.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--policies", type=int, nargs="*", default=[10, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="rewrite the table in docs/performance.md")
    chosen = parser.parse_args()
    samples = [one for count in chosen.policies for one in measure(chosen.pods, count, chosen.rounds)]
    for sample in samples:
        rate = f"  {1e6 / sample.median:,.0f} flows/s" if sample.unit == "µs/flow" else ""
        print(sample.line() + rate)
    if chosen.write:
        harness.publish("model", samples, "python -m bench.model")


if __name__ == "__main__":
    main()
