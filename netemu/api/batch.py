"""Jobs and CronJobs."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.pods import PodTemplateSpec
from netemu.api.core.references import ObjectReference
from netemu.api.fields import Enum, F, Int32, Int64, Record, Time
from netemu.api.meta import LabelSelector, Object, ObjectMeta

CompletionMode = A[str, Enum("NonIndexed", "Indexed")]
ConcurrencyPolicy = A[str, Enum("Allow", "Forbid", "Replace")]
PodFailurePolicyAction = A[str, Enum("FailJob", "FailIndex", "Ignore", "Count")]
PodFailurePolicyOnExitCodesOperator = A[str, Enum("In", "NotIn")]
PodReplacementPolicy = A[str, Enum("TerminatingOrFailed", "Failed")]


class JobSchedulingConfiguration(Record):
    pass


class PodFailurePolicyOnExitCodesRequirement(Record):
    containerName: A[str | None, F(1)] = None
    operator: A[PodFailurePolicyOnExitCodesOperator, F(2, required=True)] = ""
    values: A[tuple[Int32, ...], F(3, required=True, unique=True)] = ()


class PodFailurePolicyOnPodConditionsPattern(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, keep=True)] = ""


class PodFailurePolicyRule(Record):
    action: A[PodFailurePolicyAction, F(1, required=True)] = ""
    onExitCodes: A[PodFailurePolicyOnExitCodesRequirement | None, F(2)] = None
    onPodConditions: A[tuple[PodFailurePolicyOnPodConditionsPattern, ...], F(3)] = ()


class PodFailurePolicy(Record):
    rules: A[tuple[PodFailurePolicyRule, ...], F(1, required=True)] = ()


class SuccessPolicyRule(Record):
    succeededIndexes: A[str | None, F(1)] = None
    succeededCount: A[Int32 | None, F(2)] = None


class SuccessPolicy(Record):
    rules: A[tuple[SuccessPolicyRule, ...], F(1, required=True)] = ()


class JobSpec(Record):
    parallelism: A[Int32 | None, F(1)] = None
    completions: A[Int32 | None, F(2)] = None
    activeDeadlineSeconds: A[Int64 | None, F(3)] = None
    podFailurePolicy: A[PodFailurePolicy | None, F(11)] = None
    successPolicy: A[SuccessPolicy | None, F(16)] = None
    backoffLimit: A[Int32 | None, F(7)] = None
    backoffLimitPerIndex: A[Int32 | None, F(12)] = None
    maxFailedIndexes: A[Int32 | None, F(13)] = None
    selector: A[LabelSelector | None, F(4)] = None
    manualSelector: A[bool | None, F(5)] = None
    template: A[PodTemplateSpec, F(6, required=True)] = PodTemplateSpec()
    ttlSecondsAfterFinished: A[Int32 | None, F(8)] = None
    completionMode: A[CompletionMode | None, F(9, default="NonIndexed")] = None
    suspend: A[bool | None, F(10, default=False)] = None
    podReplacementPolicy: A[PodReplacementPolicy | None, F(14)] = None
    managedBy: A[str | None, F(15)] = None
    scheduling: A[JobSchedulingConfiguration | None, F(17)] = None


class JobCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastProbeTime: A[Time, F(3)] = ""
    lastTransitionTime: A[Time, F(4)] = ""
    reason: A[str, F(5)] = ""
    message: A[str, F(6)] = ""


class UncountedTerminatedPods(Record):
    succeeded: A[tuple[str, ...], F(1, unique=True)] = ()
    failed: A[tuple[str, ...], F(2, unique=True)] = ()


class JobStatus(Record):
    conditions: A[tuple[JobCondition, ...], F(1, merge="type")] = ()
    startTime: A[Time | None, F(2)] = None
    completionTime: A[Time | None, F(3)] = None
    active: A[Int32, F(4)] = 0
    succeeded: A[Int32, F(5)] = 0
    failed: A[Int32, F(6)] = 0
    terminating: A[Int32 | None, F(11)] = None
    completedIndexes: A[str, F(7)] = ""
    failedIndexes: A[str | None, F(10)] = None
    uncountedTerminatedPods: A[UncountedTerminatedPods | None, F(8)] = None
    ready: A[Int32 | None, F(9)] = None


class Job(Object):
    apiVersion: ClassVar[str] = "batch/v1"
    kind: ClassVar[str] = "Job"
    spec: A[JobSpec, F(2)] = JobSpec()
    status: A[JobStatus, F(3)] = JobStatus()


class JobTemplateSpec(Record):
    metadata: A[ObjectMeta, F(1)] = ObjectMeta()
    spec: A[JobSpec, F(2)] = JobSpec()


class CronJobSpec(Record):
    schedule: A[str, F(1, required=True)] = ""
    timeZone: A[str | None, F(8)] = None
    startingDeadlineSeconds: A[Int64 | None, F(2)] = None
    concurrencyPolicy: A[ConcurrencyPolicy, F(3, default="Allow")] = ""
    suspend: A[bool | None, F(4, default=False)] = None
    jobTemplate: A[JobTemplateSpec, F(5, required=True)] = JobTemplateSpec()
    successfulJobsHistoryLimit: A[Int32 | None, F(6, default=3)] = None
    failedJobsHistoryLimit: A[Int32 | None, F(7, default=1)] = None


class CronJobStatus(Record):
    active: A[tuple[ObjectReference, ...], F(1)] = ()
    lastScheduleTime: A[Time | None, F(4)] = None
    lastSuccessfulTime: A[Time | None, F(5)] = None


class CronJob(Object):
    apiVersion: ClassVar[str] = "batch/v1"
    kind: ClassVar[str] = "CronJob"
    spec: A[CronJobSpec, F(2, required=True)] = CronJobSpec()
    status: A[CronJobStatus, F(3)] = CronJobStatus()
