"""Which service addresses and node ports are taken, and which to give next.

Follows the Services in the cache, so it is right after a restart; what a request was given but has not yet
stored is reserved. Bands follow KEP-3070 and KEP-3668: the dynamic choice starts above the static band.
"""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator

from netemu.apiserver import cache, statuses

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_PROTOCOLS = ("TCP", "UDP", "SCTP")


class Full(Exception):
    """Nothing is left to give."""


class Pool:
    """Numbers from `first` to `last`; the lowest `static` ones are given only when no other is left."""

    def __init__(self, first: int, last: int, static: int) -> None:
        self._first = first
        self._last = last
        self._dynamic = min(first + static, last)
        self._taken: Counter[int] = Counter()

    def __contains__(self, number: int) -> bool:
        return self._first <= number <= self._last

    def free(self, number: int) -> bool:
        return self._taken[number] == 0

    def take(self, number: int) -> None:
        self._taken[number] += 1

    def release(self, number: int) -> None:
        self._taken[number] -= 1
        if self._taken[number] <= 0:
            del self._taken[number]

    def choose(self, rng: random.Random) -> int:
        """A free number. Full."""
        for low, high in ((self._dynamic, self._last), (self._first, self._dynamic - 1)):
            if high < low:
                continue
            start = rng.randint(low, high)
            for number in itertools.chain(range(start, high + 1), range(low, start)):
                if number not in self._taken:
                    return number
        raise Full


def address_pool(network: Network) -> Pool:
    """The usable addresses of a service range, as integers."""
    size = network.num_addresses
    last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    usable = min(last - int(network.network_address), 1 << 16)
    static = min(max(16, size // 16), 256) if size >= 32 else 0
    first = int(network.network_address) + 1
    return Pool(first, first + usable - 1, static)


def port_pool(first: int, last: int) -> Pool:
    """The node ports."""
    size = last - first + 1
    return Pool(first, last, min(max(16, size // 32), 128) if size >= 32 else 0)


class Services:
    """What the Services in the cache hold, and reservations."""

    def __init__(
        self,
        networks: Iterable[Network],
        ports: tuple[int, int],
        services: cache.Collection,
        rng: random.Random,
    ) -> None:
        self.networks = tuple(networks)
        self._pools: dict[int, Pool] = {network.version: address_pool(network) for network in self.networks}
        self._ports = {protocol: port_pool(*ports) for protocol in _PROTOCOLS}
        self._range = ports
        self._rng = rng
        for entry in services.all():
            self._count(entry.document(), 1)
        services.listen(self._receive)

    @property
    def families(self) -> tuple[str, ...]:
        """IPv4 and IPv6, the primary one first."""
        return tuple(f"IPv{network.version}" for network in self.networks)

    def _receive(self, event: cache.Event) -> None:
        if event.previous is not None:
            self._count(event.previous.document(), -1)
        if event.type != "DELETED":
            self._count(event.entry.document(), 1)

    def _count(self, service: statuses.Document, step: int) -> None:
        for pool, number in self._held(service):
            if step > 0:
                pool.take(number)
            else:
                pool.release(number)

    def _held(self, service: statuses.Document) -> Iterator[tuple[Pool, int]]:
        spec = service.get("spec", {})
        for text in spec.get("clusterIPs", ()):
            if text and text != "None":
                address = ipaddress.ip_address(text)
                pool = self._pools.get(address.version)
                if pool is not None and int(address) in pool:
                    yield pool, int(address)
        ports = {(port.get("protocol", "TCP"), port.get("nodePort", 0)) for port in spec.get("ports", ())}
        health = spec.get("healthCheckNodePort", 0)
        for protocol, number in (*ports, ("TCP", health)):
            if number:
                yield self._ports[protocol], number

    def reservation(self) -> Reservation:
        """For one request: what it takes is given back at its end, when the cache holds what it stored."""
        return Reservation(self._pools, self._ports, self._range, self._rng)


class Reservation:
    """What one request has been given. A context manager; leaving it gives everything back."""

    def __init__(
        self, pools: dict[int, Pool], ports: dict[str, Pool], span: tuple[int, int], rng: random.Random
    ) -> None:
        self._pools = pools
        self._ports = ports
        self._span = span
        self._rng = rng
        self._taken: list[tuple[Pool, int]] = []

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *error: object) -> None:
        for pool, number in self._taken:
            pool.release(number)

    def address(self, version: int) -> IPAddress:
        """A free address of that family. Full."""
        pool = self._pools[version]
        number = pool.choose(self._rng)
        self._take(pool, number)
        return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)

    def this_address(self, address: IPAddress) -> str:
        """Take one address; the answer says why not, or is empty."""
        pool = self._pools.get(address.version)
        if pool is None or int(address) not in pool:
            return "the provided IP is not in the valid range of the cluster's service CIDRs"
        if not pool.free(int(address)):
            return "provided IP is already allocated"
        self._take(pool, int(address))
        return ""

    def port(self, protocols: Iterable[str]) -> int:
        """A node port free for all the protocols. Full."""
        wanted = tuple(protocols)
        for _ in range(64):
            number = self._ports[wanted[0]].choose(self._rng)
            if all(self._ports[protocol].free(number) for protocol in wanted):
                for protocol in wanted:
                    self._take(self._ports[protocol], number)
                return number
        raise Full

    def this_port(self, number: int, protocol: str) -> str:
        """Take one node port; the answer says why not, or is empty."""
        pool = self._ports[protocol]
        if number not in pool:
            first, last = self._span
            return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        if not pool.free(number):
            return "provided port is already allocated"
        self._take(pool, number)
        return ""

    def _take(self, pool: Pool, number: int) -> None:
        pool.take(number)
        self._taken.append((pool, number))
