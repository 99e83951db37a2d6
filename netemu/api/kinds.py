"""The kinds that are served: their names, scope, paths, subresources and selectable fields.

Knows which record is which resource; what is in a record, its own declaration says.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

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
from netemu.api.resources import ALL_VERBS, Kind, Selectable, Subresource

__all__ = ["ALL", "CUSTOM", "REVIEWS", "SERVED", "VIEWS", "Kind", "Selectable", "Subresource"]

_EDIT = ("get", "patch", "update")
_STREAM = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")


def _status(type_: type[meta.Object] | str) -> Subresource:
    if isinstance(type_, str):
        api_version, _, there = type_.partition(":")
        kind = there.rpartition(".")[2]
    else:
        api_version, kind = type_.apiVersion, type_.kind
    group, _, version = api_version.rpartition("/")
    return Subresource("status", kind, _EDIT, type_, group, version)


def _cluster(type_: type[meta.Object] | str, plural: str, *short: str, **more: Any) -> Kind:
    return Kind(type=type_, plural=plural, namespaced=False, short_names=short, **more)


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
        counted=True,
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
        type=core.ReplicationController,
        plural="replicationcontrollers",
        counted=True,
        short_names=("rc",),
        categories=("all",),
        subresources=(_SCALE, _status(core.ReplicationController)),
        selectable=_fields("status.replicas"),
    ),
    _cluster(core.ComponentStatus, "componentstatuses", "cs", verbs=("get", "list")),
    Kind(type=core.LimitRange, plural="limitranges", short_names=("limits",)),
    Kind(
        type=core.PersistentVolumeClaim,
        plural="persistentvolumeclaims",
        short_names=("pvc",),
        subresources=(_status(core.PersistentVolumeClaim),),
    ),
    _cluster(
        core.PersistentVolume,
        "persistentvolumes",
        "pv",
        subresources=(_status(core.PersistentVolume),),
    ),
    Kind(type=core.PodTemplate, plural="podtemplates"),
    Kind(
        type=core.ResourceQuota,
        plural="resourcequotas",
        short_names=("quota",),
        subresources=(_status(core.ResourceQuota),),
    ),
    Kind(
        type=apps.Deployment,
        plural="deployments",
        counted=True,
        short_names=("deploy",),
        categories=("all",),
        subresources=(_SCALE, _status(apps.Deployment)),
    ),
    Kind(
        type=apps.ReplicaSet,
        plural="replicasets",
        counted=True,
        short_names=("rs",),
        categories=("all",),
        subresources=(_SCALE, _status(apps.ReplicaSet)),
        selectable=_fields("status.replicas"),
    ),
    Kind(
        type=apps.DaemonSet,
        plural="daemonsets",
        counted=True,
        short_names=("ds",),
        categories=("all",),
        subresources=(_status(apps.DaemonSet),),
    ),
    Kind(
        type=apps.StatefulSet,
        plural="statefulsets",
        counted=True,
        short_names=("sts",),
        categories=("all",),
        subresources=(_SCALE, _status(apps.StatefulSet)),
    ),
    Kind(type=apps.ControllerRevision, plural="controllerrevisions"),
    Kind(
        type="autoscaling/v2:autoscaling2.HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=(_status("autoscaling/v2:autoscaling2.HorizontalPodAutoscaler"),),
    ),
    Kind(
        type="batch/v1:batch.CronJob",
        plural="cronjobs",
        counted=True,
        short_names=("cj",),
        categories=("all",),
        subresources=(_status("batch/v1:batch.CronJob"),),
    ),
    Kind(
        type="batch/v1:batch.Job",
        plural="jobs",
        counted=True,
        categories=("all",),
        subresources=(_status("batch/v1:batch.Job"),),
        selectable=(Selectable("status.successful", ("status.succeeded",)),),
    ),
    Kind(type=coordination.Lease, plural="leases"),
    Kind(type=discovery.EndpointSlice, plural="endpointslices", counted=True),
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
    Kind(type=networking.NetworkPolicy, plural="networkpolicies", counted=True, short_names=("netpol",)),
    Kind(
        type=networking.ServiceCIDR,
        plural="servicecidrs",
        namespaced=False,
        subresources=(_status(networking.ServiceCIDR),),
    ),
    Kind(
        type=networking.Ingress,
        plural="ingresses",
        counted=True,
        short_names=("ing",),
        subresources=(_status(networking.Ingress),),
    ),
    _cluster(networking.IngressClass, "ingressclasses"),
    Kind(
        type=policy.PodDisruptionBudget,
        plural="poddisruptionbudgets",
        counted=True,
        short_names=("pdb",),
        subresources=(_status(policy.PodDisruptionBudget),),
    ),
    _cluster("rbac.authorization.k8s.io/v1:rbac.ClusterRoleBinding", "clusterrolebindings"),
    _cluster("rbac.authorization.k8s.io/v1:rbac.ClusterRole", "clusterroles"),
    Kind(type="rbac.authorization.k8s.io/v1:rbac.RoleBinding", plural="rolebindings"),
    Kind(type="rbac.authorization.k8s.io/v1:rbac.Role", plural="roles"),
    _cluster("scheduling.k8s.io/v1:scheduling.PriorityClass", "priorityclasses", "pc", counted=True),
    _cluster("storage.k8s.io/v1:storage.CSIDriver", "csidrivers"),
    _cluster("storage.k8s.io/v1:storage.CSINode", "csinodes"),
    Kind(type="storage.k8s.io/v1:storage.CSIStorageCapacity", plural="csistoragecapacities"),
    _cluster("storage.k8s.io/v1:storage.StorageClass", "storageclasses", "sc"),
    _cluster(
        "storage.k8s.io/v1:storage.VolumeAttachment",
        "volumeattachments",
        subresources=(_status("storage.k8s.io/v1:storage.VolumeAttachment"),),
    ),
    _cluster("storage.k8s.io/v1:storage.VolumeAttributesClass", "volumeattributesclasses", "vac"),
    _cluster("node.k8s.io/v1:node.RuntimeClass", "runtimeclasses"),
    _cluster(
        "certificates.k8s.io/v1:certificates.CertificateSigningRequest",
        "certificatesigningrequests",
        "csr",
        subresources=(
            _status("certificates.k8s.io/v1:certificates.CertificateSigningRequest")._replace(
                name="approval"
            ),
            _status("certificates.k8s.io/v1:certificates.CertificateSigningRequest"),
        ),
        selectable=_fields("spec.signerName"),
    ),
    _cluster(
        "admissionregistration.k8s.io/v1:admission.MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        counted=True,
    ),
    _cluster(
        "admissionregistration.k8s.io/v1:admission.ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        counted=True,
        subresources=(_status("admissionregistration.k8s.io/v1:admission.ValidatingAdmissionPolicy"),),
    ),
    _cluster(
        "admissionregistration.k8s.io/v1:admission.ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        counted=True,
    ),
    _cluster(
        "admissionregistration.k8s.io/v1:admission.ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        counted=True,
    ),
    _cluster(
        "apiextensions.k8s.io/v1:extensions.CustomResourceDefinition",
        "customresourcedefinitions",
        "crd",
        "crds",
        counted=True,
        categories=("api-extensions",),
        subresources=(_status("apiextensions.k8s.io/v1:extensions.CustomResourceDefinition"),),
    ),
    _cluster(
        "apiregistration.k8s.io/v1:registration.APIService",
        "apiservices",
        categories=("api-extensions",),
        subresources=(_status("apiregistration.k8s.io/v1:registration.APIService"),),
    ),
)

_STORED = {(kind.group, kind.plural): kind for kind in ALL}

# Other forms of kinds above: read and written like them, kept in their form.
VIEWS: tuple[Kind, ...] = (
    Kind(
        type="events.k8s.io/v1:events.Event",
        plural="events",
        short_names=("ev",),
        stored=_STORED["", "events"],
        selectable=(
            *(
                Selectable(f"regarding.{name}", (f"regarding.{name}",))
                for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
            ),
            *_fields("reason", "type", "reportingController"),
        ),
    ),
    Kind(
        type=autoscaling.HorizontalPodAutoscaler,
        plural="horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=(_status(autoscaling.HorizontalPodAutoscaler),),
        stored=_STORED["autoscaling", "horizontalpodautoscalers"],
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
    Kind(type=core.Binding, plural="bindings", verbs=("create",)),
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

SERVED = ALL + VIEWS + REVIEWS

# Custom resources that every lab has. A server knows them by their definitions, as any others.
CUSTOM: tuple[Kind, ...] = (
    _cluster(
        "policy.networking.k8s.io/v1alpha2:clusterpolicies.ClusterNetworkPolicy",
        "clusternetworkpolicies",
        "cnp",
    ),
)


def custom(record: type[meta.Object], plural: str, **more: Any) -> Kind:
    """A kind that users defined; `of` finds it by its record from now on. `more`: what a `Kind` has."""
    found = Kind(type=record, plural=plural, **more)
    record.resource = found  # type: ignore[attr-defined]
    return found


def nameless(api_version: str, kind: str) -> type[meta.Object]:
    """A record for a custom kind of which only the metadata is known."""
    found: Any = msgspec.defstruct(
        kind,
        [],
        bases=(meta.Object,),
        namespace={"apiVersion": api_version, "kind": kind},
        module=meta.__name__,
        frozen=True,
        omit_defaults=True,
    )
    record: type[meta.Object] = found
    return record


def of(thing: Any) -> Kind:
    """The kind of a record or of a record's type. KeyError: it is no kind of ours."""
    record: Any = thing if isinstance(thing, type) else type(thing)
    if "resource" in vars(record):
        defined: Kind = record.resource
        return defined
    found = _by_name().get((getattr(record, "apiVersion", ""), getattr(record, "kind", "")))
    if found is None or found.type is not record:
        raise KeyError(record)
    return found


def find(group: str, version: str, plural: str) -> Kind | None:
    """By its place in a URL; `group` is "" for core."""
    return _by_path().get((group, version, plural))


def named(api_version: str, kind: str) -> Kind | None:
    """By what a manifest says: ("apps/v1", "Deployment")."""
    return _by_name().get((api_version, kind))


@functools.cache
def _by_path() -> dict[tuple[str, str, str], Kind]:
    return {(kind.group, kind.version, kind.plural): kind for kind in SERVED}


@functools.cache
def _by_name() -> dict[tuple[str, str], Kind]:
    return {(kind.api_version, kind.kind): kind for kind in SERVED + CUSTOM}
