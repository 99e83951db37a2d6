"""CustomResourceDefinitions. The schema inside is any JSON here; `structural` knows what it means."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.fields import Bytes, Enum, F, Int32, Int64, Raw, Record, Time
from netemu.api.meta import Object

ResourceScope = A[str, Enum("Cluster", "Namespaced")]
ConversionStrategy = A[str, Enum("None", "Webhook")]
ColumnType = A[str, Enum("integer", "number", "string", "boolean", "date")]


class ServiceReference(Record):
    namespace: A[str, F(1, required=True)] = ""
    name: A[str, F(2, required=True)] = ""
    path: A[str | None, F(3)] = None
    port: A[Int32 | None, F(4)] = None


class WebhookClientConfig(Record):
    url: A[str | None, F(3)] = None
    service: A[ServiceReference | None, F(1)] = None
    caBundle: A[Bytes, F(2)] = ""


class WebhookConversion(Record):
    clientConfig: A[WebhookClientConfig | None, F(2)] = None
    conversionReviewVersions: A[tuple[str, ...], F(3, required=True)] = ()


class CustomResourceConversion(Record):
    strategy: A[ConversionStrategy, F(1, required=True)] = ""
    webhook: A[WebhookConversion | None, F(2)] = None


class CustomResourceDefinitionNames(Record):
    plural: A[str, F(1, required=True)] = ""
    singular: A[str, F(2)] = ""
    shortNames: A[tuple[str, ...], F(3)] = ()
    kind: A[str, F(4, required=True)] = ""
    listKind: A[str, F(5)] = ""
    categories: A[tuple[str, ...], F(6)] = ()


class CustomResourceValidation(Record):
    openAPIV3Schema: A[Raw | None, F(1)] = None


class CustomResourceSubresourceScale(Record):
    specReplicasPath: A[str, F(1, required=True)] = ""
    statusReplicasPath: A[str, F(2, required=True)] = ""
    labelSelectorPath: A[str | None, F(3)] = None


class CustomResourceSubresourceStatus(Record):
    """Nothing: being there is what counts."""


class CustomResourceSubresources(Record):
    status: A[CustomResourceSubresourceStatus | None, F(1)] = None
    scale: A[CustomResourceSubresourceScale | None, F(2)] = None


class CustomResourceColumnDefinition(Record):
    name: A[str, F(1, required=True)] = ""
    type: A[ColumnType, F(2, required=True)] = ""
    format: A[str, F(3)] = ""
    description: A[str, F(4)] = ""
    priority: A[Int32, F(5)] = 0
    jsonPath: A[str, F(6, required=True)] = ""


class SelectableField(Record):
    jsonPath: A[str, F(1, required=True)] = ""


class CustomResourceDefinitionVersion(Record):
    name: A[str, F(1, required=True)] = ""
    served: A[bool, F(2, required=True)] = False
    storage: A[bool, F(3, required=True)] = False
    deprecated: A[bool, F(7)] = False
    deprecationWarning: A[str | None, F(8)] = None
    schema: A[CustomResourceValidation | None, F(4)] = None
    subresources: A[CustomResourceSubresources | None, F(5)] = None
    additionalPrinterColumns: A[tuple[CustomResourceColumnDefinition, ...], F(6)] = ()
    selectableFields: A[tuple[SelectableField, ...], F(9)] = ()


class CustomResourceDefinitionSpec(Record):
    group: A[str, F(1, required=True)] = ""
    names: A[CustomResourceDefinitionNames, F(3, required=True)] = CustomResourceDefinitionNames()
    scope: A[ResourceScope, F(4, required=True)] = ""
    versions: A[tuple[CustomResourceDefinitionVersion, ...], F(7, required=True)] = ()
    conversion: A[CustomResourceConversion | None, F(9)] = None
    preserveUnknownFields: A[bool, F(10)] = False


class CustomResourceDefinitionCondition(Record):
    type: A[str, F(1, required=True)] = ""
    status: A[str, F(2, required=True)] = ""
    lastTransitionTime: A[Time, F(3)] = ""
    reason: A[str, F(4)] = ""
    message: A[str, F(5)] = ""
    observedGeneration: A[Int64, F(6)] = 0


class CustomResourceDefinitionStatus(Record):
    conditions: A[tuple[CustomResourceDefinitionCondition, ...], F(1, keys=("type",))] = ()
    acceptedNames: A[CustomResourceDefinitionNames, F(2, omitzero=True)] = CustomResourceDefinitionNames()
    storedVersions: A[tuple[str, ...], F(3)] = ()
    observedGeneration: A[Int64, F(4)] = 0


class CustomResourceDefinition(Object):
    apiVersion: ClassVar[str] = "apiextensions.k8s.io/v1"
    kind: ClassVar[str] = "CustomResourceDefinition"
    spec: A[CustomResourceDefinitionSpec, F(2, required=True)] = CustomResourceDefinitionSpec()
    status: A[CustomResourceDefinitionStatus, F(3)] = CustomResourceDefinitionStatus()
