"""Rules for further kinds: sets and jobs, ingresses, roles, budgets, autoscalers, classes, registrations."""

from __future__ import annotations

from typing import Any

from netemu.api import (
    apps,
    autoscaling2,
    batch,
    core,
    names,
    networking,
    policy,
    rbac,
    registration,
    scheduling,
    storage,
)
from netemu.api.validation import pods, workloads
from netemu.api.validation.findings import (
    Findings,
    at_least,
    forbidden,
    invalid,
    named,
    one_of,
    required,
    unchanged,
    unsupported,
)


def stateful_set(found: apps.StatefulSet) -> Findings:
    yield from at_least("spec.replicas", found.spec.replicas)
    yield from workloads.selector(found.spec.selector)
    yield from workloads.template(found.spec.template, found.spec.selector)


def stateful_set_update(new: apps.StatefulSet, old: apps.StatefulSet) -> Findings:
    yield from stateful_set(new)
    for name in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"):
        if getattr(new.spec, name) != getattr(old.spec, name):
            yield forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden",
            )
            return


def daemon_set(found: apps.DaemonSet) -> Findings:
    yield from workloads.selector(found.spec.selector)
    yield from workloads.template(found.spec.template, found.spec.selector)
    yield from at_least("spec.minReadySeconds", found.spec.minReadySeconds)


def daemon_set_update(new: apps.DaemonSet, old: apps.DaemonSet) -> Findings:
    yield from daemon_set(new)
    yield from unchanged("spec.selector", new.spec.selector, old.spec.selector)


def replication_controller(found: core.ReplicationController) -> Findings:
    spec = found.spec
    yield from at_least("spec.replicas", spec.replicas)
    if not spec.selector:
        yield required("spec.selector")
    if spec.template is None:
        yield required("spec.template")
    else:
        yield from pods.template(spec.template, "spec.template")


def job(found: batch.Job) -> Findings:
    yield from _job_spec(found.spec, "spec")


def job_update(new: batch.Job, old: batch.Job) -> Findings:
    yield from job(new)
    if not (old.spec.suspend and not old.status.startTime):
        yield from unchanged("spec.template", new.spec.template, old.spec.template)
    for name in ("selector", "completionMode"):
        yield from unchanged(f"spec.{name}", getattr(new.spec, name), getattr(old.spec, name))
    if new.spec.completionMode != "Indexed":
        yield from unchanged("spec.completions", new.spec.completions, old.spec.completions)


def _job_spec(spec: batch.JobSpec, path: str) -> Findings:
    for name in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit"):
        yield from at_least(f"{path}.{name}", getattr(spec, name))
    yield from at_least(f"{path}.ttlSecondsAfterFinished", spec.ttlSecondsAfterFinished)
    yield from pods.template(spec.template, f"{path}.template")
    policy_ = spec.template.spec.restartPolicy
    if policy_ not in ("OnFailure", "Never"):
        yield unsupported(f"{path}.template.spec.restartPolicy", policy_, ("OnFailure", "Never"))


def cron_job(found: batch.CronJob) -> Findings:
    spec = found.spec
    if len(found.metadata.name) > 52:
        yield invalid("metadata.name", found.metadata.name, "must be no more than 52 characters")
    if not spec.schedule:
        yield required("spec.schedule")
    elif not spec.schedule.startswith("@") and len(spec.schedule.split()) != 5:
        detail = f"expected exactly 5 fields, found {len(spec.schedule.split())}: {spec.schedule.split()}"
        yield invalid("spec.schedule", spec.schedule, detail)
    yield from at_least("spec.startingDeadlineSeconds", spec.startingDeadlineSeconds)
    yield from _job_spec(spec.jobTemplate.spec, "spec.jobTemplate.spec")


def ingress(found: networking.Ingress) -> Findings:
    spec = found.spec
    if not spec.rules and spec.defaultBackend is None:
        yield invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    if spec.defaultBackend is not None:
        yield from _backend(spec.defaultBackend, "spec.defaultBackend")
    for index, rule in enumerate(spec.rules):
        for at, path in enumerate(rule.http.paths if rule.http else ()):
            here = f"spec.rules[{index}].http.paths[{at}]"
            if path.pathType is None:
                yield required(f"{here}.pathType", "pathType must be specified")
            elif path.pathType != "ImplementationSpecific" and not path.path.startswith("/"):
                yield invalid(f"{here}.path", path.path, "must be an absolute path")
            yield from _backend(path.backend, f"{here}.backend")


def _backend(found: networking.IngressBackend, path: str) -> Findings:
    if found.service is None and found.resource is None:
        yield required(path, "either service or resource must be specified")
    if found.service is not None:
        if found.resource is not None:
            yield invalid(path, "", "cannot set both resource and service backends")
        if not found.service.name:
            yield required(f"{path}.service.name")
        else:
            yield from named(f"{path}.service.name", found.service.name, names.label_1035(found.service.name))
        port = found.service.port
        if port.name and port.number:
            yield invalid(path, "", "cannot set both port name & port number")
        elif port.number:
            yield from named(f"{path}.service.port.number", port.number, names.port(port.number))
        elif not port.name:
            yield required(path, "port name or number is required")


def ingress_class(found: networking.IngressClass) -> Findings:
    if not found.spec.controller:
        yield required("spec.controller")


def ingress_class_update(new: networking.IngressClass, old: networking.IngressClass) -> Findings:
    yield from unchanged("spec.controller", new.spec.controller, old.spec.controller)


