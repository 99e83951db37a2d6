"""exec, attach and port-forward: the client's connection passed on to the kubelet of the pod's node.

The protocol (WebSocket or SPDY, whichever version) is between client and kubelet; here are only the request's
meaning, its checks, and a relay of bytes. What the kubelet refuses comes back as a Status.
"""

from __future__ import annotations

from netemu.apiserver import contexts, kubelets, statuses, writing
from netemu.apiserver.subresources import pods
from netemu.base import errors
from netemu.http import messages, upgrades

# What a client asks the API server for (PodExecOptions) and the API server asks a kubelet for.
_OPTIONS = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
_TRUE = ("true", "1")
_HANDED_ON = ("connection", "upgrade", "x-stream-protocol-version")
_REASONS = {400: "BadRequest", 403: "Forbidden", 404: "NotFound"}
_ENDED = ("Succeeded", "Failed")


async def execute(call: contexts.Call) -> messages.Response:
    """Run a command in a container."""
    if not call.request.parameter("command"):
        raise statuses.bad_request("you must specify at least 1 command for the container")
    commands = tuple(("command", word) for word in call.request.parameters("command"))
    return await _remote(call, "exec", commands)


async def attach(call: contexts.Call) -> messages.Response:
    """Join a container's own streams."""
    return await _remote(call, "attach", ())


async def forward(call: contexts.Call) -> messages.Response:
    """Carry connections to ports of the pod."""
    _, node = _place(call)
    ports = tuple(("port", port) for port in call.request.parameters("ports"))
    return await _pass_on(call, node, f"/portForward/{call.namespace}/{call.name}", ports)


async def _remote(call: contexts.Call, verb: str, query: messages.Fields) -> messages.Response:
    pod, node = _place(call)
    if pod.get("status", {}).get("phase") in _ENDED:
        phase = pod["status"]["phase"]
        message = f"cannot {verb} a container in a completed pod; current phase is {phase}"
        raise statuses.bad_request(message)
    container = pods.container(pod, call.request.parameter("container"))
    chosen = tuple((theirs, "1") for ours, theirs in _OPTIONS if call.request.parameter(ours) in _TRUE)
    if not any(name != "tty" for name, _ in chosen):
        raise statuses.bad_request("you must specify at least one of stdin, stdout, stderr")
    path = f"/{verb}/{call.namespace}/{call.name}/{container}"
    return await _pass_on(call, node, path, (*query, *chosen))


def _place(call: contexts.Call) -> tuple[statuses.Document, str]:
    """The pod and its node."""
    pod = writing.find(call.kind, call).document()
    node = pod["spec"].get("nodeName", "")
    if not node:
        raise statuses.bad_request(f"pod {call.name} does not have a host assigned")
    return pod, node


async def _pass_on(call: contexts.Call, node: str, path: str, query: messages.Fields) -> messages.Response:
    if not upgrades.wanted(call.request):
        raise statuses.bad_request("Upgrade request required")
    if call.parts.kubelet_tls is None:
        raise statuses.unavailable("this server has no credentials for kubelets")
    headers = tuple(
        (name, value)
        for name, value in call.request.headers
        if name in _HANDED_ON or name.startswith("sec-websocket-")
    )
    request = messages.Request(call.request.method, path, query, headers)
    try:
        response = await upgrades.ask(
            kubelets.address(call, node), call.parts.config.kubelet_port, call.parts.kubelet_tls, request
        )
    except errors.Transient as error:
        raise statuses.internal(f"error dialing backend: node {node}: {error.message}") from None
    if response.status == 101:
        return response
    text = (await messages.whole(response)).decode("utf-8", "replace").strip()
    raise statuses.Refusal(response.status, _REASONS.get(response.status, "InternalError"), text)
