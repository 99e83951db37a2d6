"""What all kinds share: object metadata, label selectors, Status, delete options, discovery, tables."""

from typing import Annotated as A
from typing import ClassVar, NamedTuple

from netemu.api.fields import F, Int32, Int64, Raw, Record, Time


class ShardInfo(Record):
    selector: A[str, F(1, required=True)] = ""


class ListMeta(Record, rename={"continue_": "continue"}):
    selfLink: A[str, F(1)] = ""
    resourceVersion: A[str, F(2)] = ""
    continue_: A[str, F(3)] = ""
    remainingItemCount: A[Int64 | None, F(4)] = None
    shardInfo: A[ShardInfo | None, F(5)] = None


class ManagedFieldsEntry(Record):
    manager: A[str, F(1)] = ""
    operation: A[str, F(2, required=True, keep=False)] = ""
    apiVersion: A[str, F(3)] = ""
    time: A[Time | None, F(4)] = None
    fieldsType: A[str, F(6)] = ""
    fieldsV1: A[Raw | None, F(7)] = None
    subresource: A[str, F(8)] = ""


class OwnerReference(Record):
    atomic: ClassVar[bool] = True
    apiVersion: A[str, F(5, required=True)] = ""
    kind: A[str, F(1, required=True)] = ""
    name: A[str, F(3, required=True)] = ""
    uid: A[str, F(4, required=True)] = ""
    controller: A[bool | None, F(6)] = None
    blockOwnerDeletion: A[bool | None, F(7)] = None


class ObjectMeta(Record):
    name: A[str, F(1)] = ""
    generateName: A[str, F(2)] = ""
    namespace: A[str, F(3)] = ""
    selfLink: A[str, F(4)] = ""
    uid: A[str, F(5)] = ""
    resourceVersion: A[str, F(6)] = ""
    generation: A[Int64, F(7)] = 0
    creationTimestamp: A[Time, F(8)] = ""
    deletionTimestamp: A[Time | None, F(9)] = None
    deletionGracePeriodSeconds: A[Int64 | None, F(10)] = None
    labels: A[dict[str, str], F(11)] = {}
    annotations: A[dict[str, str], F(12)] = {}
    ownerReferences: A[tuple[OwnerReference, ...], F(13, merge="uid", keys=("uid",))] = ()
    finalizers: A[tuple[str, ...], F(14, strategy="merge", unique=True)] = ()
    managedFields: A[tuple[ManagedFieldsEntry, ...], F(17)] = ()


