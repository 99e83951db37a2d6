"""Clusters made up: namespaces, pods on two nodes, policies of every form; and steps from one to the next."""

from hypothesis import strategies as st

SPACES = ("x", "y")
NODES = ("n1", "n2")
NAMES = ("a", "b", "c")
NODE_ADDRESSES = {"n1": ("172.18.0.2", "fd00:18::2"), "n2": ("172.18.0.3", "fd00:18::3")}
PROTOCOLS = ("TCP", "UDP", "SCTP")
PORTS = (80, 81, 443)

labels = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("1", "2")), max_size=2)


def node(name):
    addresses = [{"type": "InternalIP", "address": a} for a in NODE_ADDRESSES[name]]
    return {
        "metadata": {"name": name, "labels": {"role": name}},
        "spec": {"podCIDRs": [f"10.244.{name[1]}.0/24", f"fd00:244:0:{name[1]}::/64"]},
        "status": {"addresses": addresses},
    }


def namespace(name, more):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **more}}}


@st.composite
def pods(draw, space, name):
    where = draw(st.sampled_from(NODES))
    index = SPACES.index(space) * len(NAMES) + NAMES.index(name) + 2
    named = [
        {"name": draw(st.sampled_from(("web", "db"))), "containerPort": port, "protocol": protocol}
        for port in PORTS[: draw(st.integers(0, 2))]
        for protocol in draw(st.sampled_from((("TCP",), ("UDP",), ("TCP", "UDP"))))
    ]
    ips = [{"ip": f"10.244.{where[1]}.{index}"}, {"ip": f"fd00:244:0:{where[1]}::{index}"}]
    host = draw(st.integers(0, 9)) == 0
    return {
        "metadata": {"name": name, "namespace": space, "uid": f"{space}-{name}", "labels": draw(labels)},
        "spec": {
            "nodeName": where,
            "hostNetwork": host,
            "containers": [{"name": "c", "image": "i", "ports": named}],
        },
        "status": {
            "phase": draw(st.sampled_from(("Running",) * 7 + ("Succeeded",))),
            "podIPs": [{"ip": ip} for ip in NODE_ADDRESSES[where]] if host else ips,
        },
    }


expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(("app", "tier")),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from(("1", "2")), min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(("app", "tier")),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
selectors = st.one_of(
    st.just({}),
    st.builds(lambda found: {"matchLabels": found}, labels),
    st.builds(lambda found: {"matchExpressions": [found]}, expressions),
)
spaces = st.one_of(
    selectors,
    st.sampled_from(SPACES).map(lambda name: {"matchLabels": {"kubernetes.io/metadata.name": name}}),
)
BLOCKS = (
    ("0.0.0.0/0", ["10.244.0.0/16", "203.0.113.0/25"]),
    ("10.244.0.0/16", ["10.244.1.0/24", "10.244.2.4/32"]),
    ("10.244.1.0/29", []),
    ("172.18.0.0/16", ["172.18.0.3/32"]),
    ("203.0.113.0/24", ["203.0.113.0/28"]),
    ("::/0", ["fd00:244::/56"]),
    ("fd00:244::/56", ["fd00:244:0:1::/64"]),
    ("2001:db8:113::/64", []),
)
blocks = st.sampled_from(BLOCKS).flatmap(
    lambda found: st.sampled_from(({"cidr": found[0]}, {"cidr": found[0], "except": found[1]}))
)
peers = st.one_of(
    selectors.map(lambda found: {"podSelector": found}),
    spaces.map(lambda found: {"namespaceSelector": found}),
    st.builds(lambda one, other: {"podSelector": one, "namespaceSelector": other}, selectors, spaces),
    blocks.map(lambda found: {"ipBlock": found}),
)
protocols = st.sampled_from(({}, *({"protocol": p} for p in PROTOCOLS)))
ports = st.one_of(
    protocols,
    st.builds(lambda port, more: {"port": port, **more}, st.sampled_from((*PORTS, "web", "db")), protocols),
    st.builds(
        lambda end, more: {"port": 80, "endPort": end, **more}, st.sampled_from((80, 81, 500)), protocols
    ),
)


def rules(side):
    return st.lists(
        st.builds(
            lambda whom, what: ({side: whom} if whom else {}) | ({"ports": what} if what else {}),
            st.lists(peers, max_size=2),
            st.lists(ports, max_size=2),
        ),
        max_size=2,
    )


@st.composite
def policies(draw, space, name):
    return {
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "podSelector": draw(selectors),
            "policyTypes": draw(st.sampled_from(([], ["Ingress"], ["Egress"], ["Ingress", "Egress"]))),
            "ingress": draw(rules("from")),
            "egress": draw(rules("to")),
        },
    }


both = st.builds(lambda one, other: {"podSelector": one, "namespaceSelector": other}, selectors, spaces)
wide = st.one_of(spaces.map(lambda found: {"namespaces": found}), both.map(lambda found: {"pods": found}))
beyond = st.one_of(
    wide,
    wide,
    st.lists(st.sampled_from([b[0] for b in BLOCKS]), min_size=1, max_size=2, unique=True).map(
        lambda found: {"networks": found}
    ),
    st.sampled_from(({}, {"matchLabels": {"role": "n1"}})).map(lambda found: {"nodes": found}),
    st.just({"domainNames": ["example.org"]}),
)
spoken = st.one_of(
    st.sampled_from(("web", "db")).map(lambda name: {"destinationNamedPort": name}),
    st.builds(
        lambda protocol, port: {protocol: port},
        st.sampled_from(("tcp", "udp", "sctp")),
        st.sampled_from(
            (
                {},
                {"destinationPort": {"number": 80}},
                {"destinationPort": {"range": {"start": 80, "end": 90}}},
            )
        ),
    ),
)


def cluster_rules(side, whom):
    return st.lists(
        st.builds(
            lambda action, found, what: (
                {"action": action, side: found} | ({"protocols": what} if what else {})
            ),
            st.sampled_from(("Accept", "Deny", "Pass")),
            st.lists(whom, min_size=1, max_size=2),
            st.lists(spoken, max_size=2),
        ),
        max_size=3,
    )


@st.composite
def cluster_policies(draw, name, priority):
    return {
        "metadata": {"name": name},
        "spec": {
            "tier": draw(st.sampled_from(("Admin", "Baseline"))),
            "priority": priority,
            "subject": draw(wide),
            "ingress": draw(cluster_rules("from", wide)),
            "egress": draw(cluster_rules("to", beyond)),
        },
    }


@st.composite
def steps(draw):
    """One change: kind, key, the object's document (None: gone)."""
    what = draw(st.sampled_from(("pod", "pod", "policy", "policy", "policy", "cluster", "cluster", "space")))
    gone = draw(st.integers(0, 4)) == 0
    space = draw(st.sampled_from(SPACES))
    if what == "pod":
        name = draw(st.sampled_from(NAMES))
        return what, (space, name), None if gone else draw(pods(space, name))
    if what == "policy":
        name = draw(st.sampled_from(("p", "q", "r")))
        return what, (space, name), None if gone else draw(policies(space, name))
    if what == "cluster":
        name = draw(st.sampled_from(("k", "l", "m")))
        return what, ("", name), None if gone else draw(cluster_policies(name, "klm".index(name)))
    return what, ("", space), namespace(space, draw(labels))


@st.composite
def histories(draw):
    """A first cluster, and what happens to it."""
    first = [("pod", (s, n), draw(pods(s, n))) for s in SPACES for n in NAMES]
    first += [("space", ("", s), namespace(s, draw(labels))) for s in SPACES]
    return first, draw(st.lists(steps(), min_size=1, max_size=6))
