"""Whose tables a transaction was on, as the kernel tells it."""

import os
from collections.abc import Iterator

import pytest

from netemu.kernel import firewall, netns, touches

pytestmark = pytest.mark.root


@pytest.fixture
def place() -> Iterator[int]:
    fd = netns.open_new()
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ("add table ip ours", 1),
        ("add chain ip kept c", 1),
        ("add rule ip kept base accept", 1),
        ("add element ip kept s { 10.0.0.1 }", 1),
        ("flush ruleset", 1),
        ("add table ip other\nadd table ip6 ours\nadd chain ip6 kept c", 0),
        ("add element ip kept2 s { 10.0.0.1 }", 0),
        ("add element ip kept2 s { 10.0.0.1 }\nadd element ip kept s { 10.0.0.1 }", 1),
        ("add table ip kept", 0),  # it is there
        ("list ruleset", 0),
    ],
)
def test_a_transaction_counts_for_the_tables_that_it_is_on(place, document, count):
    door = firewall.LibNftables(place)
    for table in ("ip kept", "ip kept2", "ip6 kept"):
        door.apply(f"add table {table}\nadd chain {table} base\nadd set {table} s {{ type ipv4_addr ; }}")
    one = touches.Touches([("ip", "ours"), ("ip", "kept")], place)
    assert one.count() == 0
    firewall.LibNftables(place).apply(document)
    assert one.count() == count
    assert one.count() == 0
    one.close()


def test_several_transactions_are_counted_one_by_one_however_large(place):
    one, door = touches.Touches([("ip", "big")], place), firewall.LibNftables(place)
    many = ", ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(4000))
    door.apply(f"add table ip big\nadd set ip big s {{ type ipv4_addr ; elements = {{ {many} }} ; }}")
    door.apply("add table ip other")
    door.apply("flush set ip big s")
    assert one.count() == 2
    one.close()


def test_what_could_not_be_told_may_have_been_others(place, monkeypatch):
    monkeypatch.setattr(touches, "_BUFFER", 1 << 12)
    one, door = touches.Touches([("ip", "ours")], place), firewall.LibNftables(place)
    many = ", ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(2000))
    door.apply(f"add table ip big\nadd set ip big s {{ type ipv4_addr ; elements = {{ {many} }} ; }}")
    assert one.count() > 1
    door.apply("add table ip ours")
    assert one.count() == 1
    one.close()
