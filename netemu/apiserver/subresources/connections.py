"""exec, attach, portforward and proxy: verbs that pass a connection on. Loaded when somebody first asks."""

from __future__ import annotations

from netemu.apiserver import contexts
from netemu.http import messages


async def execute(call: contexts.Call) -> messages.Response:
    """Run a command in a container."""
    from netemu.apiserver import streams

    return await streams.execute(call)


async def attach(call: contexts.Call) -> messages.Response:
    """Join a container's own streams."""
    from netemu.apiserver import streams

    return await streams.attach(call)


async def forward(call: contexts.Call) -> messages.Response:
    """Carry connections to ports of a pod."""
    from netemu.apiserver import streams

    return await streams.forward(call)


async def proxy(call: contexts.Call) -> messages.Response:
    """HTTP to a pod, a service or a node."""
    from netemu.apiserver import proxies

    return await proxies.answer(call)
