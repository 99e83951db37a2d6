"""flannel: a bridge (or another plugin) for the subnet that flanneld has leased to this host.

Reads what flanneld writes, makes a configuration of it, and delegates. Options of the plugin that comes with
flannel (flannel-io/cni-plugin): subnetFile, dataDir, delegate, ipam. The configuration is kept in
<dataDir>/<container id> until DEL, which uses it whatever flanneld has leased since.
"""

from cni import delegate, frame, keeping
from netemu.wire import addresses, cni, documents

_SUBNETS = "/run/flannel/subnet.env"
_DATA = "/var/lib/cni/flannel"


def subnets(text: str) -> dict[str, str]:
    """subnet.env: KEY=VALUE lines. INVALID_CONFIGURATION without what a network needs."""
    found = dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)
    missing = [name for name in ("FLANNEL_MTU", "FLANNEL_IPMASQ") if not found.get(name)]
    if not found.get("FLANNEL_SUBNET") and not found.get("FLANNEL_IPV6_SUBNET"):
        missing.append("FLANNEL_SUBNET")
    if missing or not found["FLANNEL_MTU"].isdigit():
        names = ", ".join(missing) or "a valid FLANNEL_MTU"
        raise cni.Failure(cni.INVALID_CONFIGURATION, f"flannel's subnet file is missing {names}")
    return found


def delegated(configuration: "cni.Document", lease: dict[str, str]) -> "cni.Document":
    """The configuration of the plugin that does the work."""
    found = dict(configuration.get("delegate") or {})
    for key in ("name", "ipam"):
        if key in found:
            raise cni.Failure(cni.INVALID_CONFIGURATION, f"'delegate' dictionary must not have '{key}'")
    found["name"] = configuration["name"]
    found.setdefault("type", "bridge")
    found.setdefault("ipMasq", lease["FLANNEL_IPMASQ"] != "true")
    found.setdefault("mtu", int(lease["FLANNEL_MTU"]))
    if found["type"] == "bridge":
        found.setdefault("isGateway", True)
    for key in ("cniVersion", "args", "runtimeConfig", "dns"):
        if configuration.get(key):
            found[key] = configuration[key]
    found["ipam"] = _ipam(configuration, lease)
    return found


def _ipam(configuration: "cni.Document", lease: dict[str, str]) -> "cni.Document":
    ipam = dict(configuration.get("ipam") or {})
    ipam.setdefault("type", "host-local")
    pairs = (("FLANNEL_SUBNET", "FLANNEL_NETWORK"), ("FLANNEL_IPV6_SUBNET", "FLANNEL_IPV6_NETWORK"))
    present = [(lease[subnet], lease.get(network, "")) for subnet, network in pairs if lease.get(subnet)]
    # flanneld writes its own address with the prefix: 10.244.1.1/24.
    ipam["ranges"] = [[{"subnet": _network(subnet)}] for subnet, _ in present]
    networks = [text for _, several in present for text in several.split(",") if text]
    ipam["routes"] = [*(ipam.get("routes") or ()), *({"dst": text} for text in networks)]
    return ipam


def _network(text: str) -> str:
    try:
        return str(addresses.ip_network(text, strict=False))
    except ValueError as problem:
        raise cni.Failure(
            cni.INVALID_CONFIGURATION, "flannel's subnet file is broken", str(problem)
        ) from None


def add(call: cni.Call, configuration: "cni.Document") -> "cni.Result | None":
    """Delegate; what was asked for is kept for DEL before anything is made."""
    path = configuration.get("subnetFile") or _SUBNETS
    try:
        with open(path, encoding="utf-8") as file:
            lease = subnets(file.read())
    except OSError as problem:
        text = f"failed to load flannel's subnet file {path}: is flanneld running?"
        raise cni.Failure(cni.TRY_AGAIN, text, str(problem)) from None
    whole = delegated(configuration, lease)
    keeping.write(_data(configuration), call.container_id, documents.dump(whole))
    try:
        return delegate.run(whole["type"], call, whole, "ADD")
    except BaseException:
        keeping.remove(_data(configuration), call.container_id)
        raise


def _data(configuration: "cni.Document") -> str:
    return keeping.place(configuration, _DATA)


def delete(call: cni.Call, configuration: "cni.Document") -> None:
    """Delegate with the configuration of ADD; without one there is nothing to do."""
    whole = _kept(call, configuration)
    if whole is not None:
        delegate.run(whole["type"], call, whole, "DEL")
        keeping.remove(_data(configuration), call.container_id)


def _kept(call: cni.Call, configuration: "cni.Document") -> "cni.Document | None":
    text = keeping.read(_data(configuration), call.container_id)
    if not text:
        return None
    whole = documents.load(text)
    if configuration.get("prevResult"):
        whole["prevResult"] = configuration["prevResult"]
    return whole


def check(call: cni.Call, configuration: "cni.Document") -> None:
    """CHECK of the delegate; CHECK_FAILED when nothing is known of this container."""
    whole = _kept(call, configuration)
    if whole is None:
        raise cni.Failure(frame.CHECK_FAILED, f"flannel knows nothing of container {call.container_id}")
    delegate.run(whole["type"], call, whole, "CHECK")


def collect(call: cni.Call, configuration: "cni.Document") -> None:
    """GC: the delegate's, with each kept configuration; those of containers that are gone are forgotten."""
    valid = {container for container, _ in cni.valid_attachments(configuration)}
    stale = [name for name in keeping.names(_data(configuration)) if name not in valid]
    for name in stale:
        text = keeping.read(_data(configuration), name)
        whole = documents.load(text) if text else {}
        if whole.get("name") != configuration["name"]:
            continue
        whole["cni.dev/valid-attachments"] = configuration["cni.dev/valid-attachments"]
        delegate.run(whole["type"], call, whole, "GC")
        keeping.remove(_data(configuration), name)


def status(_call: cni.Call, configuration: "cni.Document") -> None:
    """NOT_AVAILABLE until flanneld has written its lease."""
    path = configuration.get("subnetFile") or _SUBNETS
    if not keeping.exists(path):
        raise cni.Failure(cni.NOT_AVAILABLE, f"flanneld has not written {path}")


ABOUT = "CNI flannel plugin of netemu"
HANDLERS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": collect, "STATUS": status}
