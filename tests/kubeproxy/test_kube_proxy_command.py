"""`netemu kube-proxy`: kube-proxy's flags as options, and the removal of what a proxy left."""

import os
import shutil
from pathlib import Path

import click
import pytest

from netemu.api import codec, core
from netemu.base import errors
from netemu.cli import kube_proxy
from netemu.kernel import firewall, netns, network
from netemu.kubeproxy import iptables, layout, options, programs
from netemu.wire import nft


def parsed(*arguments):
    with kube_proxy.command.make_context("kube-proxy", list(arguments)) as context:
        flags = dict(context.params)
    for name in ("kubeconfig", "node_name", "cleanup", "config"):
        flags.pop(name)
    return kube_proxy.settings(flags)


def test_without_flags_it_is_what_kube_proxy_is():
    assert parsed() == options.Options()


def test_ranges_may_be_repeated_or_joined_by_commas():
    found = parsed("--cluster-cidr", "10.0.0.0/8, fd00::/8", "--nodeport-addresses", "primary")
    assert (found.cluster_cidrs, found.node_port_addresses) == (("10.0.0.0/8", "fd00::/8"), ("primary",))


@pytest.mark.parametrize(
    ("flag", "mode"),
    [
        ("--pod-bridge-interface", "BridgeInterface"),
        ("--pod-interface-name-prefix", "InterfaceNamePrefix"),
    ],
)
def test_each_mode_takes_its_own_link(flag, mode):
    assert parsed(flag, "cni0", "--detect-local-mode", mode).local_link == "cni0"
    with pytest.raises(errors.Rejected, match="name of a link"):
        parsed("--detect-local-mode", mode)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--detect-local-mode", "Guess"),
        ("--cluster-cidr", "10.0.0.1/8"),
        ("--proxy-mode", "iptables", "--cluster-cidr", "10.0.0.0/9,10.128.0.0/9"),
        ("--nodeport-addresses", "primary,10.0.0.0/8"),
        ("--healthz-bind-address", "10256"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments):
    with pytest.raises(errors.Rejected):
        parsed(*arguments)


def test_the_command_is_kube_proxy_and_says_so():
    assert isinstance(kube_proxy.command, click.Command)
    assert kube_proxy.command.name == "kube-proxy"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\x80", "cannot read kubeconfig"),
        (b"clusters: [", "cannot read kubeconfig"),
        (b"kind: Config", "lacks 'current-context'"),
    ],
)
def test_a_bad_kubeconfig_is_said_before_anything_is_touched(tmp_path, monkeypatch, content, said):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delattr(kube_proxy, "_remove")
    path = tmp_path / "kubeconfig"
    path.write_bytes(content)
    with pytest.raises(errors.Rejected, match=said) as refusal:
        kube_proxy.command.main(["--kubeconfig", str(path)], standalone_mode=False)
    assert "\n" not in str(refusal.value)


def test_only_root_may_run_it(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in ([], ["--cleanup"]):
        with pytest.raises(errors.Rejected, match="root"):
            kube_proxy.command.main(arguments, standalone_mode=False)


@pytest.mark.root
def test_cleanup_removes_the_tables_and_nothing_else():
    place = netns.open_new()
    try:
        door = firewall.LibNftables(place)
        door.apply("".join(f"add table {family.table}\n" for family in layout.FAMILIES))
        door.apply(str(nft.Transaction(nft.Table("ip", "other"), (nft.Add(nft.Table("ip", "other")),))))
        with netns.inside(place):
            assert kube_proxy.command.main(["--cleanup"], standalone_mode=False) == 0
        left = [
            entry["table"]["name"] for entry in door.list_json("list tables")["nftables"] if "table" in entry
        ]
        assert left == ["other"]
    finally:
        os.close(place)


@pytest.mark.root
def test_changing_the_mode_removes_what_the_other_made():
    if shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    place = netns.open_new()
    localnet = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
    try:
        door = firewall.LibNftables(place)
        with netns.inside(place):
            around = options.surroundings(options.Options(), None)
            program = programs.Iptables(around, system=network.LinuxNetwork())
            program.apply(programs.Restore(()))
            door.apply("".join(f"add table {family.table}\n" for family in layout.FAMILIES))
            assert "KUBE-SERVICES" in program.saved(layout.IP)
            assert localnet.read_text() == "1\n"
            kube_proxy._remove("iptables")
            assert "KUBE" not in program.saved(layout.IP) + program.saved(layout.IP6)
            assert localnet.read_text() == "0\n"
            kube_proxy._remove("nftables")
        tables = [e["table"]["name"] for e in door.list_json("list tables")["nftables"] if "table" in e]
        assert layout.TABLE not in tables
    finally:
        os.close(place)


def test_kubelets_own_chain_stays_where_there_is_a_kubelet():
    kept = "*filter\n:KUBE-FIREWALL - [0:0]\n:KUBE-FORWARD - [0:0]\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n"
    canary = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
    assert "-X KUBE-FIREWALL" in iptables.removal(kept)
    assert "KUBE-FIREWALL" not in iptables.removal(canary + kept)
    assert "-X KUBE-FORWARD" in iptables.removal(canary + kept)


def test_the_nodes_own_ranges_and_primary_addresses_come_from_its_object():
    found = codec.convert(
        core.Node,
        {
            "metadata": {"name": "n"},
            "spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24", "fd00:244:0:3::/64"]},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n"},
                    {"type": "InternalIP", "address": "172.18.0.5"},
                    {"type": "InternalIP", "address": "172.18.0.6"},
                ]
            },
        },
    )
    chosen = parsed("--detect-local-mode", "NodeCIDR", "--nodeport-addresses", "primary")
    around = options.surroundings(chosen, found)
    assert (around["ip"].pods, around["ip6"].pods) == (("10.244.3.0/24",), ("fd00:244:0:3::/64",))
    assert (around["ip"].node_ports, around["ip6"].node_ports) == (("172.18.0.5/32",), ())
    assert options.surroundings(chosen, None)["ip"].pods == ()


def test_a_configuration_is_read_as_kube_proxy_reads_it():
    found = options.from_document(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": "10.244.0.0/16,fd00:244::/56",
            "healthzBindAddress": "",
            "metricsBindAddress": "0.0.0.0",
            "detectLocalMode": "BridgeInterface",
            "detectLocal": {"bridgeInterface": "cni0"},
            "iptables": {"masqueradeAll": True, "localhostNodePorts": False},
            "nftables": {"masqueradeAll": False},
            "nodePortAddresses": ["primary"],
        }
    )
    assert found == options.Options(
        cluster_cidrs=("10.244.0.0/16", "fd00:244::/56"),
        metrics="0.0.0.0:10249",
        masquerade_all=True,
        detect_local="BridgeInterface",
        local_link="cni0",
        node_port_addresses=("primary",),
        mode="iptables",
        localhost_node_ports=False,
    )
    assert options.from_document({"kind": "KubeProxyConfiguration"}) == options.Options()
    with pytest.raises(errors.Rejected, match="'ipvs'"):
        options.from_document({"kind": "KubeProxyConfiguration", "mode": "ipvs"})
    with pytest.raises(errors.Rejected, match="'Lab'"):
        options.from_document({"kind": "Lab"})
