"""What every lab runs in kube-system: cluster DNS. Applies it through the API, as anybody else would.

Knows neither its objects (dns.manifests does) nor when they work; what is there already is left alone.
"""

from netemu.api import codec, kinds
from netemu.client import api, errors
from netemu.dns import manifests
from netemu.lab import config


async def apply(client: api.Client, lab: config.LabConfig) -> None:
    """Make what is missing, in order."""
    for document in manifests.documents(lab.dns_service, domain=config.CLUSTER_DOMAIN):
        kind = kinds.named(document["apiVersion"], document["kind"])
        assert kind is not None, document["kind"]
        try:
            await client.create(codec.convert(kind.type, document))
        except errors.AlreadyExists:
            continue
