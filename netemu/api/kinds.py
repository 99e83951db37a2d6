"""The kinds that are served: their names, scope, paths, subresources and selectable fields.

Knows which record is which resource; what is in a record, its own declaration says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netemu.api import (
    apps,
    authentication,
    authorization,
    autoscaling,
    coordination,
    core,
    discovery,
    meta,
    networking,
    policy,
)

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_EDIT = ("get", "patch", "update")
_STREAM = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")


class Subresource(NamedTuple):
    """`type` is the record that is read and written; None where the traffic is a stream or a text."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    type: type[meta.Object] | None = None
    group: str = ""
    version: str = "v1"


class Selectable(NamedTuple):
    """A field selector's label, and the paths whose first non-empty value it compares."""

    label: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """Names as discovery shows them. A kind equals itself only, and so is a cheap key."""

    type: type[meta.Object]
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    selectable: tuple[Selectable, ...] = ()
    group: str = field(init=False)
    version: str = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        group, _, version = self.type.apiVersion.rpartition("/")
        for name, value in (("group", group), ("version", version), ("kind", self.type.kind)):
            object.__setattr__(self, name, value)
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """As "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a namespace, that of the list in all namespaces."""
        parts = ["/api", self.version] if not self.group else ["/apis", self.group, self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *filter(None, (name, subresource))])

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)


def _status(type_: type[meta.Object]) -> Subresource:
    group, _, version = type_.apiVersion.rpartition("/")
    return Subresource("status", type_.kind, _EDIT, type_, group, version)


def _fields(*labels: str) -> tuple[Selectable, ...]:
    return tuple(Selectable(label, (label,)) for label in labels)


_SCALE = Subresource("scale", "Scale", _EDIT, autoscaling.Scale, "autoscaling", "v1")

ALL: tuple[Kind, ...] = (
    Kind(type=core.ConfigMap, plural="configmaps", short_names=("cm",)),
    Kind(type=core.Endpoints, plural="endpoints", short_names=("ep",)),
    Kind(
        type=core.Event,
        plural="events",
        short_names=("ev",),
        selectable=(
            *_fields(
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "type",
            ),
            Selectable("reportingComponent", ("reportingComponent",)),
            Selectable("source", ("source.component", "reportingComponent")),
        ),
    ),
    Kind(
        type=core.Namespace,
        plural="namespaces",
        namespaced=False,
        short_names=("ns",),
        subresources=(
            Subresource("finalize", "Namespace", ("update",), core.Namespace),
            _status(core.Namespace),
        ),
        selectable=_fields("status.phase"),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    ),
    Kind(
        type=core.Node,
        plural="nodes",
        namespaced=False,
        short_names=("no",),
        subresources=(Subresource("proxy", "NodeProxyOptions", _PROXY), _status(core.Node)),
        selectable=_fields("spec.unschedulable"),
    ),
    Kind(
        type=core.Pod,
        plural="pods",
        short_names=("po",),
        categories=("all",),
        subresources=(
            Subresource("attach", "PodAttachOptions", _STREAM),
            Subresource("binding", "Binding", ("create",), core.Binding),
            Subresource("ephemeralcontainers", "Pod", _EDIT, core.Pod),
            Subresource("eviction", "Eviction", ("create",), policy.Eviction, "policy", "v1"),
            Subresource("exec", "PodExecOptions", _STREAM),
            Subresource("log", "Pod", ("get",)),
            Subresource("portforward", "PodPortForwardOptions", _STREAM),
            Subresource("proxy", "PodProxyOptions", _PROXY),
            Subresource("resize", "Pod", _EDIT, core.Pod),
            _status(core.Pod),
        ),
        selectable=(
            *_fields(
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ),
            Selectable("spec.host", ("spec.nodeName",)),
        ),
    ),
    Kind(type=core.Secret, plural="secrets", selectable=_fields("type")),
    Kind(
        type=core.ServiceAccount,
        plural="serviceaccounts",
        short_names=("sa",),
        subresources=(
            Subresource(
                "token",
                "TokenRequest",
                ("create",),
                authentication.TokenRequest,
                "authentication.k8s.io",
                "v1",
            ),
        ),
    ),
    Kind(
        type=core.Service,
        plural="services",
        short_names=("svc",),
        categories=("all",),
        subresources=(Subresource("proxy", "ServiceProxyOptions", _PROXY), _status(core.Service)),
        selectable=_fields("spec.clusterIP", "spec.type"),
    ),
    Kind(
        type=apps.Deployment,
        plural="deployments",
        short_names=("deploy",),
        categories=("all",),
        subresources=(_SCALE, _status(apps.Deployment)),
    ),
    Kind(
        type=apps.ReplicaSet,
        plural="replicasets",
        short_names=("rs",),
        categories=("all",),
        subresources=(_SCALE, _status(apps.ReplicaSet)),
        selectable=_fields("status.replicas"),
    ),
    Kind(type=coordination.Lease, plural="leases"),
    Kind(type=discovery.EndpointSlice, plural="endpointslices"),
    Kind(
        type=networking.IPAddress,
        plural="ipaddresses",
        namespaced=False,
        short_names=("ip",),
        selectable=_fields(
            "spec.parentRef.group",
            "spec.parentRef.resource",
            "spec.parentRef.namespace",
            "spec.parentRef.name",
        ),
    ),
    Kind(type=networking.NetworkPolicy, plural="networkpolicies", short_names=("netpol",)),
    Kind(
        type=networking.ServiceCIDR,
        plural="servicecidrs",
        namespaced=False,
        subresources=(_status(networking.ServiceCIDR),),
    ),
)

# Questions put to the API server: created, answered, never stored.
REVIEWS: tuple[Kind, ...] = (
    Kind(
        type=authentication.SelfSubjectReview,
        plural="selfsubjectreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Kind(type=authentication.TokenReview, plural="tokenreviews", namespaced=False, verbs=("create",)),
    Kind(type=authorization.LocalSubjectAccessReview, plural="localsubjectaccessreviews", verbs=("create",)),
    Kind(
        type=authorization.SelfSubjectAccessReview,
        plural="selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Kind(
        type=authorization.SelfSubjectRulesReview,
        plural="selfsubjectrulesreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Kind(
        type=authorization.SubjectAccessReview,
        plural="subjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
)


def of(thing: Any) -> Kind:
    """The kind of a record or of a record's type. KeyError: it is no kind of ours."""
    return _by_type()[thing if isinstance(thing, type) else type(thing)]


def find(group: str, version: str, plural: str) -> Kind | None:
    """By its place in a URL; `group` is "" for core."""
    return _by_path().get((group, version, plural))


def named(api_version: str, kind: str) -> Kind | None:
    """By what a manifest says: ("apps/v1", "Deployment")."""
    return _by_name().get((api_version, kind))


@functools.cache
def _by_type() -> dict[type, Kind]:
    return {kind.type: kind for kind in ALL + REVIEWS}


@functools.cache
def _by_path() -> dict[tuple[str, str, str], Kind]:
    return {(kind.group, kind.version, kind.plural): kind for kind in ALL + REVIEWS}


@functools.cache
def _by_name() -> dict[tuple[str, str], Kind]:
    return {(kind.api_version, kind.kind): kind for kind in ALL + REVIEWS}