class Key(NamedTuple):
    """Which object of a kind: an empty namespace for cluster-wide kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Object(Record):
    """The base of every kind that is stored. `kind` and `apiVersion` belong to the class."""

    apiVersion: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    metadata: A[ObjectMeta, F(1)] = ObjectMeta()


def key(obj: Object) -> Key:
    """Its own."""
    return Key(obj.metadata.namespace, obj.metadata.name)


class Preconditions(Record):
    uid: A[str | None, F(1)] = None
    resourceVersion: A[str | None, F(2)] = None


class DeleteOptions(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "DeleteOptions"
    gracePeriodSeconds: A[Int64 | None, F(1)] = None
    preconditions: A[Preconditions | None, F(2)] = None
    orphanDependents: A[bool | None, F(3)] = None
    propagationPolicy: A[str | None, F(4)] = None
    dryRun: A[tuple[str, ...], F(5)] = ()
    ignoreStoreReadErrorWithClusterBreakingPotential: A[bool | None, F(6)] = None


class StatusCause(Record):
    reason: A[str, F(1)] = ""
    message: A[str, F(2)] = ""
    field: A[str, F(3)] = ""


class StatusDetails(Record):
    name: A[str, F(1)] = ""
    group: A[str, F(2)] = ""
    kind: A[str, F(3)] = ""
    uid: A[str, F(6)] = ""
    causes: A[tuple[StatusCause, ...], F(4)] = ()
    retryAfterSeconds: A[Int32, F(5)] = 0


class Status(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Status"
    metadata: A[ListMeta, F(1)] = ListMeta()
    status: A[str, F(2)] = ""
    message: A[str, F(3)] = ""
    reason: A[str, F(4)] = ""
    details: A[StatusDetails | None, F(5)] = None
    code: A[Int32, F(6)] = 0


class ServerAddressByClientCIDR(Record):
    clientCIDR: A[str, F(1, required=True)] = ""
    serverAddress: A[str, F(2, required=True)] = ""


class APIVersions(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "APIVersions"
    versions: A[tuple[str, ...], F(1, required=True)] = ()
    serverAddressByClientCIDRs: A[tuple[ServerAddressByClientCIDR, ...], F(2, required=True)] = ()


class GroupVersionForDiscovery(Record):
    groupVersion: A[str, F(1, required=True)] = ""
    version: A[str, F(2, required=True)] = ""


class APIGroup(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "APIGroup"
    name: A[str, F(1, required=True)] = ""
    versions: A[tuple[GroupVersionForDiscovery, ...], F(2, required=True)] = ()
    preferredVersion: A[GroupVersionForDiscovery, F(3)] = GroupVersionForDiscovery()
    serverAddressByClientCIDRs: A[tuple[ServerAddressByClientCIDR, ...], F(4)] = ()


class APIGroupList(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "APIGroupList"
    groups: A[tuple[APIGroup, ...], F(1, required=True)] = ()


class APIResource(Record):
    name: A[str, F(1, required=True)] = ""
    singularName: A[str, F(6, required=True)] = ""
    namespaced: A[bool, F(2, required=True)] = False
    group: A[str, F(8)] = ""
    version: A[str, F(9)] = ""
    kind: A[str, F(3, required=True)] = ""
    verbs: A[tuple[str, ...], F(4, required=True)] = ()
    shortNames: A[tuple[str, ...], F(5)] = ()
    categories: A[tuple[str, ...], F(7)] = ()
    storageVersionHash: A[str, F(10)] = ""


class APIResourceList(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "APIResourceList"
    groupVersion: A[str, F(1, required=True)] = ""
    resources: A[tuple[APIResource, ...], F(2, required=True)] = ()


class LabelSelectorRequirement(Record):
    key: A[str, F(1, required=True)] = ""
    operator: A[str, F(2, required=True)] = ""
    values: A[tuple[str, ...], F(3)] = ()


class LabelSelector(Record):
    atomic: ClassVar[bool] = True
    matchLabels: A[dict[str, str], F(1)] = {}
    matchExpressions: A[tuple[LabelSelectorRequirement, ...], F(2)] = ()


class FieldSelectorRequirement(Record):
    key: A[str, F(1, required=True)] = ""
    operator: A[str, F(2, required=True)] = ""
    values: A[tuple[str, ...], F(3)] = ()


class TableColumnDefinition(Record):
    name: A[str, F(0, required=True)] = ""
    type: A[str, F(0, required=True)] = ""
    format: A[str, F(0, required=True)] = ""
    description: A[str, F(0, required=True)] = ""
    priority: A[Int32, F(0, required=True)] = 0


class TableRowCondition(Record):
    type: A[str, F(0, required=True)] = ""
    status: A[str, F(0, required=True)] = ""
    reason: A[str, F(0)] = ""
    message: A[str, F(0)] = ""


class TableRow(Record):
    conditions: A[tuple[TableRowCondition, ...], F(0)] = ()
    object: A[Raw, F(0)] = None


class Table(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Table"
    metadata: A[ListMeta, F(0)] = ListMeta()
    columnDefinitions: A[tuple[TableColumnDefinition, ...], F(0, required=True)] = ()
    rows: A[tuple[TableRow, ...], F(0, required=True)] = ()


class PartialObjectMetadata(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "PartialObjectMetadata"


class PartialObjectMetadataList(Record):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "PartialObjectMetadataList"
    metadata: A[ListMeta, F(1)] = ListMeta()
    items: A[tuple[PartialObjectMetadata, ...], F(2, required=True)] = ()


class Condition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    observedGeneration: A[Int64, F(3)] = 0
    lastTransitionTime: A[Time, F(4, required=True)] = ""
    reason: A[str, F(5, required=True)] = ""
    message: A[str, F(6, required=True)] = ""
