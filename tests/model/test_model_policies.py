"""NetworkPolicy v1 and ClusterNetworkPolicy v1alpha2, a sentence of their specification a row.

Two Namespaces, two nodes; who may reach whom under these policies, and what the explanation names.
"""

# ruff: noqa: E501 (rows of a table: a policy is easier to read in one line)

import re
import textwrap

import pytest
import yaml

from netemu.api import clusterpolicies, codec, core, discovery, networking
from netemu.model import expect, flows, worlds

NODES = {"n1": 1, "n2": 2}
# name: node, host part, labels, ports (name/number/protocol)
PODS = {
    "shop/web": ("n1", 11, "app=web", "http/80/TCP alt/81/TCP dns/53/UDP sig/90/SCTP"),
    "shop/db": ("n2", 12, "app=db,tier=back", "http/8080/TCP db/5432/TCP"),
    "shop/job": ("n2", 13, "app=job", ""),
    "guests/web": ("n2", 14, "app=web", "http/80/TCP"),
    "guests/client": ("n1", 15, "app=client", ""),
}
SPACES = {"shop": {"team": "shop"}, "guests": {"team": "guests", "env": "prod"}}


def node(name, number):
    return codec.convert(
        core.Node,
        {
            "metadata": {"name": name, "labels": {"zone": name}},
            "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:244:0:{number}::/64"]},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": f"172.18.0.{number + 2}"},
                    {"type": "InternalIP", "address": f"fd00:18::{number + 2}"},
                ]
            },
        },
    )


def pod(name, on, host, labels, ports, *, host_network=False):
    namespace, _, plain = name.partition("/")
    declared = [
        {"name": n, "containerPort": int(number), "protocol": protocol}
        for n, number, protocol in (port.split("/") for port in ports.split())
    ]
    number = NODES[on]
    ips = [f"10.244.{number}.{host}", f"fd00:244:0:{number}::{host}"]
    if host_network:
        ips = [f"172.18.0.{number + 2}", f"fd00:18::{number + 2}"]
    return codec.convert(
        core.Pod,
        {
            "metadata": {
                "name": plain,
                "namespace": namespace,
                "labels": dict(pair.split("=") for pair in labels.split(",")),
            },
            "spec": {
                "nodeName": on,
                "hostNetwork": host_network,
                "containers": [{"name": "main", "ports": declared}],
            },
            "status": {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]},
        },
    )


def service(name, ip, selects, *, port=80, target=80, **spec):
    """A Service and its slices of one pod."""
    namespace, _, plain = name.partition("/")
    ips = [ip, f"fd00:96::{ip.rpartition('.')[2]}"]
    document = {
        "metadata": {"name": plain, "namespace": namespace},
        "spec": {"clusterIPs": ips, "ports": [{"name": "p", "port": port, "protocol": "TCP"} | spec]},
    }
    found = next(p for p in ALL if f"{p.metadata.namespace}/{p.metadata.name}" == selects)
    slices = [
        {
            "metadata": {
                "name": f"{plain}-{family}",
                "namespace": namespace,
                "labels": {worlds.SERVICE_NAME: plain},
            },
            "addressType": family,
            "ports": [{"name": "p", "port": target, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [found.status.podIPs[number].ip],
                    "nodeName": found.spec.nodeName,
                    "targetRef": {"kind": "Pod", "name": found.metadata.name},
                }
            ],
        }
        for number, family in enumerate(("IPv4", "IPv6"))
    ]
    return codec.convert(core.Service, document), [
        codec.convert(discovery.EndpointSlice, piece) for piece in slices
    ]


ALL = (
    *(pod(name, *rest) for name, rest in PODS.items()),
    pod("shop/agent", "n1", 0, "app=web", "http/80/TCP", host_network=True),
)
SERVICES = (
    service("shop/db", "10.96.0.20", "shop/db", port=5432, target=5432),
    service("shop/web", "10.96.0.21", "shop/web", port=8000, target=80, nodePort=30080),
)
OUTSIDE = worlds.Party("outside", "outside", addresses=("203.0.113.10", "2001:db8:113::10"))


