"""The 230 cases of the policy suite that Cyclonus and policy-assistant generate, composed anew. Data only.

Three Namespaces, three pods in each, a Service a pod. Most cases are one policy with one thing otherwise.
Says what is done to the cluster, step by step; not what must come of it.
"""

import ipaddress
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from netemu.verify import clusters

SPACES, PODS = ("x", "y", "z"), ("a", "b", "c")
DIRECTIONS = ("ingress", "egress")
PEERS = {"ingress": "from", "egress": "to"}
Document = Mapping[str, Any]


class Case(NamedTuple):
    """One story. After each of its `steps`, which are changes done at once, every pod asks every other."""

    group: str
    name: str
    tags: frozenset[str]
    steps: tuple[tuple[clusters.Step, ...], ...]

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def case(group: str, name: str, tags: str, *steps: tuple[clusters.Step, ...]) -> Case:
    return Case(group, name, frozenset(tags.split()), steps)


# --- the cluster


class Topology(NamedTuple):
    """The nodes on which pods are, in turn."""

    nodes: tuple[str, ...] = ("n1", "n2")

    def first(self) -> clusters.State:
        """The cluster before each case."""
        spaces = (step for name in SPACES for step in (space(name),))
        pods = (step for place in itertools.product(SPACES, PODS) for step in self.pod(*place))
        return clusters.after({}, (*spaces, *pods))

    def labelled(self, namespace: str, name: str, **labels: str) -> clusters.Step:
        """A pod with these labels: it answers at 80 and 81, ports called serve-80-tcp and so on."""
        node = self.nodes[(ord(namespace[0]) + ord(name[0])) % len(self.nodes)]
        found = clusters.pod(namespace, name, labels, node=node)
        for port in (port for container in found["spec"]["containers"] for port in container["ports"]):
            port["name"] = f"serve-{port['containerPort']}-{port['protocol'].lower()}"
        return clusters.put(found)

    def pod(self, namespace: str, name: str) -> tuple[clusters.Step, ...]:
        """A pod with the label pod=NAME, and the Service that selects it."""
        ports = [
            {"name": f"{protocol.lower()}-{number}", "port": number, "protocol": protocol}
            for number, protocol in itertools.product(clusters.PORTS, clusters.PROTOCOLS)
        ]
        spec = {"selector": {"pod": name}, "ports": ports, "ipFamilyPolicy": "PreferDualStack"}
        service = {**clusters.named("Service", f"s-{namespace}-{name}", namespace), "spec": spec}
        return self.labelled(namespace, name, pod=name), clusters.put(service)


def space(name: str, **labels: str) -> clusters.Step:
    """A Namespace; without other labels it has ns=NAME."""
    return clusters.put(clusters.named("Namespace", name, labels=labels or {"ns": name}))


def gone(kind: str, name: str, namespace: str = "") -> clusters.Step:
    return clusters.Step("delete", clusters.Key(kind, namespace, name))


# --- selectors, peers, ports


def labels(**wanted: str) -> Document:
    return {"matchLabels": wanted}


def among(key: str, *values: str, operator: str = "In") -> Document:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def peer(spaces: Document | None = None, pods: Document | None = None) -> Document:
    """Selectors; None: there is none, which is not the same as one that selects everything."""
    given = {"namespaceSelector": spaces, "podSelector": pods}
    return {key: selector for key, selector in given.items() if selector is not None}


def block(cidr: str, *excepted: str) -> Document:
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepted)} if excepted else {})}}


def port(number: int | str | None = None, protocol: str = "", end: int = 0) -> Document:
    given = {"port": number, "protocol": protocol, "endPort": end}
    return {key: value for key, value in given.items() if value}


DNS = {"ports": [port(53, "UDP"), port(53, "TCP")]}
ANY: Document = {}
SELECTED = tuple(
    peer(spaces, pods)
    for spaces, pods in itertools.product((None, ANY, labels(ns="x")), (None, ANY, labels(pod="c")))
    if (spaces, pods) != (None, None)
)


def around(address: str) -> tuple[Document, ...]:
    """The 256 addresses around one, and the same without the 16 around it."""
    bits = ipaddress.ip_address(address).max_prefixlen
    wide, narrow = (str(ipaddress.ip_network(f"{address}/{bits - n}", strict=False)) for n in (8, 4))
    return block(wide), block(wide, narrow)


