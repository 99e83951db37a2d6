"""A pod's namespaces: made in a fork of the shim and held by the pause program, PID 1 of the pod.

Knows the kernel's side of a sandbox; the shim keeps the books.
"""

import fcntl
import os
import socket
import struct

from netemu.base import errors
from netemu.kernel import linux, netns
from netemu.runtime import containers
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


def make(config: cri.SandboxConfig, pause: str, home: int) -> int:
    """Fork the sandbox's PID 1 and wait until it holds everything (about 2 ms). Its pid, or KernelError.

    `home` is a descriptor of the caller's own pid namespace, to which its later children belong again.
    """
    report, told = os.pipe()
    try:
        linux.unshare(linux.CLONE_NEWPID)
        pid = fork_elsewhere(home)
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            containers.become(lambda: _hold(config, pause), (null, null, null), told, terminal=False)
    finally:
        os.close(told)
    try:
        trouble = os.read(report, 4096)  # ends by itself when pause is executed
    finally:
        os.close(report)
    if trouble:
        os.waitpid(pid, 0)
        raise linux.KernelError(f"the sandbox cannot be made: {trouble.decode(errors='replace')}")
    return pid


def fork_elsewhere(home: int) -> int:
    """Fork into the pid namespace chosen for children, and choose `home` again for the next ones."""
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            linux.setns(home, linux.CLONE_NEWPID)
    return pid


def _hold(config: cri.SandboxConfig, pause: str) -> None:
    """In the child: the other namespaces, their settings, then pause."""
    own = 0 if config.host_network else linux.CLONE_NEWNET | linux.CLONE_NEWUTS
    linux.unshare(linux.CLONE_NEWIPC | own)
    sysctls = dict(config.sysctls)
    if not config.host_network:
        socket.sethostname(config.hostname)
        bring_up_loopback()
        sysctls = {**DEFAULT_SYSCTLS, **sysctls}
    for name, value in sysctls.items():
        _set(name, value, must=name in config.sysctls)
    os.chdir("/")
    os.execv(pause, ["/pause"])


def bring_up_loopback() -> None:
    """127.0.0.1 and ::1 come with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(door, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _set(name: str, value: str, *, must: bool) -> None:
    try:
        with open(f"/proc/sys/{name.replace('.', '/')}", "wb", buffering=0) as file:
            file.write(value.encode())
    except OSError:
        if must:
            raise


def keep_network(pid: int, sandbox_id: str) -> str:
    """A path by which CNI plugins find the pod's network namespace."""
    os.makedirs(NETNS_DIRECTORY, exist_ok=True)
    path = f"{NETNS_DIRECTORY}/{sandbox_id}"
    netns.bind(f"/proc/{pid}/ns/net", path)
    return path


def release_network(path: str) -> None:
    if path:
        netns.remove(path)
