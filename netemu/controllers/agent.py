"""All controllers of one cluster, side by side on shared informers. Constructs them; knows none of their
work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from netemu.base import clock
from netemu.client import api, informers
from netemu.controllers import configs
from netemu.controllers.daemonset import agent as daemonset
from netemu.controllers.deployment import agent as deployment
from netemu.controllers.endpoints import agent as endpoints
from netemu.controllers.endpointslice import agent as endpointslice
from netemu.controllers.endpointslice import members
from netemu.controllers.garbage import agent as garbage
from netemu.controllers.job import agent as job
from netemu.controllers.mirroring import agent as mirroring
from netemu.controllers.namespaces import agent as namespaces
from netemu.controllers.nodeipam import agent as nodeipam
from netemu.controllers.nodelifecycle import agent as nodelifecycle
from netemu.controllers.podgc import agent as podgc
from netemu.controllers.replicaset import agent as replicaset
from netemu.controllers.serviceaccounts import agent as serviceaccounts
from netemu.controllers.statefulset import agent as statefulset
from netemu.controllers.tainteviction import agent as tainteviction
from netemu.reconcile import recorders

Config = configs.Config


async def run(
    client: api.Client,
    clock: clock.Clock,
    config: configs.Config,
    *,
    shared: informers.Informers | None = None,
) -> None:
    """Run them all for ever. `shared`: informers run by somebody else in this process, to spare a second
    copy.
    """
    known = shared or informers.Informers(client, clock)
    recording: dict[str, recorders.Recorder] = {}

    def events(component: str) -> recorders.Recorder:
        return recording.setdefault(component, recorders.Recorder(client, component, clock))

    who = members.Members(known)
    ipam = nodeipam.NodeIpam(client, known, clock, events("cidrAllocator"), config.cluster_cidrs)
    lifecycle = nodelifecycle.NodeLifecycle(
        client,
        known,
        clock,
        events("node-controller"),
        grace=config.node_grace,
        startup_grace=config.node_startup_grace,
    )
    runs = (
        ipam.run,
        lifecycle.run,
        serviceaccounts.ServiceAccounts(client, known, clock, config.ca_pem).run,
        deployment.Deployments(client, known, clock, events("deployment-controller")).run,
        replicaset.ReplicaSets(client, known, clock, events("replicaset-controller")).run,
        daemonset.DaemonSets(client, known, clock, events("daemonset-controller")).run,
        job.Jobs(client, known, clock, events("job-controller")).run,
        statefulset.StatefulSets(client, known, clock, events("statefulset-controller")).run,
        endpointslice.EndpointSlices(client, known, clock, who).run,
        endpoints.EndpointsObjects(client, known, clock, who).run,
        mirroring.Mirroring(client, known, clock).run,
        tainteviction.TaintEviction(client, known, clock, events("taint-eviction-controller")).run,
        garbage.Garbage(client, known, clock, events("garbage-collector-controller")).run,
        namespaces.Namespaces(client, known, clock).run,
        podgc.PodGarbage(client, known, clock).run,
        *(recorder.run for recorder in recording.values()),
    )
    await _together(runs if shared is not None else (*runs, known.run))


async def _together(runs: tuple[Callable[[], Coroutine[Any, Any, None]], ...]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(run())