def peer_tags(one: Document) -> str:
    if "ipBlock" in one:
        return "ip-block-with-except" if "except" in one["ipBlock"] else "ip-block-no-except"
    spaces, pods = one.get("namespaceSelector"), one.get("podSelector")
    there = "namespaces-by-label" if spaces else "policy-namespace" if spaces is None else "all-namespaces"
    return f"{there} {'pods-by-label' if pods else 'all-pods'}"


def port_tags(one: Document) -> str:
    number = one.get("port")
    kind = "any-port" if number is None else "named-port" if isinstance(number, str) else "numbered-port"
    return f"{kind} {one.get('protocol', '').lower()} {'end-port' if 'endPort' in one else ''}"


# --- policies


def policy(
    name: str,
    pods: Document = ANY,
    *,
    namespace: str = "x",
    ingress: list[Document] | None = None,
    egress: list[Document] | None = None,
) -> clusters.Step:
    """A policy of the directions for which rules are given, be they none."""
    sides = {"ingress": ingress, "egress": egress}
    rules = {direction: found for direction, found in sides.items() if found is not None}
    types = [direction.capitalize() for direction in rules]
    spec = {"podSelector": pods, "policyTypes": types, **rules}
    return clusters.put({**clusters.named("NetworkPolicy", name, namespace), "spec": spec})


def base(
    direction: str = "",
    *,
    namespace: str = "x",
    pods: Document | None = None,
    rules: list[Document] | None = None,
    **changed: Any,
) -> clusters.Step:
    """The policy that cases vary: pod a of x may be asked by two pods, and ask two pods, at 80/TCP.

    In one direction its rules can be others, or its first rule's `peers` or `ports`.
    """
    given: dict[str, list[Document]] = {
        "ingress": [
            {"ports": [port(80, "TCP")], "from": [peer(among("ns", "x", "y"), among("pod", "b", "c"))]}
        ],
        "egress": [
            {"ports": [port(80, "TCP")], "to": [peer(among("ns", "y", "z"), among("pod", "a", "b"))]},
            DNS,
        ],
    }
    if changed:
        own = {PEERS[direction] if key == "peers" else key: value for key, value in changed.items()}
        given[direction][0] = {**given[direction][0], **own}
    if rules is not None:
        given[direction] = rules
    selector = labels(pod="a") if pods is None else pods
    return policy("base", selector, namespace=namespace, **given)


# --- the cases


def cases(topology: Topology, address: str) -> tuple[Case, ...]:
    """All of them. `address`: of the pod c in z; the ranges of addresses lie around it, in its family."""
    return (
        *targets(),
        *rules(),
        *peers(address),
        *ports(),
        *examples(topology),
        *actions(topology),
        *conflicts(),
        *by_name(),
        *upstream(topology),
    )


def targets() -> Iterator[Case]:
    for name in SPACES:
        yield case("target", f"the policy is in {name}", "target-namespace", (base(namespace=name),))
    for selector in (ANY, labels(pod="a"), among("pod", "a", "b")):
        yield case("target", f"it selects {dict(selector)}", "target-pod-selector", (base(pods=selector),))


def rules() -> Iterator[Case]:
    given: tuple[tuple[str, list[Document]], ...] = (("deny-all", []), ("allow-all", [{}]))
    for direction, (tag, found) in itertools.product(DIRECTIONS, given):
        yield case("rules", f"{direction}: {tag}", f"{direction} {tag}", (base(direction, rules=found),))


def peers(address: str) -> Iterator[Case]:
    """No peer, each peer, each pair of peers."""
    every = (*SELECTED, *around(address))
    for direction in DIRECTIONS:
        for count, tag in enumerate(("any-peer", "", "multi-peer")):
            for found in itertools.combinations(every, count):
                tags = " ".join((direction, tag, *map(peer_tags, found)))
                name = f"{direction}: {' or '.join(map(str, found)) or 'no peer'}"
                yield case("peers", name, tags, (base(direction, peers=list(found)),))


PORTS = (
    *(port(number, protocol) for protocol in ("", *clusters.PROTOCOLS) for number in (None, 80, 81)),
    *(
        port(f"serve-{number}-{protocol.lower()}", protocol)
        for protocol, number in itertools.product(clusters.PROTOCOLS, clusters.PORTS)
    ),
    *(port(53, protocol, end) for protocol in clusters.PROTOCOLS for end in (80, 84)),
)
PATHOLOGICAL = (  # another protocol's name, a name and a number that nobody has
    port("serve-81-udp", "TCP"),
    port("serve-7981-udp", "TCP"),
    port(7981, "TCP"),
)
PAIRS = (
    (port(), port(80)),
    (port(), port("serve-80-tcp")),
    (port(), port(protocol="UDP")),
    (port(80), port(81)),
    (port(80), port("serve-81-tcp")),
    (port(80), port("serve-81-udp", "UDP")),
    (port(80, "UDP"), port("serve-81-udp", "UDP")),
)


