"""Where a plugin is tried out: a machine of its own in namespaces, and as many containers as are asked for.

Everything lives in the process that enters it and ends with it: the caller's network, /run and /var/lib/cni
are not touched. Knows how a plugin is called by hand, so that it can be called wrongly, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.kernel import linux, mounts, netns, network, process, states
from netemu.kernel import operations as ops

DIRECTORY = "/var/lib/cni"
_HIDDEN = ("/run/", "/var/lib/")
_OWN = (DIRECTORY, "/run/netns", "/run/cni", "/run/flannel")
_LEASES = f"{DIRECTORY}/networks"
_SUBNETS = (
    "FLANNEL_NETWORK=10.99.0.0/16\nFLANNEL_SUBNET=10.99.1.1/24\n"
    "FLANNEL_IPV6_NETWORK=fd99::/48\nFLANNEL_IPV6_SUBNET=fd99:0:0:1::1/64\n"
    "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
)
# As a production node has them; addresses are usable at once: nobody waits for duplicates to be found.
_SYSCTLS = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv6.conf.default.accept_dad=0",
    "net.ipv6.conf.all.accept_dad=0",
)


class Heard(NamedTuple):
    """What came of a call. `document` is the JSON of its standard output, None when that is none."""

    code: int
    stdout: bytes
    stderr: bytes
    document: Any

    @property
    def error(self) -> int | None:
        """The specification's code, of an error object with a non-zero exit; None otherwise."""
        code = self.document.get("code") if isinstance(self.document, dict) else None
        return code if self.code and isinstance(code, int) else None


def enter(shown: Sequence[str]) -> None:
    """Move this single-threaded process into a network and mount namespace of its own. OSError: no root.

    `shown`: directories that must be seen there as they are here.
    """
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
    mounts.private()
    kept = {path: mounts.clone(path) for path in shown if path.startswith(_HIDDEN)}
    for directory in _HIDDEN:
        mounts.tmpfs(directory.rstrip("/"))
    for path, tree in kept.items():
        os.makedirs(path, exist_ok=True)
        mounts.attach(tree, path)
        os.close(tree)
    for directory in _OWN:
        os.makedirs(directory, exist_ok=True)
    with contextlib.suppress(OSError):  # where the kernel refuses, the caller's stays
        mounts.sysfs()
    with open("/run/flannel/subnet.env", "w", encoding="ascii") as file:
        file.write(_SUBNETS)
    _sysctls()
    with network.LinuxNetwork() as host:
        host.apply([ops.SetUp("lo")])


def _sysctls() -> None:
    for setting in _SYSCTLS:
        key, _, value = setting.partition("=")
        with open(f"/proc/sys/{key.replace('.', '/')}", "w", encoding="ascii") as file:
            file.write(value)


class Stage:
    """`path` is the plugin, `directories` what it finds others in."""

    def __init__(self, path: str, directories: Sequence[str], timeout: float) -> None:
        self.path = path
        self.directories = tuple(directories)
        self._timeout = timeout
        self._containers = 0

    def container(self) -> str:
        """A new, empty network namespace; its path."""
        self._containers += 1
        path = f"/run/netns/c{self._containers}"
        netns.create(path)
        netns.call(path, _sysctls)
        return path

    def spare(self) -> None:
        """The machine has a link to take, `spare`; its other end is `uplink`.

        A link of another kind would come back when a container ends; this one ends with it.
        """
        with network.LinuxNetwork() as host:
            links = host.observe().links
            if "spare" not in links:
                host.apply([ops.DelLink("uplink")] if "uplink" in links else [])
                host.apply([ops.AddVeth("uplink", "spare", None), ops.SetUp("uplink"), ops.SetUp("spare")])

    async def call(self, command: str, config: Any, **parameters: str | None) -> Heard:
        """Run it with CNI_<PARAMETER> for each one given; None leaves out what would be there otherwise."""
        return await self.call_another(self.path, command, config, **parameters)

    async def call_another(self, path: str, command: str, config: Any, **parameters: str | None) -> Heard:
        """The same for another executable than the plugin."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_PATH": ":".join(self.directories)}
        if command:
            environment["CNI_COMMAND"] = command
        for name, value in parameters.items():
            environment.pop(f"CNI_{name}", None)
            if value is not None:
                environment[f"CNI_{name}"] = value
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        try:
            done = await process.run([path], env=environment, stdin=text, timeout=self._timeout)
        except TimeoutError:
            raise errors.NetemuError(f"{command} gave no answer within {self._timeout:g} s") from None
        document = None
        try:
            document = json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError:
            document = None
        return Heard(done.code, done.stdout, done.stderr, document)

    async def killed(self, after: float, config: Any, **parameters: str) -> None:
        """ADD, killed in the middle of its work after so many seconds."""
        try:
            async with asyncio.timeout(after):
                await self.call("ADD", config, **parameters)
        except TimeoutError:
            return

    def links(self) -> frozenset[str]:
        """The names of the links of the machine."""
        return frozenset(look().links)

    def leases(self) -> frozenset[str]:
        """The addresses that host-local has given away, whatever the network."""
        found = set()
        for directory, _, names in os.walk(_LEASES):
            found |= {f"{directory}/{name}" for name in names if name[0].isdigit() or ":" in name}
        return frozenset(found)


def look(place: str | None = None) -> states.State:
    """What is in a network namespace; None: the machine's."""
    with network.LinuxNetwork(place) as door:
        return door.observe()


def change(place: str, *operations: ops.Operation) -> None:
    """Do something to a container behind the plugin's back."""
    with network.LinuxNetwork(place) as door:
        door.apply(operations)
