"""A pod's namespaces: made by the shim and held by the pause program, PID 1 of the pod.

Knows the kernel's side of a sandbox; the shim keeps the books.
"""

import fcntl
import os
import signal
import socket
import struct

from netemu.base import errors
from netemu.kernel import linux, netns
from netemu.runtime import elsewhere
from netemu.wire import cri

NETNS_DIRECTORY = "/run/netns"
# As containerd sets them for pods: any port and ping sockets for everybody. The last three: an address is of
# use as soon as it is there, and no router's word overrides what the CNI plugin configured.
DEFAULT_SYSCTLS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.all.accept_ra": "0",
}
# What is of the network or IPC namespace; everything else would be the host's (KEP-34, sysctl/namespace.go).
NAMESPACED = (
    *("net.", "fs.mqueue.", "kernel.shm", "kernel.msg"),
    "kernel.sem",
)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def check(config: cri.SandboxConfig) -> None:
    """Rejected when a sysctl is not the pod's to set."""
    for name in config.sysctls:
        if not name.startswith(NAMESPACED):
            raise errors.Rejected(f'sysctl "{name}" is not namespaced: it would change the host')
        if config.host_network and name.startswith("net."):
            raise errors.Rejected(f'sysctl "{name}" not allowed with host net enabled')


def make(config: cri.SandboxConfig, name: str, pause: str, home: elsewhere.Home) -> tuple[int, str]:
    """The pid of the sandbox's pause, and the path that keeps its network namespace ("" for the node's own).

    About 1 ms. OSError or Rejected: nothing is left.
    """
    path = ""
    own = 0 if config.host_network else linux.CLONE_NEWNET | linux.CLONE_NEWUTS
    try:
        with home.left():
            linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWIPC | own)
            if not config.host_network:
                socket.sethostname(config.hostname)
                bring_up_loopback()
                path = _keep_network(name)
            _configure(config)
            return _hold(pause), path
    except BaseException:
        release_network(path)
        raise


def _hold(pause: str) -> int:
    """PID 1 of the new pid namespace, started by vfork: nothing of this process is copied."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)
    return os.posix_spawn(
        pause, ["/pause"], {}, file_actions=null, setsid=True, setsigdef=ignored, setsigmask=()
    )


def bring_up_loopback() -> None:
    """127.0.0.1 and ::1 come with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(door, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _configure(config: cri.SandboxConfig) -> None:
    """/proc/sys shows the network and IPC namespace of who looks."""
    defaults = {} if config.host_network else DEFAULT_SYSCTLS
    for setting, value in {**defaults, **config.sysctls}.items():
        try:
            with open(f"/proc/sys/{setting.replace('.', '/')}", "wb", buffering=0) as file:
                file.write(value.encode())
        except OSError as refusal:
            if setting in config.sysctls:
                raise errors.Rejected(f"sysctl {setting}={value}: {refusal.strerror}") from None


def _keep_network(name: str) -> str:
    """A path by which CNI plugins find the pod's network namespace."""
    os.makedirs(NETNS_DIRECTORY, exist_ok=True)
    path = f"{NETNS_DIRECTORY}/{name}"
    netns.bind("/proc/self/ns/net", path)
    return path


def release_network(path: str) -> None:
    if path:
        netns.remove(path)