def ports() -> Iterator[Case]:
    lists: list[tuple[str, tuple[Document, ...]]] = [("any-port-protocol", ())]
    lists += [("", (one,)) for one in PORTS]
    lists += [("pathological", (one,)) for one in PATHOLOGICAL]
    lists += [("multi-port/protocol", pair) for pair in PAIRS]
    for direction, (tag, found) in itertools.product(DIRECTIONS, lists):
        tags = " ".join((direction, tag, *map(port_tags, found)))
        name = f"{direction}: {' or '.join(map(str, found)) or 'no port'}"
        yield case("ports", name, tags, (base(direction, ports=list(found)),))


NAMED_PORT = policy("named-port", ingress=[{"ports": [port("serve-81-tcp")]}])


def examples(topology: Topology) -> Iterator[Case]:
    yield case(
        "example",
        "one named port is open; a Namespace and a pod come and go",
        "example",
        (NAMED_PORT,),
        (space("w"), *topology.pod("w", "a")),
        (gone("Service", "s-w-a", "w"), gone("Pod", "a", "w")),
        (gone("Namespace", "w"),),
    )


def actions(topology: Topology) -> Iterator[Case]:
    yield case(
        "action",
        "a policy comes and goes",
        "create-policy delete-policy",
        (base(),),
        (gone("NetworkPolicy", "base", "x"),),
    )
    yield case(
        "action",
        "a policy changes",
        "create-policy update-policy",
        (base(),),
        (base("ingress", ports=[port("serve-81-udp", "UDP")]),),
    )
    another = (*topology.pod("y-2", "a"), *topology.pod("y-2", "b"))
    yield case(
        "action",
        "a Namespace comes and goes, with its pods",
        "create-namespace delete-namespace",
        (base(),),
        (space("y-2", ns="y"), *another),
        (gone("Namespace", "y-2"),),
    )
    yield case(
        "action",
        "a Namespace gets a label and loses it",
        "set-namespace-labels",
        (base("ingress", peers=[peer(labels(**{"new-ns": "qrs"}))]),),
        (space("y", ns="y", **{"new-ns": "qrs"}),),
        (space("y"),),
    )
    yield case(
        "action",
        "a pod comes and goes",
        "create-pod delete-pod",
        (base(),),
        topology.pod("x", "d"),
        (gone("Service", "s-x-d", "x"), gone("Pod", "d", "x")),
    )
    new = {"new-label": "abc"}
    yield case(
        "action",
        "a pod gets a label and loses it",
        "set-pod-labels",
        (base("ingress", peers=[peer(among("ns", "y", "z"), labels(**new))]),),
        (topology.labelled("y", "b", pod="b", **new),),
        (topology.labelled("y", "b", pod="b"),),
    )


class Stance(NamedTuple):
    """What a policy says to everybody, and how."""

    name: str
    tags: str
    peers: tuple[Document, ...] | None

    def at(self, direction: str, namespace: str, pod: str) -> clusters.Step:
        own = [] if self.peers is None else [{PEERS[direction]: list(self.peers)} if self.peers else {}]
        name = f"{self.name}-{direction}"
        rules = {direction: own}
        return policy(name, labels(pod=pod), namespace=namespace, **rules)


DENY, ALLOW = Stance("deny-all", "deny-all", None), Stance("allow-all", "allow-all", ())
ALL_PODS = Stance("allow-all-pods", "all-pods all-namespaces", (peer(ANY),))
NO_POD = Stance("allow-no-pod", "", (peer(labels(**{"nobody-has": "this"})),))
ALL_ADDRESSES = Stance("allow-all-addresses", "", (block("0.0.0.0/0"),))
NO_ADDRESS = Stance("allow-no-address", "", (block("0.0.0.0/31"),))
B, C = ("x", "b"), ("y", "c")
CONFLICTS: tuple[tuple[tuple[Stance, str, tuple[str, str]], ...], ...] = (
    ((DENY, "egress", B), (ALLOW, "ingress", C)),
    ((ALLOW, "egress", B), (DENY, "ingress", C)),
    ((DENY, "egress", B), (ALLOW, "egress", B)),
    ((DENY, "ingress", C), (ALLOW, "ingress", C)),
    *(
        tuple((stance, direction, B) for stance in stances)
        for direction in DIRECTIONS
        for stances in (
            (DENY, ALL_PODS),
            (DENY, ALL_ADDRESSES),
            (NO_ADDRESS, ALL_PODS),
            (NO_POD, ALL_ADDRESSES),
            (NO_ADDRESS,),
            (NO_POD,),
        )
    ),
)


