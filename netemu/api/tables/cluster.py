"""Tables of what a cluster is furnished with: ingresses, roles, classes, quotas, extensions."""

from __future__ import annotations

from typing import Any

from netemu.api import (
    admission,
    certificates,
    core,
    extensions,
    meta,
    networking,
    node,
    rbac,
    registration,
    scheduling,
    times,
)
from netemu.api.tables.layout import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    UNSET,
    Cell,
    Table,
    age,
    number,
    text,
    wide,
)

_CREATED = text("Created At")


def _created(found: meta.Object, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.metadata.creationTimestamp


CREATED = Table((NAME, _CREATED), _created)


def _ingress(found: networking.Ingress, now: float) -> tuple[Cell, ...]:
    rules = found.spec.rules
    hosts = [rule.host for rule in rules[:3] if rule.host]
    shown = ",".join(hosts) + (f" + {len(rules) - 3} more..." if len(rules) > 3 else "")
    points = (point.ip or point.hostname for point in found.status.loadBalancer.ingress)
    return (
        found.metadata.name,
        found.spec.ingressClassName or NONE,
        shown or "*",
        ",".join(filter(None, points)),
        "80, 443" if found.spec.tls else "80",
        age(found.metadata, now),
    )


INGRESS = Table((NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE), _ingress)


def _ingress_class(found: networking.IngressClass, now: float) -> tuple[Cell, ...]:
    given = found.spec.parameters
    shown = NONE
    if given is not None:
        group = f".{given.apiGroup}" if given.apiGroup else ""
        shown = f"{given.kind}{group}/{given.name}"
    return found.metadata.name, found.spec.controller, shown, age(found.metadata, now)


INGRESS_CLASS = Table((NAME, text("Controller"), text("Parameters"), AGE), _ingress_class)


def _binding(found: rbac.RoleBinding | rbac.ClusterRoleBinding, now: float) -> tuple[Cell, ...]:
    def named(kind: str) -> str:
        names = (
            f"{s.namespace}/{s.name}" if kind == "ServiceAccount" else s.name
            for s in found.subjects
            if s.kind == kind
        )
        return ", ".join(names)

    role = f"{found.roleRef.kind}/{found.roleRef.name}"
    people = (named("User"), named("Group"), named("ServiceAccount"))
    return found.metadata.name, role, age(found.metadata, now), *people


BINDING = Table((NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")), _binding)


def _component(found: core.ComponentStatus, now: float) -> tuple[Cell, ...]:
    healthy = next((c for c in found.conditions if c.type == "Healthy"), None)
    if healthy is None:
        return found.metadata.name, "Unknown", "", ""
    status = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.status, "Unknown")
    return found.metadata.name, status, healthy.message, healthy.error


COMPONENT = Table((NAME, text("Status"), text("Message"), text("Error")), _component)


def _quota(found: core.ResourceQuota, now: float) -> tuple[Cell, ...]:
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(found.status.hard):
        shown = f"{name}: {found.status.used.get(name, '0')}/{found.status.hard[name]}"
        (limits if name.startswith("limits") else requests).append(shown)
    return found.metadata.name, ", ".join(requests), ", ".join(limits), age(found.metadata, now)


QUOTA = Table((NAME, text("Request"), text("Limit"), AGE), _quota)


def _priority(found: scheduling.PriorityClass, now: float) -> tuple[Cell, ...]:
    return (
        found.metadata.name,
        found.value,
        found.globalDefault,
        age(found.metadata, now),
        found.preemptionPolicy or "PreemptLowerPriority",
    )


PRIORITY = Table((NAME, number("Value"), text("Global-Default"), AGE, text("PreemptionPolicy")), _priority)


def _runtime(found: node.RuntimeClass, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, found.handler, age(found.metadata, now)


RUNTIME = Table((NAME, text("Handler"), AGE), _runtime)


def _request(found: certificates.CertificateSigningRequest, now: float) -> tuple[Cell, ...]:
    seconds = found.spec.expirationSeconds
    types = {c.type for c in found.status.conditions}
    state: list[str] = [t for t in ("Denied", "Approved", "Failed") if t in types] or ["Pending"]
    return (
        found.metadata.name,
        age(found.metadata, now),
        found.spec.signerName or NONE,
        found.spec.username,
        times.duration(seconds) if seconds is not None else NONE,
        ",".join(state) + (",Issued" if found.status.certificate else ""),
    )


REQUEST = Table(
    (NAME, AGE, text("SignerName"), text("Requestor"), text("RequestedDuration"), text("Condition")),
    _request,
)


def _webhooks(found: Any, now: float) -> tuple[Cell, ...]:
    return found.metadata.name, len(found.webhooks), age(found.metadata, now)


WEBHOOKS = Table((NAME, number("Webhooks"), AGE), _webhooks)


def _policy(found: admission.ValidatingAdmissionPolicy, now: float) -> tuple[Cell, ...]:
    given = found.spec.paramKind
    shown = f"{given.apiVersion}/{given.kind}" if given else UNSET
    return found.metadata.name, len(found.spec.validations), shown, age(found.metadata, now)


POLICY = Table((NAME, number("Validations"), text("ParamKind"), AGE), _policy)


def _policy_binding(found: admission.ValidatingAdmissionPolicyBinding, now: float) -> tuple[Cell, ...]:
    given = found.spec.paramRef
    shown = UNSET
    if given is not None:
        shown = f"{given.namespace}/{given.name}" if given.namespace else given.name or "*/"
    return found.metadata.name, found.spec.policyName, shown, age(found.metadata, now)


POLICY_BINDING = Table((NAME, text("PolicyName"), text("ParamRef"), AGE), _policy_binding)


def _service(found: registration.APIService, now: float) -> tuple[Cell, ...]:
    given = found.spec.service
    ready = next((c for c in found.status.conditions if c.type == "Available"), None)
    state = ready.status if ready else UNKNOWN
    if ready is not None and ready.status != "True":
        state = f"{ready.status} ({ready.reason})"
    where = f"{given.namespace}/{given.name}" if given else "Local"
    return found.metadata.name, where, state, age(found.metadata, now)


API_SERVICE = Table((NAME, text("Service"), text("Available"), AGE), _service)

TABLES: dict[type, Table] = {
    admission.MutatingWebhookConfiguration: WEBHOOKS,
    admission.ValidatingAdmissionPolicy: POLICY,
    admission.ValidatingAdmissionPolicyBinding: POLICY_BINDING,
    admission.ValidatingWebhookConfiguration: WEBHOOKS,
    certificates.CertificateSigningRequest: REQUEST,
    core.ComponentStatus: COMPONENT,
    core.LimitRange: CREATED,
    core.ResourceQuota: QUOTA,
    extensions.CustomResourceDefinition: CREATED,
    networking.Ingress: INGRESS,
    networking.IngressClass: INGRESS_CLASS,
    node.RuntimeClass: RUNTIME,
    rbac.ClusterRole: CREATED,
    rbac.ClusterRoleBinding: BINDING,
    rbac.Role: CREATED,
    rbac.RoleBinding: BINDING,
    registration.APIService: API_SERVICE,
    scheduling.PriorityClass: PRIORITY,
}
