"""Admission webhooks, and validating policies."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.extensions import WebhookClientConfig
from netemu.api.fields import Enum, F, Int32, Int64, Record
from netemu.api.meta import Condition, LabelSelector, Object

FailurePolicyType = A[str, Enum("Ignore", "Fail")]
MatchPolicyType = A[str, Enum("Exact", "Equivalent")]
SideEffectClass = A[str, Enum("None", "NoneOnDryRun", "Some", "Unknown")]
ReinvocationPolicyType = A[str, Enum("Never", "IfNeeded")]
OperationType = A[str, Enum("*", "CREATE", "UPDATE", "DELETE", "CONNECT")]
ScopeType = A[str, Enum("Cluster", "Namespaced", "*")]


class Rule(Record):
    apiGroups: A[tuple[str, ...], F(1)] = ()
    apiVersions: A[tuple[str, ...], F(2)] = ()
    resources: A[tuple[str, ...], F(3)] = ()
    scope: A[ScopeType | None, F(4, default="*")] = None


class RuleWithOperations(Rule):
    embedded: ClassVar[int] = 2
    operations: A[tuple[OperationType, ...], F(1)] = ()


class NamedRuleWithOperations(RuleWithOperations):
    embedded: ClassVar[int] = 2
    resourceNames: A[tuple[str, ...], F(1)] = ()


class MatchCondition(Record):
    name: A[str, F(1, required=True)] = ""
    expression: A[str, F(2, required=True)] = ""


class ValidatingWebhook(Record):
    name: A[str, F(1, required=True)] = ""
    clientConfig: A[WebhookClientConfig, F(2, required=True)] = WebhookClientConfig()
    rules: A[tuple[RuleWithOperations, ...], F(3)] = ()
    failurePolicy: A[FailurePolicyType | None, F(4, default="Fail")] = None
    matchPolicy: A[MatchPolicyType | None, F(9, default="Equivalent")] = None
    namespaceSelector: A[LabelSelector | None, F(5)] = None
    objectSelector: A[LabelSelector | None, F(10)] = None
    sideEffects: A[SideEffectClass | None, F(6, required=True)] = None
    timeoutSeconds: A[Int32 | None, F(7, default=10)] = None
    admissionReviewVersions: A[tuple[str, ...], F(8, required=True)] = ()
    matchConditions: A[tuple[MatchCondition, ...], F(11, merge="name", keys=("name",))] = ()


class ValidatingWebhookConfiguration(Object):
    apiVersion: ClassVar[str] = "admissionregistration.k8s.io/v1"
    kind: ClassVar[str] = "ValidatingWebhookConfiguration"
    webhooks: A[tuple[ValidatingWebhook, ...], F(2, merge="name", keys=("name",))] = ()


class MutatingWebhook(Record):
    name: A[str, F(1, required=True)] = ""
    clientConfig: A[WebhookClientConfig, F(2, required=True)] = WebhookClientConfig()
    rules: A[tuple[RuleWithOperations, ...], F(3)] = ()
    failurePolicy: A[FailurePolicyType | None, F(4, default="Fail")] = None
    matchPolicy: A[MatchPolicyType | None, F(9, default="Equivalent")] = None
    namespaceSelector: A[LabelSelector | None, F(5)] = None
    objectSelector: A[LabelSelector | None, F(11)] = None
    sideEffects: A[SideEffectClass | None, F(6, required=True)] = None
    timeoutSeconds: A[Int32 | None, F(7, default=10)] = None
    admissionReviewVersions: A[tuple[str, ...], F(8, required=True)] = ()
    reinvocationPolicy: A[ReinvocationPolicyType | None, F(10, default="Never")] = None
    matchConditions: A[tuple[MatchCondition, ...], F(12, merge="name", keys=("name",))] = ()


class MutatingWebhookConfiguration(Object):
    apiVersion: ClassVar[str] = "admissionregistration.k8s.io/v1"
    kind: ClassVar[str] = "MutatingWebhookConfiguration"
    webhooks: A[tuple[MutatingWebhook, ...], F(2, merge="name", keys=("name",))] = ()


class ParamKind(Record):
    atomic: ClassVar[bool] = True
    apiVersion: A[str, F(1)] = ""
    kind: A[str, F(2)] = ""


class ParamRef(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1)] = ""
    namespace: A[str, F(2)] = ""
    selector: A[LabelSelector | None, F(3)] = None
    parameterNotFoundAction: A[str | None, F(4)] = None


class MatchResources(Record):
    atomic: ClassVar[bool] = True
    namespaceSelector: A[LabelSelector | None, F(1)] = None
    objectSelector: A[LabelSelector | None, F(2)] = None
    resourceRules: A[tuple[NamedRuleWithOperations, ...], F(3)] = ()
    excludeResourceRules: A[tuple[NamedRuleWithOperations, ...], F(4)] = ()
    matchPolicy: A[MatchPolicyType | None, F(7, default="Equivalent")] = None


class Validation(Record):
    expression: A[str, F(1, required=True)] = ""
    message: A[str, F(2)] = ""
    reason: A[str | None, F(3)] = None
    messageExpression: A[str, F(4)] = ""


class AuditAnnotation(Record):
    key: A[str, F(1, required=True)] = ""
    valueExpression: A[str, F(2, required=True)] = ""


class Variable(Record):
    atomic: ClassVar[bool] = True
    name: A[str, F(1, required=True)] = ""
    expression: A[str, F(2, required=True)] = ""


class ExpressionWarning(Record):
    fieldRef: A[str, F(2, required=True)] = ""
    warning: A[str, F(3, required=True)] = ""


class TypeChecking(Record):
    expressionWarnings: A[tuple[ExpressionWarning, ...], F(1)] = ()


class ValidatingAdmissionPolicySpec(Record):
    paramKind: A[ParamKind | None, F(1)] = None
    matchConstraints: A[MatchResources | None, F(2)] = None
    validations: A[tuple[Validation, ...], F(3)] = ()
    failurePolicy: A[FailurePolicyType | None, F(4, default="Fail")] = None
    auditAnnotations: A[tuple[AuditAnnotation, ...], F(5)] = ()
    matchConditions: A[tuple[MatchCondition, ...], F(6, merge="name", keys=("name",))] = ()
    variables: A[tuple[Variable, ...], F(7, merge="name", keys=("name",))] = ()


class ValidatingAdmissionPolicyStatus(Record):
    observedGeneration: A[Int64, F(1)] = 0
    typeChecking: A[TypeChecking | None, F(2)] = None
    conditions: A[tuple[Condition, ...], F(3, keys=("type",))] = ()


class ValidatingAdmissionPolicy(Object):
    apiVersion: ClassVar[str] = "admissionregistration.k8s.io/v1"
    kind: ClassVar[str] = "ValidatingAdmissionPolicy"
    spec: A[ValidatingAdmissionPolicySpec, F(2)] = ValidatingAdmissionPolicySpec()
    status: A[ValidatingAdmissionPolicyStatus, F(3)] = ValidatingAdmissionPolicyStatus()


class ValidatingAdmissionPolicyBindingSpec(Record):
    policyName: A[str, F(1)] = ""
    paramRef: A[ParamRef | None, F(2)] = None
    matchResources: A[MatchResources | None, F(3)] = None
    validationActions: A[tuple[str, ...], F(4, unique=True)] = ()


class ValidatingAdmissionPolicyBinding(Object):
    apiVersion: ClassVar[str] = "admissionregistration.k8s.io/v1"
    kind: ClassVar[str] = "ValidatingAdmissionPolicyBinding"
    spec: A[ValidatingAdmissionPolicyBindingSpec, F(2)] = ValidatingAdmissionPolicyBindingSpec()
