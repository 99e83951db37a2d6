"""A network namespace in memory that refuses what the kernel refuses. Checked by the kernel's own tests.

Knows links, addresses, routes, neighbours, forwarding, sysctls; packets do not exist here.
"""

import errno
import os
from collections.abc import Iterable
from ipaddress import ip_network

import msgspec

from netemu.kernel import linux, states
from netemu.kernel import operations as ops

_OVERHEAD = {4: 50, 6: 70}  # RFC 7348, 5: Ethernet 14, VXLAN 8, UDP 8 and the outer IP header


class FakeNetwork:
    """One namespace. `places` are the others a veth's peer may be born in, by the path used in AddVeth."""

    def __init__(self, places: dict[str, "FakeNetwork"] | None = None) -> None:
        self.places = places if places is not None else {}
        self.applied: list[ops.Operation] = []
        self.sysctls: dict[str, str] = {}
        self._links = {"lo": states.Link("lo", 1, "", "00:00:00:00:00:00", 65536, False, None)}
        self._peers: dict[str, tuple[FakeNetwork, str]] = {}
        self._addresses: set[states.Address] = set()
        self._routes: set[states.Route] = set()
        self._neighbours: set[states.Neighbour] = set()
        self._forwarding: set[states.Forwarding] = set()
        self._last_index = 1

    def observe(self) -> states.State:
        return states.State(
            dict(self._links),
            frozenset(self._addresses),
            frozenset(self._routes),
            frozenset(self._neighbours),
            frozenset(self._forwarding),
        )

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        for operation in operations:
            try:
                self._apply(operation)
            except OSError as refusal:
                raise linux.KernelError(
                    f"{operation.describe()}: {refusal.strerror}", errno=refusal.errno or 0
                ) from None
            self.applied.append(operation)

    def _apply(self, operation: ops.Operation) -> None:
        match operation:
            case ops.SetSysctl(key, value):
                self._set_sysctl(key, value)
            case ops.AddBridge(name, mac):
                self._add(name, "bridge", mac)
            case ops.AddVxlan():
                self._add_vxlan(operation)
            case ops.AddVeth(name, peer, place):
                self._add_veth(name, peer, place)
            case ops.SetMaster(name, master):
                if self._link(master).kind != "bridge":
                    raise _refused(errno.EOPNOTSUPP)
                self._change(name, master=master)
            case ops.SetUp(name):
                self._change(name, up=True)
                for address in self._addresses:
                    if address.link == name:
                        self._connect(address)
            case ops.SetDown(name):
                self._change(name, up=False)
                self._forget_routes(name)
            case ops.SetMTU(name, mtu):
                if not 68 <= mtu <= 65535:
                    raise _refused(errno.EINVAL)
                self._change(name, mtu=mtu)
            case ops.SetMAC(name, mac):
                self._change(name, mac=mac)
            case ops.DelLink(name):
                self._delete(name)
            case ops.AddAddress() | ops.DelAddress():
                self._address(operation)
            case ops.AddRoute():
                self._add_route(operation)
            case ops.DelRoute():
                self._del_route(operation)
            case ops.AddNeighbour(link, ip, mac):
                self._link(link)
                self._neighbours = {n for n in self._neighbours if (n.link, n.ip) != (link, ip)}
                self._neighbours.add(states.Neighbour(link, ip, mac))
            case ops.DelNeighbour(link, ip):
                self._link(link)
                known = {n for n in self._neighbours if (n.link, n.ip) == (link, ip)}
                if not known:
                    raise _refused(errno.ENOENT)
                self._neighbours -= known
            case ops.AddForwarding() | ops.DelForwarding():
                self._forward(operation)
            case ops.SetTxChecksum(link):
                self._link(link)

    # -- links
    def _link(self, name: str) -> states.Link:
        if name not in self._links:
            raise OSError(errno.ENODEV, f"no link {name!r}")
        return self._links[name]

    def _change(self, name: str, **changes: object) -> None:
        self._links[name] = msgspec.structs.replace(self._link(name), **changes)

    def _check_free(self, name: str) -> None:
        if name in self._links:
            raise _refused(errno.EEXIST)
        if not 0 < len(name.encode()) < 16:
            raise _refused(errno.ERANGE)
        if name in {".", ".."} or any(c in "/:" or c.isspace() for c in name):
            raise _refused(errno.EINVAL)

    def _add(self, name: str, kind: str, mac: str | None = None) -> None:
        self._check_free(name)
        self._last_index += 1
        made = mac or f"02:00:00:00:{self._last_index >> 8:02x}:{self._last_index & 255:02x}"
        self._links[name] = states.Link(name, self._last_index, kind, made, 1500, False, None)

    def _add_veth(self, name: str, peer: str, place: str | None) -> None:
        if place is not None and place not in self.places:
            raise _refused(errno.ENOENT)
        there = self if place is None else self.places[place]
        there._check_free(peer)
        self._check_free(name)
        if there is self and name == peer:
            raise _refused(errno.EEXIST)
        there._add(peer, "veth")
        self._add(name, "veth")
        self._peers[name], there._peers[peer] = (there, peer), (self, name)

    def _delete(self, name: str) -> None:
        if self._link(name).name == "lo":
            raise _refused(errno.EOPNOTSUPP)
        peer = self._peers.get(name)
        self._drop(name)
        if peer is not None:
            peer[0]._drop(peer[1])

    def _drop(self, name: str) -> None:
        del self._links[name]
        self._peers.pop(name, None)
        for port in self._links.values():
            if port.master == name:
                self._links[port.name] = msgspec.structs.replace(port, master=None)
        self._addresses = {a for a in self._addresses if a.link != name}
        self._neighbours = {n for n in self._neighbours if n.link != name}
        self._forwarding = {f for f in self._forwarding if f.link != name}
        self._forget_routes(name)

    # -- tunnels
    def _add_vxlan(self, asked: ops.AddVxlan) -> None:
        below = self._link(asked.link) if asked.link else None
        self._check_free(asked.name)
        family = asked.local.version
        ends = (link.vxlan for link in self._links.values() if link.vxlan is not None)
        taken = {(end.vni, end.port, end.local.version) for end in ends if end.local is not None}
        if (asked.vni, asked.port, family) in taken:
            raise _refused(errno.EEXIST)
        self._add(asked.name, "vxlan", asked.mac)
        room = (below.mtu if below else 1500) - (0 if below is None else _OVERHEAD[family])
        made = states.Vxlan(asked.vni, asked.local, asked.port, asked.link)
        self._change(asked.name, mtu=asked.mtu or room, vxlan=made)

    def _forward(self, change: ops.AddForwarding | ops.DelForwarding) -> None:
        tunnel = self._link(change.link).vxlan
        if tunnel is None:
            return  # the kernel has a use for such an entry, though not this one
        entry = states.Forwarding(change.link, change.mac, change.ip)
        if isinstance(change, ops.DelForwarding):
            if entry not in self._forwarding:
                raise _refused(errno.ENOENT)
            self._forwarding.remove(entry)
            return
        if tunnel.local is not None and tunnel.local.version != change.ip.version:
            raise _refused(errno.EAFNOSUPPORT)
        self._forwarding = {f for f in self._forwarding if (f.link, f.mac) != (change.link, change.mac)}
        self._forwarding.add(entry)

    # -- addresses and routes
    def _address(self, change: ops.AddAddress | ops.DelAddress) -> None:
        self._link(change.link)
        address = states.Address(change.link, change.ip)
        if isinstance(change, ops.AddAddress):
            same = {
                (a.ip.ip, a.ip.network.prefixlen if a.ip.version == 4 else None)
                for a in self._on(change.link)
            }
            if (change.ip.ip, change.ip.network.prefixlen if change.ip.version == 4 else None) in same:
                raise _refused(errno.EEXIST)
            self._addresses.add(address)
            if self._links[change.link].up:
                self._connect(address)
            return
        if address not in self._addresses:
            raise _refused(errno.EADDRNOTAVAIL)
        self._addresses.remove(address)
        if not any(a.ip.network == change.ip.network for a in self._on(change.link)):
            self._routes = {
                r
                for r in self._routes
                if (r.dst, r.dev, r.protocol) != (change.ip.network, change.link, ops.PROTOCOL_KERNEL)
            }

    def _on(self, link: str) -> set[states.Address]:
        return {address for address in self._addresses if address.link == link}

    def _connect(self, address: states.Address) -> None:
        """The route the kernel makes for an address whose link is up."""
        network = ip_network(address.ip.network)
        host_only = network.version == 4 and network.prefixlen == 32
        if address.link == "lo" or host_only:
            return
        metric = None if network.version == 4 else 256
        self._routes.add(states.Route(network, None, address.link, metric, ops.PROTOCOL_KERNEL))

    def _forget_routes(self, link: str) -> None:
        self._routes = {route for route in self._routes if route.dev != link}

    def _add_route(self, route: ops.AddRoute) -> None:
        dev = route.dev
        if dev is not None and not self._link(dev).up:
            raise _refused(errno.ENETDOWN)
        if not route.reachable:
            dev = "lo"
        elif route.via is not None and not route.onlink:
            for hop in (*route.also, route.via):
                reached = {r.dev for r in self._routes if r.via is None and hop in r.dst}
                if not reached or (dev is not None and dev not in reached):
                    raise _refused(errno.ENETUNREACH if hop.version == 4 else errno.EHOSTUNREACH)
            dev = dev or min(reached)
        elif dev is None:
            raise _refused(errno.ENODEV)
        if any((r.dst, r.metric) == (route.dst, route.metric) for r in self._routes):
            raise _refused(errno.EEXIST)
        protocol = route.protocol or ops.PROTOCOL_STATIC
        about = (route.dst, route.via, dev, route.metric, protocol, route.reachable, route.also)
        made = states.Route(*about)
        self._routes.add(made)

    def _del_route(self, gone: ops.DelRoute) -> None:
        def meant(route: states.Route) -> bool:
            asked = ((gone.via, route.via), (gone.dev, route.dev), (gone.protocol, route.protocol))
            metric = gone.metric is None or gone.metric == route.metric
            return route.dst == gone.dst and metric and all(want in (None, has) for want, has in asked)

        if gone.dev is not None:
            self._link(gone.dev)
        found = sorted(filter(meant, self._routes), key=str)
        if not found:
            raise _refused(errno.ESRCH)
        self._routes.remove(found[0])

    def _set_sysctl(self, key: str, value: str) -> None:
        """Only what exists in every network namespace, and per-link keys of links that are there."""
        parts = key.split("/") if "/" in key else key.split(".")
        if parts[0] != "net" or len(parts) < 3:
            raise _refused(errno.ENOENT)
        if parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default", *self._links):
            raise _refused(errno.ENOENT)
        if parts[2] == "neigh" and parts[-1].startswith("gc_thresh"):
            raise _refused(errno.ENOENT)  # one for all namespaces, seen in the first only
        self.sysctls[key] = value


def _refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))