def world(text="", **settings):
    documents = [d for d in yaml.safe_load_all(textwrap.dedent(text)) if d]
    plain, cluster = [], []
    for number, document in enumerate(documents):
        name = document.pop("name", f"p{number}")
        namespace = document.pop("in", "shop")
        if "tier" in document:
            meta = {"name": name}
            found = codec.convert(clusterpolicies.ClusterNetworkPolicy, {"metadata": meta, "spec": document})
            cluster.append(found)
        else:
            meta = {"name": name, "namespace": namespace}
            plain.append(codec.convert(networking.NetworkPolicy, {"metadata": meta, "spec": document}))
    return worlds.World(
        pods=ALL,
        nodes=tuple(node(name, number) for name, number in NODES.items()),
        services=tuple(found for found, _ in SERVICES),
        slices=tuple(piece for _, pieces in SERVICES for piece in pieces),
        outside=OUTSIDE,
        namespaces=tuple(
            codec.convert(core.Namespace, {"metadata": {"name": name, "labels": labels}})
            for name, labels in SPACES.items()
        ),
        policies=tuple(plain),
        cluster_policies=tuple(cluster),
        settings=worlds.Settings(**settings),
    )


def flow_of(found, text, family=4):
    """`shop/web > shop/db:80/TCP`; nodes and outside by name, addresses as they are."""
    who, host, port, protocol = re.fullmatch(r"(.+) > (.+?)(?::(\d+))?(?:/([A-Z]+))?", text).groups()
    parties = {
        f"{p.namespace}/{p.name}" if p.kind == "pod" else p.name: p
        for p in (*found.parties(), *(worlds.pod_party(one) for one in ALL))
    }
    if host in parties:
        host = next(a for a in parties[host].addresses if (":" in a) == (family == 6))
    elif host.startswith("service "):
        chosen = next(s for s, _ in SERVICES if f"shop/{s.metadata.name}" == host.removeprefix("service "))
        host = chosen.spec.clusterIPs[0 if family == 4 else 1]
    return flows.Flow(parties[who], host, int(port or 0), protocol or "TCP", family)


def ask(found, text, family=4):
    return expect.expect(found, flow_of(found, text, family))


