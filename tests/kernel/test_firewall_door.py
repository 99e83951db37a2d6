"""The same transactions for the kernel and its fake: what one refuses the other must refuse."""

import os
from collections.abc import Iterator

import pytest

from netemu.kernel import firewall, netns

ROOT = os.geteuid() == 0


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.root)])
def wall(request: pytest.FixtureRequest) -> Iterator[firewall.Firewall]:
    if request.param == "fake":
        yield firewall.FakeFirewall()
        return
    if not ROOT:
        pytest.skip("needs root: makes a network namespace")
    fd = netns.open_new()
    try:
        yield firewall.LibNftables(fd)
    finally:
        os.close(fd)


BASE = """\
add table ip t
add chain ip t other
add chain ip t input { type filter hook input priority 0 ; policy accept ; }
add set ip t sources { type ipv4_addr ; }
add map ip t services { type ipv4_addr . inet_service : verdict ; }
add rule ip t input ip saddr @sources counter comment "default/a: jump nowhere"
add rule ip t input ip daddr . tcp dport vmap @services
add element ip t sources { 10.0.0.1, 10.0.0.2 comment "default/web" }
add element ip t services { 10.0.0.1 . 80 comment "default/web" : goto other }
"""


def names(wall: firewall.Firewall, command: str = "list ruleset") -> set[tuple[str, str]]:
    found = set()
    for entry in wall.list_json(command)["nftables"]:
        for kind, thing in entry.items():
            if kind in ("table", "chain", "set", "map"):
                found.add((kind, thing["name"]))
    return found


ALL = {
    ("table", "t"),
    ("chain", "other"),
    ("chain", "input"),
    ("set", "sources"),
    ("map", "services"),
}


def test_an_empty_namespace_has_no_rules(wall: firewall.Firewall) -> None:
    assert names(wall) == set()


def test_a_transaction_makes_everything_it_names(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    assert names(wall) == ALL
    assert names(wall, "list table ip t") == ALL


def test_a_second_time_changes_nothing_that_matters(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    wall.apply(BASE)
    assert names(wall) == ALL


@pytest.mark.parametrize(
    "text",
    [
        "create table ip t",
        "add rule ip t nochain accept",
        "add rule ip t input jump nochain",
        "add rule ip t input ip saddr @noset accept",
        "add element ip t noset { 10.0.0.9 }",
        "add element ip t services { 10.0.0.9 . 80 : goto nochain }",
        "create element ip t sources { 10.0.0.1 }",
        "add chain ip notable c",
        "delete element ip t sources { 10.0.0.9 }",
        "delete chain ip t other",
        "delete chain ip t nochain",
        "delete set ip t sources",
        "delete table ip notable",
        "add map ip t sources { type ipv4_addr : verdict ; }",
        "frobnicate table ip t",
    ],
)
def test_refusals_change_nothing(wall: firewall.Firewall, text: str) -> None:
    wall.apply(BASE)
    with pytest.raises(firewall.FirewallError) as caught:
        wall.apply(f"add chain ip t third\n{text}\nadd chain ip t fourth\n")
    assert caught.value.message.startswith("nft: ")
    assert "\n" not in caught.value.message
    assert names(wall) == ALL


def test_what_is_not_there_cannot_be_listed(wall: firewall.Firewall) -> None:
    with pytest.raises(firewall.FirewallError):
        wall.list_json("list table ip notable")


def test_a_referred_chain_goes_once_the_reference_is_gone(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    wall.apply("delete element ip t services { 10.0.0.1 . 80 }\ndelete chain ip t other\n")
    assert names(wall) == ALL - {("chain", "other")}


def test_a_chain_goes_with_its_rules(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    wall.apply("add chain ip t side\nadd rule ip t side accept\n")
    wall.apply("delete chain ip t side\n")
    assert names(wall) == ALL


def test_a_table_is_replaced_in_one_step(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    wall.apply("add table ip t\ndelete table ip t\nadd table ip t\nadd chain ip t only\n")
    assert names(wall) == {("table", "t"), ("chain", "only")}


def test_flush_leaves_the_container(wall: firewall.Firewall) -> None:
    wall.apply(BASE)
    wall.apply("flush map ip t services\nflush set ip t sources\nflush chain ip t input\n")
    wall.apply("delete set ip t sources\n")
    assert names(wall) == ALL - {("set", "sources")}
