"""What this machine offers a lab, tried out, and what to do about what is missing. Data; others print it."""

import os
import shutil
import socket
from typing import NamedTuple

from netemu.base import errors
from netemu.kernel import features
from netemu.lab import handle, records, routers


class Check(NamedTuple):
    """`needed` False: netemu works without it. `detail`: what was found; `remedy`: for when not `ok`."""

    name: str
    ok: bool
    needed: bool
    purpose: str
    detail: str
    remedy: str


# feature of kernel.features: needed, what for, what to do when it is missing
_FEATURES = {
    "privileges": (True, "make namespaces, links and rules", "run it as root: sudo netemu …"),
    "python": (True, "run netemu", "install Python 3.11 or later"),
    "system python": (True, "run CNI executables in nodes", "apt-get install python3"),
    "nftables binding": (True, "program Services", "apt-get install python3-nftables"),
    "namespaces": (
        True,
        "nodes and pods",
        "a container may forbid them: use a machine, a VM, or --privileged",
    ),
    "veth": (True, "cables of nodes and pods", "modprobe veth"),
    "bridge": (True, "the switch of a node", "modprobe bridge"),
    "vxlan": (False, "overlay between nodes", "modprobe vxlan"),
    "nftables": (
        True,
        "Services: NAT, maps, numgen, fib",
        "modprobe -a nf_tables nft_chain_nat nft_fib_inet",
    ),
    "bridge filter": (True, "Services between pods on one bridge", "modprobe br_netfilter"),
    "overlay": (True, "a node's own /etc, /opt and /var", "modprobe overlay"),
    "read-only mounts": (True, "containers see the host read-only", "a kernel of 5.12 or later"),
}
_LITTLE = 64 << 20


def examine() -> tuple[Check, ...]:
    """Try everything, in namespaces of its own; takes about a tenth of a second."""
    found = [_feature(name) for name in features.names()]
    return (*found, _speaker(), _port(), _space(), _remains())


def _feature(name: str) -> Check:
    needed, purpose, remedy = _FEATURES[name]
    probe = features.probe(name)
    return Check(name, probe.ok, needed, purpose, probe.detail, remedy)


def _speaker() -> Check:
    purpose, remedy = "BGP between nodes (network.backend: bgp)", "apt-get install bird2"
    try:
        return Check("BGP speaker", True, False, purpose, routers.program(), remedy)
    except errors.Rejected:
        return Check("BGP speaker", False, False, purpose, "BIRD is not installed", remedy)


def _port() -> Check:
    purpose, remedy = "the API on the host's loopback", "see what keeps all ports: ss -ltn"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    except OSError as failure:
        return Check("free port", False, True, purpose, failure.strerror or str(failure), remedy)
    return Check("free port", True, True, purpose, f"127.0.0.1:{port}", remedy)


def _space() -> Check:
    purpose, remedy = "logs, keys and the store", f"free some, or set {records.VARIABLE}"
    place = records.state_directory()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check("state directory", False, True, purpose, f"{place} is not writable", remedy)
    free = shutil.disk_usage(place).free
    return Check(
        "state directory", free > _LITTLE, True, purpose, f"{free >> 20} MiB free in {place}", remedy
    )


def _remains() -> Check:
    name, purpose, remedy = "leftovers", "a clean machine", "netemu down --all"
    try:
        left = [entry.name for entry in handle.labs() if entry.state == "remains"]
    except errors.Rejected as refusal:
        return Check(name, False, False, purpose, refusal.message, refusal.hint)
    detail = "of lab " + ", ".join(left) if left else "none"
    return Check(name, not left, False, purpose, detail, remedy)