ROWS = {
    "nothing selects: everything is allowed": (
        "",
        "ok shop/web > shop/db:5432 | ok guests/client > shop/web:80 | ok shop/db > shop/web:53/UDP",
    ),
    "a policy isolates the pods it selects, in its own Namespace only": (
        "podSelector: {matchLabels: {app: web}}",
        "dropped shop/db > shop/web:80 | ok shop/db > guests/web:80 | ok shop/web > shop/db:5432",
    ),
    "an empty podSelector selects all pods of the Namespace": (
        "podSelector: {}",
        "dropped shop/web > shop/db:5432 | dropped guests/client > shop/web:80 | ok shop/web > guests/web:80",
    ),
    "the directions are isolated apart: ingress says nothing of egress": (
        "{podSelector: {}, policyTypes: [Egress]}",
        "dropped shop/web > guests/web:80 | ok guests/web > shop/web:80",
    ),
    "policyTypes default to Ingress": (
        "{podSelector: {}, ingress: [{}]}",
        "ok guests/web > shop/web:80 | ok shop/web > guests/web:80",
    ),
    "policyTypes default to Ingress and Egress when there are egress rules": (
        "{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}",
        "dropped guests/web > shop/web:80 | dropped shop/web > guests/web:80",
    ),
    "egress rules without the type Egress are not in force": (
        "{podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: [{to: [{podSelector: {}}]}]}",
        "ok shop/web > guests/web:80",
    ),
    "a connection needs its sender's egress and its receiver's ingress": (
        """
        {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}
        ---
        {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: job}}}]}]}
        """,
        "dropped shop/web > shop/db:5432 | ok shop/job > shop/db:5432 | ok shop/web > shop/job:9",
    ),
    "no rule: nothing; an empty rule: everything": (
        """
        {podSelector: {matchLabels: {app: db}}, ingress: []}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{}]}
        """,
        "dropped shop/web > shop/db:5432 | ok guests/client > shop/web:80 | ok outside > 172.18.0.3:30080",
    ),
    "replies need no rule: the connection they belong to was let through": (
        """
        {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress], ingress: [{}]}
        ---
        {podSelector: {matchLabels: {app: job}}, policyTypes: [Ingress, Egress], egress: [{}]}
        """,
        "ok shop/job > shop/db:5432 | dropped shop/db > shop/web:80 | dropped shop/web > shop/job:9",
    ),
    "absent, null and an empty list are alike: no rules, any peer, any port": (
        """
        {podSelector: {matchLabels: {app: db}}, ingress: null}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{from: null, ports: null}]}
        """,
        "dropped shop/web > shop/db:5432 | ok guests/client > shop/web:80 | ok shop/db > shop/web:53/UDP",
    ),
    "policies of other Namespaces never select a pod": (
        "{in: guests, podSelector: {}, policyTypes: [Ingress, Egress]}",
        "ok shop/web > shop/db:5432 | ok outside > 172.18.0.3:30080 | dropped shop/web > guests/web:80",
    ),
    "an empty list of ports is every port and protocol": (
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: []}]}",
        "ok shop/db > shop/web:80 | ok shop/db > shop/web:53/UDP | ok shop/db > shop/web:90/SCTP"
        " | ok shop/db > shop/web/ICMP | dropped shop/job > shop/web:80",
    ),
    "an empty list of peers is anybody": (
        "{podSelector: {}, ingress: [{from: [], ports: [{port: 80}]}]}",
        "ok guests/client > shop/web:80 | dropped guests/client > shop/web:81",
    ),
    "policies are a union: order and number do not matter": (
        """
        {podSelector: {}, name: deny}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 81}]}]}
        """,
        "ok shop/db > shop/web:80 | ok guests/client > shop/web:81 | dropped guests/client > shop/web:80",
    ),
    "a podSelector alone means the policy's own Namespace": (
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        "ok shop/web > shop/db:5432 | dropped guests/web > shop/db:5432",
    ),
    "a namespaceSelector alone means all pods there": (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: guests}}}]}]}",
        "ok guests/client > shop/web:80 | ok guests/web > shop/web:80 | dropped shop/db > shop/web:80",
    ),
    "both selectors in one entry: and": (
        """
        {podSelector: {}, ingress: [{from: [
          {namespaceSelector: {matchLabels: {team: guests}}, podSelector: {matchLabels: {app: web}}}]}]}
        """,
        "ok guests/web > shop/db:5432 | dropped guests/client > shop/db:5432 | dropped shop/web > shop/db:5432",
    ),
    "two entries: or": (
        """
        {podSelector: {}, ingress: [{from: [
          {namespaceSelector: {matchLabels: {team: guests}}}, {podSelector: {matchLabels: {app: web}}}]}]}
        """,
        "ok guests/client > shop/db:5432 | ok shop/web > shop/db:5432 | dropped shop/job > shop/db:5432",
    ),
    "an empty namespaceSelector means all Namespaces": (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}",
        "ok guests/client > shop/db:5432 | ok shop/web > shop/db:5432 | dropped outside > 172.18.0.4:30080"
        " | dropped n1 > shop/db:5432",
    ),
    "an empty podSelector as a peer means all pods of the Namespace": (
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}",
        "ok shop/web > shop/db:5432 | dropped guests/web > shop/db:5432",
    ),
    "a selector that is absent or null says nothing; an empty one selects all": (
        """
        {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}, namespaceSelector: null}]}]}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]}
        """,
        "ok shop/web > shop/db:5432 | dropped guests/web > shop/db:5432 | ok guests/client > shop/web:80",
    ),
    "In, NotIn, Exists, DoesNotExist; the negative ones match a missing key": (
        """
        {podSelector: {matchExpressions: [{key: app, operator: In, values: [db]}]}, ingress: [{from: [
          {podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}]}]}
        ---
        {podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}, ingress: [{from: [
          {podSelector: {matchExpressions: [{key: tier, operator: Exists}]}}]}]}
        """,
        "ok shop/web > shop/db:5432 | ok shop/db > shop/web:80 | dropped shop/job > shop/web:80",
    ),
    "every Namespace has its name as a label": (
        """
        {podSelector: {}, ingress: [{from: [
          {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: guests}}}]}]}
        """,
        "ok guests/client > shop/db:5432 | dropped shop/web > shop/db:5432",
    ),
    "an ipBlock means addresses, of pods as well, but for its exceptions": (
        """
        {podSelector: {}, policyTypes: [Egress], egress: [{to: [
          {ipBlock: {cidr: 10.244.0.0/16, except: [10.244.2.14/32]}}]}]}
        """,
        "ok shop/web > shop/db:5432 | dropped shop/web > guests/web:80 | dropped shop/web > 203.0.113.10:80",
    ),
    "another entry may allow what an exception leaves out": (
        """
        {podSelector: {}, policyTypes: [Egress], egress: [{to: [
          {ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {podSelector: {matchLabels: {app: db}}}]}]}
        """,
        "ok shop/web > shop/db:5432 | dropped shop/web > guests/web:80 | ok shop/web > 203.0.113.10:80",
    ),
    "ports: TCP unless said otherwise; no number: all of the protocol": (
        """
        {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}, {protocol: UDP}]}]}
        """,
        "ok shop/db > shop/web:80 | dropped shop/db > shop/web:81 | ok shop/db > shop/web:53/UDP"
        " | dropped shop/db > shop/web:90/SCTP",
    ),
    "SCTP is a protocol like the others": (
        "{podSelector: {}, ingress: [{ports: [{protocol: SCTP, port: 90}]}]}",
        "ok shop/db > shop/web:90/SCTP | dropped shop/db > shop/web:80",
    ),
    "endPort is the last of a range": (
        "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 81}]}]}",
        "ok shop/db > shop/web:80 | ok shop/db > shop/web:81 | dropped shop/db > shop/web:82",
    ),
    "a named port is the receiving pod's own": (
        "{podSelector: {}, ingress: [{ports: [{port: http}]}]}",
        "ok shop/job > shop/web:80 | ok shop/job > shop/db:8080 | dropped shop/job > shop/db:80",
    ),
    "a named port in egress is the destination's, pod by pod": (
        "{podSelector: {matchLabels: {app: job}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}",
        "ok shop/job > guests/web:80 | ok shop/job > shop/db:8080 | dropped shop/job > shop/db:80"
        " | dropped shop/job > 203.0.113.10:80",
    ),
    "a name with another protocol, or that nobody serves, matches nothing": (
        "{podSelector: {}, ingress: [{ports: [{port: http, protocol: UDP}, {port: nope}]}]}",
        "dropped shop/job > shop/web:80 | dropped shop/job > shop/web:80/UDP",
    ),
    "rules are about the pod's port, after the Service": (
        "{podSelector: {matchLabels: {app: job}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}",
        "ok shop/job > service shop/web:8000 | dropped shop/job > service shop/db:5432",
    ),
    "rules are about the pod's address, after the Service": (
        """
        {podSelector: {matchLabels: {app: job}}, policyTypes: [Egress],
         egress: [{to: [{ipBlock: {cidr: 10.96.0.0/16}}]}]}
        """,
        "dropped shop/job > service shop/db:5432 | dropped shop/job > shop/db:5432",
    ),
    "selectors are met through a Service": (
        """
        {podSelector: {matchLabels: {app: job}}, policyTypes: [Egress],
         egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}
        """,
        "ok shop/job > service shop/db:5432 | dropped shop/job > service shop/web:8000",
    ),
    "a pod always reaches itself": (
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        "ok shop/web > shop/web:80 | ok shop/web > service shop/web:8000 | ok shop/web > 127.0.0.1:80",
    ),
    "a pod's own node always reaches it, and is reached by it": (
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        "ok n1 > shop/web:80 | dropped n2 > shop/web:80 | ok shop/agent > shop/web:80"
        " | ok shop/web > shop/agent:80 | dropped shop/db > shop/agent:80",
    ),
    "pods in the host's network are not selected, neither as subjects nor as peers": (
        "{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}], "
        "ingress: [{from: [{podSelector: {}}]}]}",
        "ok guests/client > shop/agent:80 | ok shop/agent > guests/web:80 | dropped shop/agent > shop/db:5432",
    ),
    "ICMP: a rule without ports allows it, one with ports does not": (
        """
        {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}
        ---
        {podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}, {protocol: UDP}]}]}
        """,
        "ok shop/job > shop/web/ICMP | dropped shop/job > shop/db/ICMP",
    ),
    "from outside, policy sees the client on the node that was asked": (
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]}",
        "ok outside > 172.18.0.3:30080 | dropped outside > 172.18.0.4:30080",
    ),
    "from outside through another node, policy sees that node: it masqueraded": (
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 172.18.0.4/32}}]}]}",
        "dropped outside > 172.18.0.3:30080 | ok outside > 172.18.0.4:30080",
    ),
    "to a node port of another node, egress sees that node; of its own, the pod behind it": (
        """
        {podSelector: {matchLabels: {app: job}}, policyTypes: [Egress],
         egress: [{to: [{ipBlock: {cidr: 172.18.0.0/16}}]}]}
        """,
        "ok shop/job > 172.18.0.3:30080 | dropped shop/job > 172.18.0.4:30080",
    ),
    "Admin tier: the lower priority number decides first, and before NetworkPolicy": (
        """
        {tier: Admin, priority: 20, subject: {namespaces: {}}, name: deny,
         ingress: [{action: Deny, from: [{namespaces: {}}]}]}
        ---
        {tier: Admin, priority: 10, subject: {namespaces: {matchLabels: {team: shop}}}, name: allow,
         ingress: [{action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}]}]}
        ---
        podSelector: {}
        """,
        "ok guests/client > shop/web:80 | dropped shop/db > shop/web:80 | dropped shop/web > guests/web:80",
    ),
    "of two cluster policies of one priority the first by name decides": (
        """
        {tier: Admin, priority: 5, name: b, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}
        ---
        {tier: Admin, priority: 5, name: a, subject: {namespaces: {}},
         ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: guests}}}]}]}
        """,
        "dropped guests/client > shop/web:80 | ok shop/db > shop/web:80",
    ),
    "a cluster policy's named port in egress is the destination's, pod by pod": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [
          {action: Deny, to: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]}]}
        """,
        "dropped shop/job > shop/web:80 | dropped shop/job > shop/db:8080 | ok shop/job > shop/db:80"
        " | ok shop/job > shop/db:5432",
    ),
    "a rule of a cluster policy without ports is about every protocol; of one protocol, all its ports": (
        """
        {tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}},
         ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: guests}}}]},
                   {action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {}}]}]}
        """,
        "dropped guests/client > shop/web:53/UDP | dropped shop/db > shop/web:81 | ok shop/db > shop/web:53/UDP",
    ),
    "within a policy the first rule that matches decides": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [
          {action: Accept, to: [{networks: [10.244.2.0/24]}], protocols: [{tcp: {destinationPort: {number: 80}}}]},
          {action: Deny, to: [{networks: [10.244.0.0/16, "fd00:244::/56"]}]}]}
        """,
        "ok shop/web > guests/web:80 | dropped shop/web > shop/db:5432 | ok shop/web > 203.0.113.10:80",
    ),
    "Pass leaves it to the next tier": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [
          {action: Pass, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]},
          {action: Deny, from: [{namespaces: {}}]}]}
        ---
        {podSelector: {matchLabels: {app: db}}}
        """,
        "ok shop/web > shop/job:9 | dropped shop/web > shop/db:5432 | dropped shop/job > shop/web:80",
    ),
    "Baseline speaks only of pods that no NetworkPolicy selects": (
        """
        {tier: Baseline, priority: 1, subject: {namespaces: {matchLabels: {team: shop}}},
         ingress: [{action: Deny, from: [{namespaces: {}}]}]}
        ---
        {podSelector: {matchLabels: {app: web}}, ingress: [{}]}
        """,
        "ok shop/db > shop/web:80 | dropped shop/web > shop/db:5432 | ok shop/web > guests/web:80",
    ),
    "Pass in Baseline leaves it to the default": (
        """
        {tier: Baseline, priority: 1, subject: {namespaces: {}}, ingress: [
          {action: Pass, from: [{namespaces: {matchLabels: {team: shop}}}]},
          {action: Deny, from: [{namespaces: {}}]}]}
        """,
        "ok shop/web > shop/db:5432 | dropped guests/client > shop/web:80",
    ),
    "cluster policies leave the directions alone for which they have no rules": (
        "{tier: Admin, priority: 1, subject: {namespaces: {}}}",
        "ok shop/web > shop/db:5432",
    ),
    "networks count for ICMP, too": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}},
         egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]}
        """,
        "dropped shop/web > guests/web/ICMP | dropped shop/web > 203.0.113.10/ICMP",
    ),
    "nodes are peers by their labels": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}},
         egress: [{action: Deny, to: [{nodes: {matchLabels: {zone: n2}}}]}]}
        """,
        "dropped shop/web > 172.18.0.4/ICMP | ok shop/web > 172.18.0.3/ICMP | dropped shop/db > 172.18.0.4/ICMP",
    ),
    "ranges of ports, named ports": (
        """
        {tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}},
         ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [
           {tcp: {destinationPort: {range: {start: 81, end: 90}}}}, {destinationNamedPort: dns}, {sctp: {}}]}]}
        """,
        "ok shop/db > shop/web:80 | dropped shop/db > shop/web:81 | dropped shop/db > shop/web:53/UDP"
        " | dropped shop/db > shop/web:90/SCTP",
    ),
    "by its own address a pod is exempt from cluster policies, through a Service it is not": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
        """,
        "ok shop/web > shop/web:80 | dropped shop/web > service shop/web:8000",
    ),
    "cluster policies never select pods in the host's network": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}},
         ingress: [{action: Deny, from: [{namespaces: {}}]}], egress: [{action: Deny, to: [{namespaces: {}}]}]}
        """,
        "ok shop/db > shop/agent:80 | ok shop/agent > shop/db:5432",
    ),
    "an unknown peer fails closed: Accept accepts nothing": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [
          {action: Accept, to: [{domainNames: [example.com]}, {networks: [0.0.0.0/0]}]},
          {action: Deny, to: [{networks: [0.0.0.0/0]}]}]}
        """,
        "dropped shop/web > shop/db:5432",
    ),
    "an unknown peer fails closed: Deny and Pass deny everything": (
        """
        {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Pass, from: [{}]}]}
        """,
        "dropped shop/web > shop/db:5432",
    ),
}


