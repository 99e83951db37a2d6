"""What every namespace has: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt` to trust the
API by.
"""

from __future__ import annotations

import asyncio
from typing import Final

from netemu.api import core, meta
from netemu.base import clock
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.reconcile import loops

ACCOUNT: Final = "default"
ROOT_CA: Final = "kube-root-ca.crt"
_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
    "as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions "
    "of Kubernetes clusters."
)


class ServiceAccounts:
    """Puts both back where they are missing or changed. `ca_pem`: the certificate of the cluster's CA."""

    def __init__(
        self, client: api.Client, known: informers.Informers, clock: clock.Clock, ca_pem: str
    ) -> None:
        self._client = client
        self._ca_pem = ca_pem
        self._loop = loops.Loop("serviceaccounts", self._reconcile, workers=4, clock=clock)
        self._namespaces = known.of(core.Namespace)
        self._accounts = known.of(core.ServiceAccount)
        self._maps = known.of(core.ConfigMap)
        self._namespaces.subscribe(self._namespace_changed)
        self._accounts.subscribe(self._account_changed)
        self._maps.subscribe(self._map_changed)

    async def run(self) -> None:
        await asyncio.gather(*(one.synced.wait() for one in (self._namespaces, self._accounts, self._maps)))
        await self._loop.run()

    def _namespace_changed(self, change: informers.Change[core.Namespace]) -> None:
        if change.current is not None and change.previous is None:
            self._loop.enqueue(change.key.name)

    def _account_changed(self, change: informers.Change[core.ServiceAccount]) -> None:
        if change.current is None and change.key.name == ACCOUNT:
            self._loop.enqueue(change.key.namespace)

    def _map_changed(self, change: informers.Change[core.ConfigMap]) -> None:
        if change.key.name != ROOT_CA:
            return
        if change.current is None or change.current.data != {"ca.crt": self._ca_pem}:
            self._loop.enqueue(change.key.namespace)

    async def _reconcile(self, name: str) -> float | None:
        namespace = self._namespaces.get(informers.Key("", name))
        if namespace is None or namespace.metadata.deletionTimestamp:
            return None
        if self._accounts.get(informers.Key(name, ACCOUNT)) is None:
            await self._create(core.ServiceAccount(metadata=meta.ObjectMeta(name=ACCOUNT, namespace=name)))
        current = self._maps.get(informers.Key(name, ROOT_CA))
        data = {"ca.crt": self._ca_pem}
        if current is None:
            await self._create(
                core.ConfigMap(
                    metadata=meta.ObjectMeta(
                        name=ROOT_CA,
                        namespace=name,
                        annotations={"kubernetes.io/description": _DESCRIPTION},
                    ),
                    data=data,
                )
            )
        elif current.data != data:
            await self._client.patch(core.ConfigMap, ROOT_CA, name, body={"data": data})
        return None

    async def _create(self, obj: core.ServiceAccount | core.ConfigMap) -> None:
        try:
            await self._client.create(obj)
        except api_errors.AlreadyExists:
            pass
        except api_errors.Forbidden:
            pass  # the namespace is going away
