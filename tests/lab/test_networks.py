"""What a Lab document may say of its network, what it becomes, and what cannot be."""

import itertools
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from netemu.base import errors
from netemu.lab import config, layout, plan

FAMILIES = (["ipv4"], ["ipv6"], ["ipv4", "ipv6"], ["ipv6", "ipv4"])


def lab(**network):
    return config.parse({"nodes": 5, "network": network})


@pytest.mark.parametrize("families", FAMILIES, ids=" ".join)
@pytest.mark.parametrize("backend", ["host-gw", "vxlan", "bgp", "none", "flannel"])
def test_a_document_is_read_back_as_it_was(backend, families):
    for segments in (1, 3) if backend != "host-gw" else (1,):
        found = lab(backend=backend, families=families, segments=segments)
        assert config.parse(found.document()) == found
        assert found.network.document()["families"] == families


def test_the_first_family_is_the_primary_one():
    found = lab(families=["ipv6", "ipv4"])
    assert found.nodes[0].ips == ("fd00:18::2", "172.18.0.2")
    assert found.dns_service == ("fd00:96::a", "10.96.0.10")
    assert [net.version for net in found.ranges.pods] == [6, 4]


@pytest.mark.parametrize(("family", "version"), [("ipv4", 4), ("ipv6", 6)])
def test_a_lab_of_one_family_has_nothing_of_the_other(family, version):
    found = lab(families=[family])
    for networks in (found.ranges.nodes, found.ranges.pods, found.ranges.services, found.ranges.outside):
        assert [net.version for net in networks] == [version]
    for step in plan.network(found, {place: place for place in plan.places(found)}):
        for operation in step.operations:
            for value in (getattr(operation, "ip", None), getattr(operation, "dst", None)):
                assert value is None or value.version == version, operation.describe()


def test_nodes_are_dealt_out_to_segments():
    found = lab(backend="vxlan", segments=2)
    assert [(node.name, node.segment, *node.ips) for node in found.nodes] == [
        ("control-plane-1", 0, "172.18.0.2", "fd00:18::2"),
        ("worker-1", 1, "172.18.1.2", "fd00:18::1:0:0:2"),
        ("worker-2", 0, "172.18.0.3", "fd00:18::3"),
        ("worker-3", 1, "172.18.1.3", "fd00:18::1:0:0:3"),
        ("worker-4", 0, "172.18.0.4", "fd00:18::4"),
    ]
    assert [str(router) for router in found.segments[1].router] == ["172.18.1.1/24", "fd00:18::1:0:0:1/80"]


@pytest.mark.parametrize("segments", [1, 2, 7, 16])
def test_segments_share_nothing_but_the_range(segments):
    found = config.parse({"nodes": 250, "network": {"backend": "vxlan", "segments": segments}})
    for here, there in itertools.combinations(found.segments, 2):
        for one, other in zip(here.router, there.router, strict=True):
            assert not one.network.overlaps(other.network)
    for node in found.nodes:
        routers = found.segments[node.segment].router
        for own, router, whole in zip(node.interfaces, routers, found.ranges.nodes, strict=True):
            assert own.network == router.network
            assert own.network.subnet_of(whole)
    assert len({ip for node in found.nodes for ip in node.ips}) == 250 * 2
    macs = [plan.mac(node.interfaces) for node in found.nodes]
    assert len(set(macs)) == 250


def test_addresses_without_ipv4_have_macs_of_their_own():
    found = config.parse({"nodes": 200, "network": {"backend": "vxlan", "segments": 3, "families": ["ipv6"]}})
    links = [*(node.interfaces for node in found.nodes), *(one.router for one in found.segments)]
    assert len({plan.mac(link) for link in links}) == len(links)


