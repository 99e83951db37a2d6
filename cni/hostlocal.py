"""host-local: addresses from ranges in the configuration, leased on this host's disk.

Options, layout and errors of the reference plugin (containernetworking/plugins, ipam/host-local).
"""

from cni import frame, keeping, leases
from netemu.wire import cni


def add(call: cni.Call, configuration: "cni.Document") -> cni.Result:
    """One address from every range set. All or nothing. NOT_AVAILABLE when a set is exhausted."""
    from cni import allocation  # DEL, called as often, does without

    return allocation.allocate(call, configuration, _open(configuration))


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Free what the container has. Nothing to free is fine."""
    previous = configuration.get("prevResult") or {}
    hints = tuple(str(ip.get("address", "")).partition("/")[0] for ip in previous.get("ips") or ())
    with _open(configuration) as store:
        store.release(leases.owner(call.container_id, call.ifname), tuple(filter(None, hints)))


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK_FAILED unless the container still holds an address."""
    with _open(configuration) as store:
        if not store.held(leases.owner(call.container_id, call.ifname)):
            raise cni.Failure(
                frame.CHECK_FAILED,
                f"host-local: Failed to find address added by container {call.container_id}",
            )


def holds(call: cni.Call, configuration: "cni.Document", address: str) -> bool:
    """Whether an address is leased to this container."""
    return _open(configuration).holder(address) == leases.owner(call.container_id, call.ifname)


def collect(_call: cni.Call, configuration: "cni.Document") -> None:
    """GC: free every address whose holder is not among the valid attachments."""
    keep = {leases.owner(*attachment) for attachment in cni.valid_attachments(configuration)}
    with _open(configuration) as store:
        for holder in {name for _, name in store.all()} - keep:
            store.release(holder)


def status(_call: cni.Call, configuration: "cni.Document") -> None:
    """INVALID_CONFIGURATION when no ADD could succeed: for what are no ranges."""
    from cni import ranges

    ranges.parse({"ipam": _ipam(configuration), "runtimeConfig": configuration.get("runtimeConfig")})


def _ipam(configuration: "cni.Document") -> "cni.Document":
    ipam = configuration.get("ipam")
    if not ipam:
        raise cni.Failure(cni.INVALID_CONFIGURATION, "IPAM config missing 'ipam' key")
    return ipam


def _open(configuration: "cni.Document") -> leases.Leases:
    return leases.Leases(keeping.place(_ipam(configuration), leases.DEFAULT_DIRECTORY), configuration["name"])


ABOUT = "CNI host-local plugin of netemu"
IPAM = True
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": status}