def role(found: Any) -> Findings:
    for index, rule in enumerate(found.rules):
        here = f"rules[{index}]"
        if not rule.verbs:
            yield required(f"{here}.verbs", "verbs must contain at least one value")
        if rule.nonResourceURLs:
            if isinstance(found, rbac.Role):
                yield invalid(
                    f"{here}.nonResourceURLs",
                    rule.nonResourceURLs,
                    "namespaced rules cannot apply to non-resource URLs",
                )
            continue
        if not rule.apiGroups:
            yield required(f"{here}.apiGroups", "resource rules must supply at least one api group")
        if not rule.resources:
            yield required(f"{here}.resources", "resource rules must supply at least one resource")


def role_binding(found: Any) -> Findings:
    wanted = ("ClusterRole",) if isinstance(found, rbac.ClusterRoleBinding) else ("ClusterRole", "Role")
    yield from one_of("roleRef.kind", found.roleRef.kind, wanted)
    if not found.roleRef.name:
        yield required("roleRef.name")
    for index, subject in enumerate(found.subjects):
        here = f"subjects[{index}]"
        yield from one_of(f"{here}.kind", subject.kind, ("ServiceAccount", "User", "Group"))
        if not subject.name:
            yield required(f"{here}.name")
        if subject.kind == "ServiceAccount" and not subject.namespace:
            yield required(f"{here}.namespace")


def role_binding_update(new: Any, old: Any) -> Findings:
    yield from role_binding(new)
    if new.roleRef != old.roleRef:
        yield invalid("roleRef", new.roleRef, "cannot change roleRef")


def budget(found: policy.PodDisruptionBudget) -> Findings:
    spec = found.spec
    if spec.minAvailable is not None and spec.maxUnavailable is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    yield from workloads.share(spec.minAvailable, "spec.minAvailable", limited=True)
    yield from workloads.share(spec.maxUnavailable, "spec.maxUnavailable", limited=True)


def scaler(found: autoscaling2.HorizontalPodAutoscaler) -> Findings:
    spec = found.spec
    yield from at_least("spec.minReplicas", spec.minReplicas, 1)
    yield from at_least("spec.maxReplicas", spec.maxReplicas, 1)
    if spec.minReplicas is not None and spec.maxReplicas < spec.minReplicas:
        yield invalid("spec.maxReplicas", spec.maxReplicas, "must be greater than or equal to `minReplicas`")
    for name in ("kind", "name"):
        if not getattr(spec.scaleTargetRef, name):
            yield required(f"spec.scaleTargetRef.{name}")


def priority(found: scheduling.PriorityClass) -> Findings:
    if found.value > 1_000_000_000 and not found.metadata.name.startswith("system-"):
        detail = "maximum allowed value of a user defined priority is 1000000000"
        yield forbidden("value", detail)


def priority_update(new: scheduling.PriorityClass, old: scheduling.PriorityClass) -> Findings:
    if new.value != old.value:
        yield forbidden("value", "may not be changed in an update.")


def storage_class(found: storage.StorageClass) -> Findings:
    if not found.provisioner:
        yield required("provisioner")


def storage_class_update(new: storage.StorageClass, old: storage.StorageClass) -> Findings:
    for name in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        if getattr(new, name) != getattr(old, name):
            yield forbidden(name, f"updates to {name} are forbidden.")


def api_service(found: registration.APIService) -> Findings:
    spec = found.spec
    wanted = f"{spec.version}.{spec.group}"
    if found.metadata.name != wanted:
        detail = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        yield invalid("metadata.name", found.metadata.name, detail)
    if not 0 < spec.groupPriorityMinimum <= 20000:
        detail = "must be positive and less than 20000"
        yield invalid("spec.groupPriorityMinimum", spec.groupPriorityMinimum, detail)
    if not 0 < spec.versionPriority <= 1000:
        yield invalid("spec.versionPriority", spec.versionPriority, "must be positive and less than 1000")
    if spec.insecureSkipTLSVerify and spec.caBundle:
        yield invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")
    if spec.service is None:
        if spec.insecureSkipTLSVerify or spec.caBundle:
            yield required("spec.service", "needed for insecureSkipTLSVerify and caBundle")
        return
    for name in ("namespace", "name"):
        if not getattr(spec.service, name):
            yield required(f"spec.service.{name}")


CREATE: dict[type, Any] = {
    apps.DaemonSet: daemon_set,
    apps.StatefulSet: stateful_set,
    autoscaling2.HorizontalPodAutoscaler: scaler,
    batch.CronJob: cron_job,
    batch.Job: job,
    core.ReplicationController: replication_controller,
    networking.Ingress: ingress,
    networking.IngressClass: ingress_class,
    policy.PodDisruptionBudget: budget,
    rbac.ClusterRole: role,
    rbac.ClusterRoleBinding: role_binding,
    rbac.Role: role,
    rbac.RoleBinding: role_binding,
    registration.APIService: api_service,
    scheduling.PriorityClass: priority,
    storage.StorageClass: storage_class,
}
UPDATE: dict[type, Any] = {
    apps.DaemonSet: daemon_set_update,
    apps.StatefulSet: stateful_set_update,
    batch.Job: job_update,
    networking.IngressClass: ingress_class_update,
    rbac.ClusterRoleBinding: role_binding_update,
    rbac.RoleBinding: role_binding_update,
    scheduling.PriorityClass: priority_update,
    storage.StorageClass: storage_class_update,
}