def test_the_router_has_a_bridge_for_each_segment():
    found = lab(backend="vxlan", segments=2)
    fabric = plan.network(found, {place: place for place in plan.places(found)})[0]
    assert fabric.place == layout.FABRIC
    told = [operation.describe() for operation in fabric.operations]
    assert "ip link set cp-1 master nodes" in told
    assert "ip link set worker-1 master nodes-2" in told
    assert "ip addr add 172.18.1.1/24 dev nodes-2" in told


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("network: vxlan\n", 1, "network must be a mapping"),
        ("network:\n  backed: vxlan\n", 2, "unknown field 'backed'"),
        ("network:\n  backend: ipip\n", 2, "network.backend is 'ipip'; possible is host-gw, vxlan, bgp"),
        ("network:\n  pods: bridge\n", 2, "network.pods is 'bridge'; possible is bridged, routed"),
        ("network:\n  mtu: big\n", 2, "network.mtu must be auto or a number of bytes, not 'big'"),
        ("network:\n  mtu: true\n", 2, "auto or a number"),
        ("network:\n  backend: vxlan\n  mtu: 1500\n", 3, "auto, or 1280 to 1430, which is what vxlan leaves"),
        ("network:\n  mtu: 1000\n", 2, "1280 to 1500"),
        ("network:\n  segments: 0\n", 2, "network.segments is 0; possible is 1 to 3"),
        ("network:\n  segments: 4\n", 2, "network.segments is 4; possible is 1 to 3"),
        ("network:\n  segments: 2\n", 1, "backend host-gw cannot join 2 segments"),
        ("network:\n  segments: 2\n  backend: host-gw\n", 3, "backend host-gw cannot join 2 segments"),
        ("network:\n  families: ipv4\n", 2, "must list ipv4, ipv6 or both"),
        ("network:\n  families: []\n", 2, "must list"),
        ("network:\n  families: [ipv4, ipv4]\n", 2, "must list"),
        ("network:\n  families: [4]\n", 2, "must list"),
        ("network:\n  direct-routing: true\n", 2, "direct-routing is for backend vxlan; this one is host-gw"),
        ("network:\n  direct-routing: 1\n", 2, "must be true or false"),
        ("network:\n  backend: none\n  pods: routed\n", 3, "network.pods is up to the network you bring"),
        ("network:\n  backend: none\n  mtu: 1400\n", 3, "network.mtu is up to the network you bring"),
        (
            "network:\n  families: [ipv4]\nranges:\n  pods: [fd01::/56]\n",
            4,
            "ranges.pods has an IPv6 range, and network.families has not",
        ),
        (
            "nodes: 9\nranges:\n  nodes: [172.18.0.0/23]\nnetwork:\n  segments: 2\n  backend: vxlan\n",
            3,
            "too small for 2 segments of 9 nodes",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, line: int, said: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(errors.Rejected) as caught:
        config.load(file)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"{file}:{line}: ")
    assert "\n" not in caught.value.message


def test_what_the_families_of_a_lab_leave_of_the_links():
    for families, most in ((["ipv4"], 1450), (["ipv6"], 1430)):
        assert lab(backend="vxlan", families=families, mtu=most).network.mtu == most
        with pytest.raises(errors.Rejected, match=f"1280 to {most}"):
            lab(backend="vxlan", families=families, mtu=most + 1)


def test_ranges_of_one_family_are_checked_alone():
    found = config.parse({"network": {"families": ["ipv6"]}, "ranges": {"pods": "fd01::/56"}})
    assert found.ranges.pods == (ip_network("fd01::/56"),)
    assert ip_address(found.nodes[0].ips[0]).version == 6


@pytest.mark.parametrize(
    ("arguments", "name"), [([], "blue"), (["--name", "red"], "red"), (["--name", "default"], "default")]
)
def test_the_name_in_the_file_counts_unless_another_is_given(monkeypatch, tmp_path, arguments, name):
    from click.testing import CliRunner

    from netemu.cli import up as command
    from netemu.lab import up

    def take(wanted, *, progress):
        raise errors.Rejected(f"it was to be {wanted.name}")

    monkeypatch.setattr(up, "up", take)
    monkeypatch.delenv("NETEMU_LAB", raising=False)
    file = tmp_path / "lab.yaml"
    file.write_text("name: blue\n")
    done = CliRunner().invoke(command.command, [*arguments, "-f", str(file)])
    assert str(done.exception) == f"it was to be {name}"


def test_the_page_about_labs_shows_the_defaults():
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    document = yaml.safe_load(shown)
    assert config.parse(document) == config.default()
    known = config.default().document()
    assert {key for key in document if key != "kind"} == set(known)
    assert all(set(document[key]) == set(known[key]) for key in known if isinstance(known[key], dict))
