"""host-local's ranges: what is offered, in which order, and what is refused (reference plugin's rules)."""

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni import ranges
from netemu.wire import addresses, cni


def parsed(*sets, **ipam):
    return ranges.parse({"ipam": {"ranges": list(sets), **ipam}})


def offered(one, last=None, limit=400):
    found = ranges.candidates(one, addresses.ip_address(last) if last else None)
    return [str(address) for address, _ in itertools.islice(found, limit)]


def test_a_subnet_offers_all_but_network_gateway_and_broadcast():
    ((one,),) = parsed([{"subnet": "10.0.0.0/29"}])
    assert str(one.gateway) == "10.0.0.1"
    assert offered((one,)) == [f"10.0.0.{n}" for n in range(2, 7)]


def test_ipv6_has_no_broadcast():
    ((one,),) = parsed([{"subnet": "fd00::/125"}])
    assert offered((one,)) == [f"fd00::{n}" for n in range(2, 8)]


def test_the_search_goes_on_after_the_last_one_and_comes_round():
    (one,) = parsed([{"subnet": "10.0.0.0/29"}])
    assert offered(one, "10.0.0.4") == ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert offered(one, "192.0.2.1") == offered(one)


def test_several_ranges_of_a_set_are_one_circle():
    (one,) = parsed(
        [
            {"subnet": "10.0.0.0/29", "rangeStart": "10.0.0.5"},
            {"subnet": "10.0.1.0/29", "rangeEnd": "10.0.1.2", "gateway": "10.0.1.6"},
        ]
    )
    assert offered(one, "10.0.0.6") == ["10.0.1.1", "10.0.1.2", "10.0.0.5", "10.0.0.6"]


def test_the_old_flat_form_and_the_runtime_s_ranges():
    flat = ranges.parse({"ipam": {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.100"}})
    assert offered(flat[0])[0] == "10.0.0.100"
    asked = ranges.parse(
        {"ipam": {"subnet": "10.0.0.0/24"}, "runtimeConfig": {"ipRanges": [[{"subnet": "10.9.0.0/24"}]]}}
    )
    assert [str(one[0].subnet) for one in asked] == ["10.9.0.0/24", "10.0.0.0/24"]


@pytest.mark.parametrize(
    "sets",
    [
        [],
        [[{"subnet": "10.0.0.1/24"}]],  # host bits
        [[{"subnet": "10.0.0.0/31"}]],
        [[{"subnet": "fd00::/127"}]],
        [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1"}]],
        [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}]],
        [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.128/25"}]],
        [[{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]],
        [[{}]],
        [["10.0.0.0/24"]],
    ],
)
def test_what_makes_no_sense_is_an_invalid_configuration(sets):
    with pytest.raises(cni.Failure) as refused:
        parsed(*sets)
    assert refused.value.code == cni.INVALID_CONFIGURATION


@given(st.integers(24, 29), st.integers(0, 255), st.integers(0, 255))
def test_every_address_comes_exactly_once_wherever_the_search_begins(prefix, a, last):
    subnet = addresses.ip_network(f"10.{a}.0.0/{prefix}", strict=False)
    (one,) = parsed([{"subnet": str(subnet)}])
    usable = {str(host) for host in ipaddress.ip_network(str(subnet)).hosts()} - {str(one[0].gateway)}
    found = offered(one, f"10.{a}.0.{last}")
    assert len(found) == len(set(found))
    assert set(found) == usable
