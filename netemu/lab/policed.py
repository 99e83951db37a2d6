"""The runtime of a node whose pods are policed: no process of a pod starts before its policies are in force.

Joins two rooms that do not know each other. After a restart of the agent it asks for the sandboxes there are.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from netemu.netpol import admission, terms
from netemu.runtime import local
from netemu.wire import cri


class PolicedRuntime(local.LocalRuntime):
    """`gate` is where the node's policies are asked for."""

    def __init__(self, socket_path: str, network: local.Network) -> None:
        super().__init__(socket_path, network)
        self.gate = admission.Gate(self._existing)

    async def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox:
        made = await super().run_pod_sandbox(config)
        if made.ips:
            await self.gate.admit(_attachment(made))
        return made

    async def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> str:
        await self.gate.admitted(sandbox_id)  # of a sandbox from before the agent's restart
        return await super().create_container(sandbox_id, config)

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await super().stop_pod_sandbox(sandbox_id)
        self.gate.release(sandbox_id)

    async def _existing(self) -> Iterable[admission.Attachment]:
        return [_attachment(sandbox) for sandbox in await self.list_pod_sandboxes() if sandbox.ips]


def _attachment(sandbox: cri.Sandbox) -> admission.Attachment:
    key = terms.Key(sandbox.config.namespace, sandbox.config.name)
    return admission.Attachment(
        sandbox.id, key, sandbox.config.uid, tuple(ip_address(ip) for ip in sandbox.ips)
    )
