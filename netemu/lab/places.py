"""Makes the namespaces of a lab and what a node has of its own in them. Knows mounts and files; no links.

A node is a machine: own network, mounts, host name; own /run; /etc, /opt and /var that show the host's until
something is written there. The names of all are bound below DIR/ns, in the lab's mount namespace only.
"""

import contextlib
import errno
import os
import shutil
import socket

import cni
from netemu.base import errors
from netemu.kernel import mounts, netns
from netemu.lab import config, layout, plugins

_OVERLAID = ("etc", "opt", "var")

# What a machine of its own must not have inherited from the host, though the host may have it.
_EMPTY = (
    "etc/cni",
    "etc/cni/net.d",
    "etc/kubernetes",
    "opt/cni",
    "opt/cni/bin",
    "var/lib/cni",
    "var/lib/kubelet",
    "var/log/pods",
    "var/log/containers",
)
_RUN = ("netns", "netemu", "lock")


def prepare(place: layout.Layout) -> None:
    """The lab's own file systems in memory. In the lab's mount namespace, once."""
    for directory in (place.namespaces, place.nodes):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        mounts.tmpfs(directory, mode=0o700)


def make_segment(place: layout.Layout, name: str) -> None:
    """A place that is only a network (and a host name): the fabric, or the outside."""
    _keep(place, name, netns.make(("net", "uts"), lambda: socket.sethostname(name)))


def make_node(place: layout.Layout, lab: config.LabConfig, node: config.Node) -> None:
    """A machine of its own."""
    upper = place.node(node.name)
    for directory in ("run", *_OVERLAID, *(f".{name}" for name in _OVERLAID)):
        os.makedirs(f"{upper}/{directory}", mode=0o755, exist_ok=True)
    for directory in _EMPTY:
        os.makedirs(f"{upper}/{directory}", exist_ok=True)
    layered = _hide(upper)
    for directory in _RUN:
        os.makedirs(f"{upper}/run/{directory}", exist_ok=True)
    for name, text in _files(lab, node).items():
        with open(f"{upper}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    cni.install(f"{upper}/opt/cni/bin")
    others = _bring_plugins(lab.network.cni, upper)
    try:
        made = netns.make(("net", "mnt", "uts"), lambda: _furnish(upper, node.name, others, layered=layered))
    finally:
        if others is not None:
            os.close(others)
    _keep(place, node.name, made)


def _bring_plugins(wanted: plugins.Cni, upper: str) -> int | None:
    """A configuration list of the lab's own for a node, and its plugins: a directory as it is seen here."""
    if wanted.conflist:
        shutil.copyfile(wanted.conflist, f"{upper}/etc/cni/net.d/{plugins.CONFIGURATION}")
    if not wanted.bin:
        return None
    os.makedirs(f"{upper}/{plugins.PLACE}", exist_ok=True)
    return mounts.clone(wanted.bin)


def _hide(upper: str) -> bool:
    """Of these directories the host's content is not to be seen. False: below a user namespace Linux before
    6.6 cannot mark that in memory.
    """
    try:
        for directory in _EMPTY:
            mounts.opaque(f"{upper}/{directory}")
    except OSError as refusal:
        if refusal.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


def _furnish(upper: str, name: str, others: int | None, *, layered: bool) -> None:
    """Inside the new namespaces. /run comes last: then the lab's directory is out of sight."""
    socket.sethostname(name)
    for directory in _OVERLAID:
        try:
            if not (layered and _overlay(upper, directory)):
                _stand_in(upper, directory)
        except OSError as refusal:
            raise errors.Rejected(
                f"a node's own /{directory} cannot be made: {refusal.strerror}",
                hint="netemu doctor says what this machine lacks",
            ) from None
    _own_sysfs()
    if others is not None:
        mounts.attach(others, f"/{plugins.PLACE}")
    mounts.bind(f"{upper}/run", "/run")


def _overlay(upper: str, directory: str) -> bool:
    """The host's directory, seen through the node's own. False: below a user namespace nobody may look under
    what the host has mounted in there.
    """
    try:
        mounts.overlay(f"/{directory}", f"{upper}/{directory}", f"{upper}/.{directory}", f"/{directory}")
    except OSError as refusal:
        if refusal.errno != errno.EINVAL:
            raise
        return False
    return True


def _stand_in(upper: str, directory: str) -> None:
    """The node's own directory alone; with a copy of /etc, which programs need."""
    own = f"{upper}/{directory}"
    if directory == "etc":
        _copy(f"/{directory}", own)
    mounts.bind(own, f"/{directory}")


def _copy(source: str, target: str) -> None:
    """All that may be read there, and is not in the target yet."""
    for entry in os.scandir(source):
        there = f"{target}/{entry.name}"
        if os.path.lexists(there):
            continue
        with contextlib.suppress(OSError):  # shutil.Error is one: the rest is copied
            if entry.is_dir(follow_symlinks=False):
                shutil.copytree(entry.path, there, symlinks=True)
            elif entry.is_file() or entry.is_symlink():
                shutil.copy(entry.path, there, follow_symlinks=False)


def _own_sysfs() -> None:
    """/sys/class/net of the node. Where the kernel refuses (a masked /sys), the host's stays."""
    with contextlib.suppress(OSError):
        groups = mounts.clone("/sys/fs/cgroup")
        try:
            mounts.sysfs("/sys")
            mounts.attach(groups, "/sys/fs/cgroup")
        finally:
            os.close(groups)


def _keep(place: layout.Layout, name: str, namespaces: dict[str, int]) -> None:
    os.makedirs(f"{place.namespaces}/{name}", mode=0o700, exist_ok=True)
    for kind, fd in namespaces.items():
        netns.bind(f"/proc/self/fd/{fd}", place.namespace(name, kind))
        os.close(fd)


def _files(lab: config.LabConfig, node: config.Node) -> dict[str, str]:
    """Regular files of the node's own, so that nothing follows the host's symbolic links."""
    hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    hosts += [f"{ip}\t{other.name}" for other in lab.nodes for ip in other.ips]
    domain = config.CLUSTER_DOMAIN
    resolver = f"# No resolver beyond the lab. Names in {domain} are answered by {lab.dns_service[0]}.\n"
    return {"hostname": f"{node.name}\n", "hosts": "\n".join(hosts) + "\n", "resolv.conf": resolver}
