"""What a kubelet needs of a container runtime and of a pod network: CRI's verbs, CNI's outcome, as protocols.

Knows neither who implements them nor how. Every method raises errors.NetemuError (or OSError when the
runtime is out of reach) with one clear line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from netemu.wire import cri


class Runtime(Protocol):
    """Stop and remove are idempotent; times are Unix seconds, timeouts seconds."""

    async def run_pod_sandbox(self, config: cri.SandboxConfig) -> cri.Sandbox: ...

    async def stop_pod_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_pod_sandbox(self, sandbox_id: str) -> None: ...

    async def list_pod_sandboxes(self) -> tuple[cri.Sandbox, ...]: ...

    async def create_container(self, sandbox_id: str, config: cri.ContainerConfig) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_s: float) -> None: ...

    async def remove_container(self, container_id: str) -> None: ...

    async def list_containers(self) -> tuple[cri.Container, ...]: ...

    async def container_status(self, container_id: str) -> cri.Container: ...

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> cri.ExecResult: ...

    async def exec(
        self, container_id: str, command: Sequence[str], fds: Sequence[int], *, tty: bool = False
    ) -> int:
        """Run a command on three descriptors; its exit code. Cancelling kills it."""
        ...

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: int | None, stderr: int | None
    ) -> int | None:
        """Output from now on goes to those pipes, too. A descriptor of its terminal or stdin."""
        ...

    async def pull_image(self, image: str) -> str:
        """The image's id; NetemuError with what is available when there is no such image."""
        ...

    def events(self) -> AsyncIterator[cri.Container]:
        """Every change of state, first what there is now. A dead sandbox comes as a container of its id."""
        ...


class Network(Protocol):
    """A pod network as the runtime uses it, and its readiness as the node reports it."""

    async def attach(self, sandbox: cri.Sandbox) -> tuple[str, ...]:
        """Connect a sandbox; its addresses, the first one primary."""
        ...

    async def detach(self, sandbox: cri.Sandbox) -> None: ...

    async def status(self) -> None:
        """Return when pods can be connected; NetemuError with the reason otherwise."""
        ...

    async def collect(self, alive: Iterable[str]) -> None:
        """Give back what sandboxes other than these hold; called before any is attached."""
        ...

    def assign(self, ranges: tuple[str, ...]) -> None:
        """The ranges of the node's pods, either family, as soon as they are known."""
        ...

    def report(self, sandbox: cri.Sandbox) -> dict[str, str]:
        """What a connected pod shall be told of its networks: annotations, none for most pods."""
        ...
