"""What a node's agent may do: only what concerns its own Node and the pods bound to it.

Upstream's Node authorizer and NodeRestriction in one (kubernetes.io/docs/reference/access-authn-authz/node),
simpler in this: volumes and claims are not followed, and a secret or ConfigMap must be read by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from netemu.api import core, kinds
from netemu.apiserver import authentication, authorization, cache
from netemu.apiserver.rbac import policy, rules

GROUP = "system:nodes"
_PREFIX = "system:node:"
_LEASES = "kube-node-lease"
_CHANGES = ("update", "patch", "delete")
Reference = tuple[str, str, str]  # resource, namespace, name


class Nodes:
    """An authorizer for users in system:nodes. Follows pods to know what each node's pods refer to."""

    def __init__(self, caches: cache.Cache) -> None:
        self._static = next(
            rules.read(role["rules"])
            for role in policy.cluster_roles()
            if role["metadata"]["name"] == "system:node"
        )
        self._pods: dict[tuple[str, str], tuple[str, tuple[Reference, ...]]] = {}
        self._known: dict[str, Counter[Reference]] = {}
        collection = caches.of(kinds.of(core.Pod))
        for entry in collection.all():
            self._take(entry.document())
        collection.listen(self._receive)

    def allowed(self, user: authentication.User, asked: authorization.Attributes) -> bool:
        """Whether a node may; False for everybody who is none."""
        if GROUP not in user.groups or not user.name.startswith(_PREFIX):
            return False
        node = user.name[len(_PREFIX) :]
        if not any(rules.allows(rule, asked) for rule in self._static):
            return False
        return self._own(node, asked)

    def _own(self, node: str, asked: authorization.Attributes) -> bool:
        what = asked.resource
        if what in ("secrets", "configmaps") and not asked.group:
            return self._refers(node, (what, asked.namespace, asked.name))
        if what == "serviceaccounts":
            return self._refers(node, (what, asked.namespace, asked.name))
        if what == "leases":
            return asked.namespace == _LEASES and (asked.verb == "create" or asked.name == node)
        if what == "csinodes" or (what == "nodes" and asked.verb in _CHANGES):
            return asked.verb == "create" or asked.name == node
        if what == "pods" and (asked.verb in _CHANGES or asked.subresource):
            return self._pods.get((asked.namespace, asked.name), ("", ()))[0] == node
        return True

    def _refers(self, node: str, reference: Reference) -> bool:
        return node in self._known and self._known[node][reference] > 0

    def _receive(self, event: cache.Event) -> None:
        key = (event.entry.namespace, event.entry.name)
        if event.type == "DELETED":
            self._forget(key)
        elif key not in self._pods:  # nodes stay what they are, and what a bound pod refers to
            self._take(event.entry.document())

    def _take(self, pod: dict[str, Any]) -> None:
        about, spec = pod["metadata"], pod.get("spec", {})
        key = (about["namespace"], about["name"])
        self._forget(key)
        if node := spec.get("nodeName", ""):
            found = tuple(set(references(about["namespace"], spec)))
            self._pods[key] = (node, found)
            self._known.setdefault(node, Counter()).update(found)

    def _forget(self, key: tuple[str, str]) -> None:
        node, found = self._pods.pop(key, ("", ()))
        counted = self._known.get(node)
        if counted is not None:
            counted.subtract(found)
            for reference in found:
                if counted[reference] <= 0:
                    del counted[reference]


def references(namespace: str, spec: dict[str, Any]) -> Iterator[Reference]:
    """The ConfigMaps, secrets and the account a pod needs."""
    yield "serviceaccounts", namespace, spec.get("serviceAccountName") or "default"
    for secret in spec.get("imagePullSecrets", ()):
        yield "secrets", namespace, secret.get("name", "")
    for volume in spec.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if "configMap" in source:
                yield "configmaps", namespace, source["configMap"].get("name", "")
            if "secret" in source:
                secret = source["secret"]
                yield "secrets", namespace, secret.get("secretName") or secret.get("name", "")
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field, ()):
            yield from _environment(namespace, container)


def _environment(namespace: str, container: dict[str, Any]) -> Iterator[Reference]:
    sources = [found.get("valueFrom") or {} for found in container.get("env", ())]
    for source in sources:
        if "configMapKeyRef" in source:
            yield "configmaps", namespace, source["configMapKeyRef"].get("name", "")
        if "secretKeyRef" in source:
            yield "secrets", namespace, source["secretKeyRef"].get("name", "")
    for source in container.get("envFrom", ()):
        for name, what in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if name in source:
                yield what, namespace, source[name].get("name", "")
