"""The control plane of a lab, composed: store, API server, controllers, scheduler, and the cluster's addons.

Constructs the real doors and hands them over; decides nothing. Runs until it is killed: what the API has
acknowledged is in the store.
"""

import asyncio
import gc
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netemu.apiserver import authentication, contexts, server
from netemu.base import clock
from netemu.client import informers
from netemu.kernel import network
from netemu.lab import addons, components, composition, config, credentials, layout, readiness
from netemu.store import sqlite

if TYPE_CHECKING:
    from netemu.lab import supervisor

_log = logging.getLogger("lab")


def main(channel: components.Channel, spec: "supervisor.Spec", sockets: Sequence[socket.socket]) -> None:
    """In the network namespace of the first node, and in the lab's mounts."""
    channel.mark("modules imported")
    gc.freeze()
    try:
        asyncio.run(_run(channel, spec, sockets))
    except Exception as failure:
        channel.say("failed", **components.explained(failure))
        raise


async def _run(
    channel: components.Channel, spec: "supervisor.Spec", sockets: Sequence[socket.socket]
) -> None:
    lab, mark = spec.lab, channel.mark
    time_of = clock.SystemClock()
    identity = credentials.prepare(spec.place, lab, spec.api_port, time_of.now())
    mark("credentials written")
    store = sqlite.open(spec.place.store)
    api = server.ApiServer(store, server.Identity(*identity), _config(lab, identity), time_of)
    await api.start(sockets)
    mark("API server answers")
    # Only now: the nodes' agents are at work on their first answers meanwhile.
    from netemu.controllers import agent as controllers

    await asyncio.sleep(0)
    from netemu.netpol import announcing
    from netemu.scheduler import agent as scheduler

    async with asyncio.TaskGroup() as tasks:
        client = api.local_client("system:kube-controller-manager", _GROUPS)
        shared = informers.Informers(client, time_of)
        tasks.create_task(shared.run())
        settings = controllers.Config(tuple(lab.ranges.pods), identity.ca.decode())
        tasks.create_task(controllers.run(client, time_of, settings, shared=shared))
        tasks.create_task(_balance(api, spec, time_of, shared))
        tasks.create_task(announcing.run(client, time_of, shared))
        binding = api.local_client("system:kube-scheduler", _GROUPS)
        tasks.create_task(scheduler.run(binding, time_of, shared=shared))
        admin = api.local_client("netemu-admin", ("system:masters", authentication.AUTHENTICATED))
        await addons.apply(admin, lab)
        mark("addons applied")
        gc.freeze()
        gc.enable()  # from here on there are no modules to come, but garbage

        def said(text: str) -> None:
            mark(text)
            channel.say("progress", text=text)

        await readiness.wait(admin, lab, lambda node: spec.place.namespace(node, "net"), said, mark)
        channel.say("ready")
        _log.info("ready revision=%d kubeconfig=%s", store.revision, Path(spec.place.kubeconfig))


async def _balance(
    api: server.ApiServer, spec: "supervisor.Spec", time_of: clock.Clock, shared: informers.Informers
) -> None:
    """LoadBalancer Services, announced to the fabric's router and to the client beyond it."""
    from netemu.cloud import agent as cloud
    from netemu.cloud import announcing

    fabric, outside = (
        network.LinuxNetwork(spec.place.namespace(place, "net")) for place in (layout.FABRIC, layout.OUTSIDE)
    )
    routers = {int(router.ip.version): router.ip for router in spec.lab.outside_router}
    announcer = announcing.Fabric(fabric, outside, routers)
    accounts = ("system:serviceaccounts", "system:serviceaccounts:kube-system")
    client = api.local_client("system:serviceaccount:kube-system:service-controller", (*accounts, *_GROUPS))
    await cloud.run(client, time_of, spec.lab.ranges.balancers, announcer, shared=shared)


_GROUPS = (authentication.AUTHENTICATED,)


def _config(lab: config.LabConfig, identity: credentials.Identity) -> contexts.Config:
    return contexts.Config(
        service_cidrs=tuple(lab.ranges.services),
        endpoints=lab.nodes[0].ips,
        port=composition.API_PORT,
        ca_certificate=identity.ca.decode(),
    )