@pytest.mark.parametrize("sentence", ROWS)
def test_sentences(sentence):
    policies, wanted = ROWS[sentence]
    found = world(policies)
    for row in wanted.split(" | "):
        word, _, flow = row.partition(" ")
        verdict = ask(found, flow)
        assert word in verdict.words, (flow, verdict.text)
        if word == "dropped":
            assert verdict.outcome == "dropped", (flow, verdict.text)
        else:
            assert "dropped" not in verdict.words, (flow, verdict.text)


@pytest.mark.parametrize(
    "sentence", [s for s, (policies, flows_) in ROWS.items() if "ipBlock" not in policies]
)
def test_selectors_mean_pods_in_both_families(sentence):
    policies, wanted = ROWS[sentence]
    found = world(policies.replace("0.0.0.0/0", '"::/0"').replace("10.244.2.0/24", '"fd00:244:0:2::/64"'))
    for row in wanted.split(" | "):
        word, _, flow = row.partition(" ")
        if not any(f"{number}." in flow for number in (203, 172, 127)):
            assert ("dropped" in ask(found, flow, 6).words) == (word == "dropped"), flow


def lines(policies, flow, family=4):
    return [str(reason) for reason in ask(world(policies), flow, family).reasons]


def test_a_drop_names_the_policies_and_what_no_rule_allows():
    policies = "{podSelector: {}, policyTypes: [Egress], name: deny-all}"
    assert lines(policies, "shop/web > shop/db:5432")[-1] == (
        "egress of shop/web is isolated by policy shop/deny-all; no rule allows tcp/5432 to shop/db"
    )
    two = (
        policies + "\n---\n{podSelector: {matchLabels: {app: db}}, name: a}\n---\n{podSelector: {}, name: b}"
    )
    assert lines(two, "guests/client > shop/db:5432")[-1] == (
        "ingress of shop/db is isolated by policies shop/a, shop/b; no rule allows tcp/5432 from guests/client"
    )


