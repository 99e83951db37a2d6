"""The cluster as the API server has it at this moment, as a world for the model. Knows which kinds count."""

import asyncio
import json
from typing import Any

from netemu.api import clusterpolicies, codec, core, discovery, networking
from netemu.client import api
from netemu.http import messages
from netemu.lab import handle
from netemu.model import worlds
from netemu.scenario import ready, run

CLUSTER_POLICIES = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"


async def world(client: api.Client, lab: handle.Handle) -> worlds.World:
    """What the model judges by, now."""
    return run.world_of(await snapshot(client), lab)


async def snapshot(client: api.Client) -> ready.Snapshot:
    """Listed anew, so that it holds every write that was acknowledged before; without Deployments."""
    lists: list[Any] = [core.Pod, core.Node, core.Service, discovery.EndpointSlice]
    lists += [core.Namespace, networking.NetworkPolicy]
    found, over_all = await asyncio.gather(
        asyncio.gather(*(client.list(kind) for kind in lists)), _cluster_policies(client)
    )
    pods, nodes, services, slices, namespaces, policies = (listing.items for listing in found)
    return ready.Snapshot(pods, nodes, services, slices, (), namespaces, policies, over_all)


async def _cluster_policies(client: api.Client) -> tuple[clusterpolicies.ClusterNetworkPolicy, ...]:
    """A custom kind: a cluster that does not have it has none of them."""
    response = await client.raw("GET", CLUSTER_POLICIES)
    data = await messages.whole(response)
    if response.status != 200:
        return ()
    items = json.loads(data).get("items") or ()
    return tuple(codec.convert(clusterpolicies.ClusterNetworkPolicy, item) for item in items)