def conflicts() -> Iterator[Case]:
    """Policies of different mind; who may send something may ask DNS servers, too."""
    for stances in CONFLICTS:
        step = tuple(stance.at(direction, *whose) for stance, direction, whose in stances)
        if any(direction == "egress" for _, direction, _ in stances):
            step += (policy("allow-dns", labels(pod="b"), egress=[DNS]),)
        name = ", ".join(
            f"{stance.name} {direction} of {'/'.join(whose)}" for stance, direction, whose in stances
        )
        tags = " ".join(f"{stance.tags} {direction}" for stance, direction, _ in stances)
        yield case("conflict", name, f"conflict {tags}", step)


def by_name() -> Iterator[Case]:
    """The label that every Namespace has of itself."""
    selector = labels(**{"kubernetes.io/metadata.name": "z"})
    for direction in DIRECTIONS:
        tags = f"{direction} namespaces-by-default-label"
        yield case("namespaces by default label", direction, tags, (base(direction, peers=[peer(selector)]),))


A = labels(pod="a")
FROM_Y = peer(labels(ns="y"))


def from_(*found: Document, **more: Any) -> list[Document]:
    return [{"from": list(found), **more}]


def upstream(topology: Topology) -> Iterator[Case]:
    """Those of Kubernetes' own end-to-end tests."""
    return itertools.starmap(
        lambda name, tags, *steps: case("upstream", name, f"upstream-e2e {tags}", *steps),
        (*_still(), *_changing(topology)),
    )


def _still() -> tuple[Any, ...]:
    """Policies that only come."""
    x_a = peer(labels(ns="x"), A)
    return (
        ("default deny ingress", "ingress deny-all", (policy("deny-ingress", ingress=[]),)),
        ("deny all but DNS", "deny-all", (policy("deny-all", ingress=[], egress=[DNS]),)),
        (
            "some pods of some Namespaces",
            "",
            (
                policy(
                    "some",
                    A,
                    ingress=from_(peer(among("ns", "x", operator="NotIn"), among("pod", "b", "c"))),
                ),
            ),
        ),
        (
            "policies on top of each other",
            "",
            (policy("at-81", A, ingress=from_(FROM_Y, ports=[port(81, "TCP")])),),
            (policy("at-80", A, ingress=from_(FROM_Y, ports=[port(80, "TCP")])),),
        ),
        ("allow all", "allow-all", (policy("allow-all", ingress=[{}]),)),
        ("a named port", "ingress named-port", (NAMED_PORT,)),
        (
            "ingress and egress together",
            "",
            (
                policy(
                    "both",
                    A,
                    ingress=from_(peer(pods=labels(pod="b"))),
                    egress=[{"ports": [port(80), port(53, "UDP")]}],
                ),
            ),
        ),
        (
            "egress is denied though ingress is allowed",
            "conflict",
            (
                policy(
                    "to-y-a",
                    A,
                    egress=[{"to": [peer(labels(ns="y"), A)]}, {"ports": [port(53, "UDP")]}],
                ),
                policy("from-x-a", A, namespace="y", ingress=from_(x_a)),
                policy("from-x-a-too", labels(pod="b"), namespace="y", ingress=from_(x_a)),
            ),
        ),
    )


def _changing(topology: Topology) -> tuple[Any, ...]:
    """Policies that change or go, and labels that come."""
    return (
        (
            "a policy turns from all to nothing",
            "",
            (policy("changes", ingress=[{}]),),
            (policy("changes", ingress=[]),),
        ),
        (
            "a Namespace gets the label",
            "",
            (policy("by-label", A, ingress=from_(peer(labels(ns2="updated")))),),
            (space("y", ns="y", ns2="updated"),),
        ),
        (
            "a client gets the label",
            "",
            (policy("by-label", A, ingress=from_(peer(pods=labels(pod="b", pod2="updated")))),),
            (topology.labelled("x", "b", pod="b", pod2="updated"),),
        ),
        (
            "a server gets the label",
            "",
            (policy("by-label", labels(target="isolated"), ingress=[]),),
            (topology.labelled("x", "a", target="isolated"),),
        ),
        (
            "a policy goes",
            "deny-all delete-policy",
            (policy("deny-all", ingress=[], egress=[]),),
            (gone("NetworkPolicy", "deny-all", "x"),),
        ),
    )
