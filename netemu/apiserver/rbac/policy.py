"""The roles and bindings every cluster has, made of the tables in `grants`."""

from __future__ import annotations

from typing import Any

from netemu.api import wellknown
from netemu.apiserver.rbac import grants, rules

_AGGREGATED = {"admin": "", "edit": "admin", "view": "edit"}  # and to which it belongs itself
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-{}"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_UPDATE = {wellknown.RBAC_AUTOUPDATE: "true"}
_CONTROLLER = "system:controller:{}"


def cluster_roles() -> list[dict[str, Any]]:
    """The ClusterRoles, aggregated ones with their rules already."""
    table = (
        grants.USERS
        | grants.COMPONENTS
        | {_CONTROLLER.format(name): found for name, found in grants.CONTROLLERS.items()}
    )
    found = [_role("ClusterRole", name, lines) for name, lines in table.items()]
    for document in found:
        _, _, to = document["metadata"]["name"].partition("aggregate-to-")
        if to:
            document["metadata"]["labels"][_AGGREGATE.format(to)] = "true"
    return found + [_aggregated(name) for name in _AGGREGATED]


def _aggregated(name: str) -> dict[str, Any]:
    parts, lines = [name], list[str]()
    while parts:
        part = parts.pop()
        lines += grants.USERS[f"system:aggregate-to-{part}"]
        parts += [below for below, above in _AGGREGATED.items() if above == part]
    document = _role("ClusterRole", name, lines)
    document["aggregationRule"] = {
        "clusterRoleSelectors": [{"matchLabels": {_AGGREGATE.format(name): "true"}}]
    }
    if _AGGREGATED[name]:
        document["metadata"]["labels"][_AGGREGATE.format(_AGGREGATED[name])] = "true"
    return document


def cluster_bindings() -> list[dict[str, Any]]:
    """The ClusterRoleBindings. Our controllers share one user, which therefore has all their roles."""
    controllers = [
        (_CONTROLLER.format(name), (f"Account:kube-system:{name}", grants.MANAGER))
        for name in grants.CONTROLLERS
    ]
    return [
        _document("ClusterRoleBinding", name, roleRef=_ref("ClusterRole", name), subjects=_all(subjects))
        for name, subjects in (*grants.BINDINGS, *controllers)
    ]


def roles() -> list[dict[str, Any]]:
    """The Roles."""
    return [_role("Role", name, lines, namespace) for namespace, name, lines in grants.ROLES]


def bindings() -> list[dict[str, Any]]:
    """The RoleBindings."""
    return [
        _document(
            "RoleBinding",
            grants.BINDING_NAMES.get(name, name),
            namespace,
            roleRef=_ref("Role", name),
            subjects=_all(grants.ROLE_BINDINGS[name]),
        )
        for namespace, name, _ in grants.ROLES
    ]


def parse(line: str) -> rules.Rule:
    """A line of the notation in `grants`."""
    line, _, names = line.partition("[")
    verbs, first, *rest = (tuple(part.split()) for part in line.split("|"))
    if not rest:
        return rules.Rule(verbs, urls=first)
    groups = tuple("" if group == "-" else group for group in first)
    return rules.Rule(verbs, groups, rest[0], tuple(names.rstrip("] ").split()))


def _role(kind: str, name: str, lines: tuple[str, ...] | list[str], namespace: str = "") -> dict[str, Any]:
    return _document(kind, name, namespace, rules=[parse(line).document() for line in lines])


def _document(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "labels": dict(_LABELS), "annotations": dict(_UPDATE)}
    if namespace:
        about["namespace"] = namespace
    return {"kind": kind, "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": about, **more}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}


def _all(subjects: tuple[str, ...]) -> list[dict[str, str]]:
    return [_subject(text) for text in subjects]


def _subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    if kind == "Account":
        namespace, _, name = name.partition(":")
        return {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}
