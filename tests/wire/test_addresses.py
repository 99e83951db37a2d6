"""addresses means what ipaddress means, in everything it has."""

import ipaddress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netemu.wire import addresses

texts = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda a: a.exploded),
    st.text("0123456789abcdef:./", max_size=20),
    st.lists(st.sampled_from(["0", "1", "", "ffff", "1.2.3.4"]), max_size=9).map(":".join),
)


def outcome(function, *arguments, **options):
    try:
        return str(function(*arguments, **options))
    except ValueError:
        return None


@settings(max_examples=50)
@given(texts)
@example("::")
@example("::1.2.3.4")
@example("1::2::3")
@example(":::1")
@example("1:2:3:4:5:6:7::")
@example("::2:3:4:5:6:7:8")
@example("1:2:3:4::5:6:7:8")
@example("01.2.3.4")
@example("1.2.3")
@example("0:0:1::1:0:0")
def test_the_same_texts_are_addresses_and_print_alike(text):
    assert outcome(addresses.ip_address, text) == outcome(ipaddress.ip_address, text)


@settings(max_examples=50)
@given(st.ip_addresses(), st.integers(0, 129), st.ip_addresses())
def test_interfaces_and_networks_are_the_same(ip, length, other):
    text = f"{ip}/{length}"
    assert outcome(addresses.ip_interface, text) == outcome(ipaddress.ip_interface, text)
    assert outcome(addresses.ip_network, text) == outcome(ipaddress.ip_network, text)
    if length > ip.max_prefixlen:
        return
    ours, theirs = addresses.ip_interface(text), ipaddress.ip_interface(text)
    assert ours == theirs
    assert theirs == ours
    assert hash(ours) == hash(addresses.ip_interface(text))
    assert ours.network == theirs.network
    assert (ours.ip, ours.version, ours.is_link_local) == (theirs.ip, theirs.version, theirs.is_link_local)
    assert ours.ip.packed == theirs.ip.packed
    assert ours.network.broadcast_address == theirs.network.broadcast_address
    assert ours.network.network_address == theirs.network.network_address
    if other.version == ip.version:
        near = addresses.ip_address(str(other))
        assert (near in ours.network) == (other in theirs.network)
        assert (near < ours.ip, near <= ours.ip) == (other < theirs.ip, other <= theirs.ip)
        small = ipaddress.ip_network(f"{other}/{min(length + 1, ip.max_prefixlen)}", strict=False)
        assert addresses.ip_network(str(small)).overlaps(ours.network) == small.overlaps(theirs.network)


@pytest.mark.parametrize(
    "value", [None, 5, "", "10.0.0.1%eth0", "fe80::1%eth0", "10.0.0.0/255.0.0.0", "1/2/3"]
)
def test_what_is_no_network_is_refused(value):
    with pytest.raises(ValueError, match=r"IP|prefix"):
        addresses.ip_network(value)