def test_an_allowed_flow_names_the_rule_with_its_selectors():
    policies = """
        {podSelector: {}, name: ours, policyTypes: [Ingress, Egress], egress: [{}], ingress: [{from: [
          {podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}],
          ports: [{port: 5432}, {port: dns, protocol: UDP}]}]}
        """
    assert lines(policies, "shop/web > service shop/db:5432") == [
        "Service shop/db has port 5432/TCP",
        "1 ready endpoint",
        "egress of shop/web is isolated; policy shop/ours allows it by egress[0] (to anybody)",
        "ingress of shop/db is isolated; policy shop/ours allows it by ingress[0] (from pods app=web in "
        "Namespace shop or 10.0.0.0/8 except 10.1.0.0/16: tcp/5432, udp/dns)",
    ]


def test_reasons_are_values():
    policies = "{podSelector: {}, name: ours, ingress: [{ports: [{port: 1}]}, {ports: [{port: 80}]}]}"
    (reason,) = (r for r in ask(world(policies), "guests/client > shop/web:80").reasons if r.kind == "policy")
    assert (reason.subject, reason.rule, reason.field) == ("shop/ours", 1, "ingress")


def test_cluster_policies_name_tier_order_by_rule_names():
    policies = """
        {tier: Admin, priority: 1, name: gate, subject: {namespaces: {}}, ingress: [
          {name: leave, action: Pass, from: [{namespaces: {matchLabels: {team: shop}}}]},
          {name: shut, action: Deny, from: [{namespaces: {}}]}]}
        """
    assert lines(policies, "guests/client > shop/web:80")[-1] == (
        "ingress of shop/web from guests/client is denied by ClusterNetworkPolicy gate, ingress[1] 'shut' "
        "(from all pods in all Namespaces)"
    )
    assert lines(policies, "shop/db > shop/web:80")[-1] == (
        "no policy isolates ingress of shop/web (ClusterNetworkPolicy gate, ingress[0] 'leave', leaves it to "
        "the next tier)"
    )


