"""ipMasq: what leaves a container's subnet carries the host's address. One nft rule for each address.

Table and chains are those of the reference plugins' nftables backend; a rule's comment says whose it is.

    postrouting (srcnat) -> masq_checks:  ip saddr <container> ip daddr != <subnet> masquerade
"""

from cni import programs
from netemu.wire import cni

TABLE = "inet cni_plugins_masquerade"
CHAIN = "masq_checks"
_PATH = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_BASE = f"""\
add table {TABLE}
add chain {TABLE} {CHAIN}
add chain {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}
flush chain {TABLE} postrouting
add rule {TABLE} postrouting ip daddr 224.0.0.0/4 return
add rule {TABLE} postrouting ip6 daddr ff00::/8 return
add rule {TABLE} postrouting goto {CHAIN}
"""


def add(call: cni.Call, ips: "tuple[cni.Address, ...]") -> None:
    """One atomic transaction."""
    _nft([], (_BASE + "".join(_rule(call, ip) for ip in ips)).encode())


def _rule(call: cni.Call, ip: cni.Address) -> str:
    family = "ip" if ip.address.version == 4 else "ip6"
    outside = f"{family} saddr {ip.address.ip} {family} daddr != {ip.address.network}"
    return f'add rule {TABLE} {CHAIN} {outside} masquerade comment "{_comment(call)}"\n'


def _comment(call: cni.Call) -> str:
    return f"{call.container_id[:64]} {call.ifname}"  # nft takes 128 bytes


def delete(call: cni.Call) -> None:
    """Remove the container's rules; none is fine. Without nft there are none."""
    if not programs.find("nft", _PATH):
        return
    code, listing = _run(["-a", "list", "chain", *TABLE.split(), CHAIN], b"")
    mine = f'comment "{_comment(call)}" # handle '
    handles = [line.rpartition(mine)[2] for line in listing.decode().splitlines() if mine in line]
    if code == 0 and handles:
        _nft([], "".join(f"delete rule {TABLE} {CHAIN} handle {handle}\n" for handle in handles).encode())


def _nft(arguments: list[str], text: bytes) -> None:
    code, output = _run(arguments or ["-f", "-"], text)
    if code:
        raise cni.Failure(cni.IO_FAILURE, "nft refused the masquerade rules", output.decode(errors="replace"))


def _run(arguments: list[str], text: bytes) -> tuple[int, bytes]:
    path = programs.find("nft", _PATH)
    if not path:
        raise cni.Failure(cni.UNSUPPORTED_FIELD, "ipMasq needs the nft program (package nftables)")
    return programs.run(path, arguments, {"LC_ALL": "C"}, text)
