"""`netemu exec`: a command in a container."""

import os
import sys
from typing import TYPE_CHECKING

import click

from netemu.cli import options

if TYPE_CHECKING:
    from netemu.lab import handle

_EXAMPLE = """
netemu exec client -- curl -s http://web/hostname
netemu exec -it -n guests client -- sh
"""


@options.command("exec", example=_EXAMPLE, context_settings={"ignore_unknown_options": False})
@click.argument("pod")
@click.argument("argv", nargs=-1, required=True, metavar="-- CMD [ARG]...")
@click.option("--container", "-c", help="The container, if not the first.")
@options.namespace
@click.option("--stdin", "-i", is_flag=True, help="Hand on standard input.")
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal.")
@options.lab
def command(
    *,
    pod: str,
    argv: tuple[str, ...],
    container: str | None,
    namespace: str,
    stdin: bool,
    tty: bool,
    name: str,
) -> int:
    """Run CMD in a container of POD; its exit code is ours."""
    from netemu.runtime import attach
    from netemu.scenario import sources

    lab = options.open_lab(name)
    node, container_id = _find(lab, pod.removeprefix("pod/"), namespace, container)
    tty = tty and sys.stdin.isatty()
    with sources.runtime_socket(lab, node) as path, open(os.devnull, "rb") as nothing:
        fds = (0 if stdin else nothing.fileno(), 1, 2)
        return attach.exec_interactive(path, container_id, argv, fds, tty)


@options.blocking
async def _find(lab: "handle.Handle", pod: str, namespace: str, container: str | None) -> tuple[str, str]:
    """The node, and the id of the container that is meant."""
    from netemu.api import core
    from netemu.base import errors
    from netemu.scenario import sources

    async with options.client(lab) as client:
        found = await client.get(core.Pod, pod, namespace)
    names = [declared.name for declared in found.spec.containers]
    wanted = container or names[0]
    if wanted not in names:
        raise errors.Rejected(f"pod {pod} has no container '{wanted}'", hint=f"it has: {', '.join(names)}")
    if not found.spec.nodeName:
        raise errors.Rejected(f"pod {pod} is not on a node yet", hint=f"netemu get pod {pod} -n {namespace}")
    placed = (await sources.pods_on(lab, found.spec.nodeName)).get((namespace, pod))
    running = {c.config.name: c for c in (placed.containers if placed else ()) if c.state == "RUNNING"}
    if wanted not in running:
        raise errors.Rejected(
            f"container {wanted} of pod {pod} is not running", hint=f"netemu get pod {pod} -n {namespace}"
        )
    return found.spec.nodeName, running[wanted].id