def test_backends_are_judged_one_by_one():
    """A Service of pods in other hands: policy of the one lets in, of the other does not."""
    found = world("{podSelector: {matchLabels: {app: web}}}")
    _, pieces = SERVICES[0]
    web = next(p for p in ALL if p.metadata.name == "web")
    mixed = codec.document(pieces[0])
    mixed["endpoints"].append(
        {
            "addresses": [web.status.podIPs[0].ip],
            "nodeName": "n1",
            "targetRef": {"kind": "Pod", "name": "web"},
        }
    )
    rest = tuple(piece for piece in found.slices if piece.metadata.name != pieces[0].metadata.name)
    found = found._replace(slices=(*rest, codec.convert(discovery.EndpointSlice, mixed)))
    verdict = ask(found, "shop/job > service shop/db:5432")
    assert [(o.word, o.endpoint, o.probability) for o in verdict.outcomes] == [
        ("dropped", "", 0.5),
        ("ok", "db", 0.5),
    ]
    assert verdict.outcome == ""
    assert verdict.against("ok", "db") == verdict.against("dropped") == ""
    assert verdict.against("refused") == "refused, but the model says dropped or ok"
    assert verdict.against("ok", "web") == "web answered, which is none of db"


def test_judging_many_says_the_same_as_explaining_one():
    """`judge` leaves the reasons away, and nothing else."""
    for policies, wanted in ROWS.values():
        found = world(policies)
        for row in wanted.split(" | "):
            flow = flow_of(found, row.partition(" ")[2])
            verdict = expect.expect(found, flow)
            bare = expect.of(found).judge(flow)
            assert [o._replace(because=()) for o in bare.outcomes] == [
                o._replace(because=()) for o in verdict.outcomes
            ]


