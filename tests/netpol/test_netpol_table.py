"""The table of a small cluster as nft reads it, and what a change sends (NETEMU_REGENERATE=1: anew)."""

import os
from ipaddress import ip_address
from pathlib import Path

import yaml

from netemu.api import clusterpolicies, codec, networking
from netemu.netpol import changes, ledger, policies, ports, terms

HERE = Path(__file__).parent / "golden"
MANIFESTS = """
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: front}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}}]
    ports: [{port: http}, {port: 9000, endPort: 9010}]
---
metadata: {name: quiet, namespace: shop}
spec:
  podSelector: {matchLabels: {app: front}}
  policyTypes: [Egress]
  egress: [{to: [{namespaceSelector: {}}]}]
---
metadata: {name: no-metadata}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{networks: [169.254.169.254/32]}]}]
"""


def pod(name, node, host):
    given = (ip_address(f"10.244.1.{host}"), ip_address(f"fd00:244:0:1::{host}"))
    return terms.Pod(terms.Key("shop", name), node, {"app": name}, given, (("http", "tcp", 8080),))


def parsed():
    for document in yaml.safe_load_all(MANIFESTS):
        if "namespace" in document["metadata"]:
            yield policies.of_namespace(codec.convert(networking.NetworkPolicy, document))
        else:
            yield policies.of_cluster(codec.convert(clusterpolicies.ClusterNetworkPolicy, document))


def compare(name, text):
    if os.environ.get("NETEMU_REGENERATE"):
        HERE.mkdir(exist_ok=True)
        (HERE / name).write_text(text)
    assert text == (HERE / name).read_text()


def lines(documents):
    """Elements in order: which came first is nobody's concern."""
    found = []
    for document in documents:
        for line in str(document).splitlines():
            head, brace, rest = line.partition(" { ")
            if " element " in head:
                rest = f"{', '.join(sorted(rest.removesuffix(' }').split(', ')))} }}"
            found.append(f"{head}{brace}{rest}")
        found.append("")
    return "\n".join(found)


def test_the_table_of_a_small_cluster_and_a_change_of_it():
    book, table = ledger.Ledger("n1"), ledger.Table()
    pods = [pod("web", "n1", 2), pod("front", "n1", 3), pod("db", "n2", 4)]
    given = changes.none()
    given.pods.update({one.key: one for one in pods})
    given.spaces["shop"] = {terms.NAME_LABEL: "shop"}
    first, second, third = parsed()
    for one in (first, second, third):  # one by one, so that numbers come in this order
        given.policies[one.key] = one
        book.update(given)
    compare("table.nft", lines(table.fresh(book)))
    relabelled = pods[1]._replace(labels={"app": "back"})
    difference = book.update(changes.none()._replace(pods={relabelled.key: relabelled}))
    compare("relabelled.nft", lines(table.change(difference)))
    assert not table.change(book.update(changes.none()._replace(pods={relabelled.key: relabelled})))


def test_sets_of_ports():
    web, low = ports.one("tcp", 80, 80), ports.one("tcp", 0, 1023)
    assert ports.ALL - web == ports.Ports(((0, 79), (81, 65535)), ports.ALL.udp, ports.ALL.sctp, others=True)
    assert (low - web) | web == low
    assert low & ports.one("tcp", 1000, 2000) == ports.one("tcp", 1000, 1023)
    assert ~ports.NONE == ports.ALL
    assert ports.joined([(5, 6), (1, 2), (3, 4), (9, 9)]) == ((1, 6), (9, 9))
    assert ("tcp", 80) in low
    assert ("icmp", 0) not in low
    assert ("icmp", 0) in ports.ALL - web
    assert list((web | ports.one("udp", 1, 2)).boxes()) == [("tcp", 80, 80), ("udp", 1, 2)]


def test_ranges_of_addresses_do_not_overlap():
    blocks = [terms.block("10.0.0.0/8", ["10.1.0.0/16"]), terms.block("10.1.0.0/24"), terms.block("::/0")]
    found = {(str(c.first), str(c.last)): len(held) for c, held in terms.cells(blocks)}
    assert found == {
        ("10.0.0.0", "10.0.255.255"): 1,
        ("10.1.0.0", "10.1.0.255"): 1,
        ("10.2.0.0", "10.255.255.255"): 1,
        ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"): 1,
    }
