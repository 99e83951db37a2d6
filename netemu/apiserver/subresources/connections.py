"""exec, attach, portforward and proxy: verbs that pass a connection on. Loaded when somebody first asks.

Admission is asked first, about what is wanted in the words of PodExecOptions and the like.
"""

from __future__ import annotations

from netemu.apiserver import contexts, paths, statuses
from netemu.apiserver.admission import chain
from netemu.http import messages

_FLAGS = ("stdin", "stdout", "stderr", "tty")


async def _admit(call: contexts.Call) -> None:
    sub = call.kind.subresource(call.target.subresource)
    assert sub is not None
    asked = call.request
    options: statuses.Document = {"kind": sub.kind, "apiVersion": "v1"}
    if sub.name in ("exec", "attach"):
        options |= {flag: True for flag in _FLAGS if paths.flag(asked, flag)}
        options |= {"container": asked.parameter("container")} if asked.parameter("container") else {}
        options |= {"command": list(asked.parameters("command"))} if sub.name == "exec" else {}
    elif sub.name == "portforward":
        options["ports"] = [int(port) for port in asked.parameters("ports") if port.isdigit()]
    else:
        options["path"] = f"/{call.target.rest}"
    await chain.connect(call, options)


async def execute(call: contexts.Call) -> messages.Response:
    """Run a command in a container."""
    from netemu.apiserver import streams

    await _admit(call)
    return await streams.execute(call)


async def attach(call: contexts.Call) -> messages.Response:
    """Join a container's own streams."""
    from netemu.apiserver import streams

    await _admit(call)
    return await streams.attach(call)


async def forward(call: contexts.Call) -> messages.Response:
    """Carry connections to ports of a pod."""
    from netemu.apiserver import streams

    await _admit(call)
    return await streams.forward(call)


async def proxy(call: contexts.Call) -> messages.Response:
    """HTTP to a pod, a service or a node."""
    from netemu.apiserver import proxies

    await _admit(call)
    return await proxies.answer(call)