def test_selectors_mean_running_pods_alone():
    """The address of one that is over, or pending, is nobody's; one that is being deleted keeps its own."""
    found = world("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}")
    web = next(p for p in ALL if p.metadata.name == "web" and p.metadata.namespace == "shop")
    gone = {"status": {"phase": "Succeeded", "podIPs": [{"ip": ip.ip} for ip in web.status.podIPs]}}
    for changes, word in (
        (gone, "dropped"),
        ({"status": {"phase": "Pending"}}, "dropped"),
        ({"metadata": codec.document(web.metadata) | {"deletionTimestamp": "2026-01-02T03:04:05Z"}}, "ok"),
    ):
        changed = codec.convert(core.Pod, codec.document(web) | changes)
        pods = tuple(changed if pod is web else pod for pod in ALL)
        flow = flow_of(found, "shop/web > shop/db:5432")
        assert expect.expect(found._replace(pods=pods), flow).outcome == word, changes
    found = world("podSelector: {}")._replace(pods=tuple(changed if pod is web else pod for pod in ALL))
    assert ask(found, "shop/db > shop/web:80").outcome == "dropped"  # it keeps its policies to the end


@pytest.mark.parametrize(("cidr", "family"), [("10.244.2.0/24", 4), ("fd00:244:0:2::/64", 6)])
def test_an_ip_block_means_addresses_of_its_own_family(cidr, family):
    """A pod has one in each: of its two addresses the block means one."""
    found = world(f"{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: '{cidr}'}}}}]}}]}}")
    for asked in (4, 6):
        word = "ok" if asked == family else "dropped"
        assert ask(found, "shop/db > shop/web:80", asked).outcome == word


def test_where_policies_are_not_enforced_they_decide_nothing():
    found = world("{podSelector: {}}", policed=False)
    assert ask(found, "guests/client > shop/web:80").outcome == "ok"


def test_nodes_speak_with_another_address_over_a_tunnel():
    policies = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.244.2.0/32}}]}]}"
    assert ask(world(policies), "outside > 172.18.0.4:30080").outcome == "dropped"
    assert ask(world(policies, tunnelled=True), "outside > 172.18.0.4:30080").outcome == "ok"
