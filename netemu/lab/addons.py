"""What every lab has beside Kubernetes' own: cluster DNS, the kind ClusterNetworkPolicy. Through the API.

Knows neither the objects (dns.manifests, netpol.definitions do) nor when they work; what is there already is
left alone.
"""

import contextlib

from netemu.api import codec, kinds
from netemu.client import api, errors
from netemu.dns import manifests
from netemu.lab import config
from netemu.netpol import definitions


async def apply(client: api.Client, lab: config.LabConfig) -> None:
    """Make what is missing, in order."""
    for document in manifests.documents(lab.dns_service, domain=config.CLUSTER_DOMAIN):
        kind = kinds.named(document["apiVersion"], document["kind"])
        assert kind is not None, document["kind"]
        try:
            await client.create(codec.convert(kind.type, document))
        except errors.AlreadyExists:
            continue
    with contextlib.suppress(errors.AlreadyExists):
        await client.create(definitions.definition())
