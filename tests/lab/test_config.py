"""A Lab document either describes a lab that can be made, or is refused with the place of the mistake."""

from pathlib import Path

import pytest

from netemu.base import errors
from netemu.lab import config


def test_the_default_lab() -> None:
    lab = config.default()
    assert [(node.name, *node.ips) for node in lab.nodes] == [
        ("control-plane-1", "172.18.0.2", "fd00:18::2"),
        ("worker-1", "172.18.0.3", "fd00:18::3"),
        ("worker-2", "172.18.0.4", "fd00:18::4"),
    ]
    assert lab.kubernetes_service == ("10.96.0.1", "fd00:96::1")
    assert lab.dns_service == ("10.96.0.10", "fd00:96::a")
    assert [str(ip) for ip in lab.outside_client] == ["203.0.113.10/24", "2001:db8:113::10/64"]


def test_a_document_is_read_back_as_written() -> None:
    lab = config.parse(
        {"name": "x", "nodes": 5, "mtu": 1400, "api-port": 6443, "ranges": {"pods": ["10.0.0.0/12"]}}
    )
    assert config.parse(lab.document()) == lab
    assert (lab.workers, str(lab.ranges.pods[0]), str(lab.ranges.pods[1])) == (
        4,
        "10.0.0.0/12",
        "fd00:244::/56",
    )


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("name: from-file\nnodes: 2\n")
    assert config.load(file).name == "from-file"
    lab = config.load(file, name="mine", nodes=4)
    assert (lab.name, lab.workers) == ("mine", 3)


def test_an_empty_document_is_the_default_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("# nothing\n")
    assert config.load(file) == config.default()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: [", 1, "not valid YAML"),
        ("name: one\nnodes: 2\nname: two\n", 3, "'name' is here twice (first on line 1)"),
        ("- 1\n", 1, "must be a mapping"),
        ("kind: Pod\n", 1, "not a Lab"),
        ("name: ok\nnode: 3\n", 2, "unknown field 'node'"),
        ("name: Über\n", 1, "lab name"),
        ("name: ../../etc\n", 1, "lab name"),
        ("name: 7\n", 1, "lab name"),
        ("nodes: many\n", 1, "whole number"),
        ("nodes: true\n", 1, "whole number"),
        ("nodes: 0\n", 1, "1 to 250"),
        ("control-planes: 3\n", 1, "control-planes is 3"),
        ("mtu: 576\n", 1, "1280 to 65535"),
        ("\nranges: 10.0.0.0/8\n", 2, "must be a mapping"),
        ("ranges:\n  pots: [10.0.0.0/8]\n", 2, "unknown field 'pots'"),
        ("ranges:\n  pods: 7\n", 2, "must be a list"),
        ("ranges:\n  pods:\n  - 10.0.0.0/8\n  - 11.0.0.0/8\n", 4, "two IPv4 ranges"),
        ("ranges:\n  pods: [10.0.0.1/8]\n", 2, "the range is 10.0.0.0/8"),
        ("ranges:\n  pods: [10.0.0]\n", 2, "not an address range"),
        ("ranges:\n  pods: [127.0.0.0/8]\n", 2, "reserved"),
        ("ranges:\n  pods: [10.96.128.0/17]\n", 1, "overlap"),
        ("ranges:\n  services: [172.18.0.0/24]\n", 2, "overlap"),
        ("nodes: 9\nranges:\n  pods: [10.1.0.0/21]\n", 3, "too small for a /24 for each of 9 nodes"),
        ("nodes: 30\nranges:\n  nodes: [172.18.0.0/28]\n", 3, "too small for 30 nodes"),
        ("ranges:\n  services: [11.0.0.0/8]\n", 2, "larger than a cluster may have"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, line: int, said: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(errors.Rejected) as caught:
        config.load(file)
    assert said in caught.value.message
    assert caught.value.message.startswith(f"{file}:"), caught.value.message
    if "overlap" not in said:
        assert caught.value.message.startswith(f"{file}:{line}: "), caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.Rejected, match="No such file"):
        config.load(tmp_path / "no.yaml")


def test_the_proxy_of_a_lab_is_chosen_and_checked():
    assert config.default().proxy.mode == "nftables"
    found = config.parse({"proxy": {"mode": "iptables", "masquerade-all": True}})
    assert (found.proxy.mode, found.proxy.masquerade_all) == ("iptables", True)
    assert config.parse(found.document()) == found
    with pytest.raises(errors.Rejected, match=r"proxy\.mode is 'ipvs'; possible is nftables, iptables"):
        config.parse({"proxy": {"mode": "ipvs"}})
