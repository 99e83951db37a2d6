"""Rules for CustomResourceDefinitions: names, versions, and schemas that are structural."""

from __future__ import annotations

from netemu.api import extensions, names
from netemu.api.structural import faults
from netemu.api.validation.findings import Findings, invalid, named, required, unchanged


def definition(found: extensions.CustomResourceDefinition) -> Findings:
    spec = found.spec
    wanted = f"{spec.names.plural}.{spec.group}"
    if found.metadata.name != wanted:
        yield invalid("metadata.name", found.metadata.name, 'must be spec.names.plural+"."+spec.group')
    if "." not in spec.group:
        yield invalid("spec.group", spec.group, "should be a domain with at least one dot")
    yield from named("spec.group", spec.group, names.subdomain(spec.group))
    yield from named("spec.names.plural", spec.names.plural, names.label_1035(spec.names.plural))
    yield from named("spec.names.singular", spec.names.singular, names.label_1035(spec.names.singular))
    yield from named("spec.names.kind", spec.names.kind, names.label_1035(spec.names.kind.lower()))
    if spec.preserveUnknownFields:
        yield invalid("spec.preserveUnknownFields", True, "must be false")
    conversion = spec.conversion
    if conversion is not None and conversion.strategy == "Webhook":
        if conversion.webhook is None or conversion.webhook.clientConfig is None:
            yield required("spec.conversion.webhook.clientConfig", "required when strategy is set to Webhook")
        elif not conversion.webhook.conversionReviewVersions:
            yield required("spec.conversion.webhook.conversionReviewVersions")
    if sum(version.storage for version in spec.versions) != 1:
        shown = [version.name for version in spec.versions]
        yield invalid("spec.versions", shown, "must have exactly one version marked as storage version")
    seen: set[str] = set()
    for index, version in enumerate(spec.versions):
        here = f"spec.versions[{index}]"
        yield from named(f"{here}.name", version.name, names.label_1035(version.name))
        if version.name in seen:
            yield invalid(f"{here}.name", version.name, "must be unique")
        seen.add(version.name)
        yield from _schema(version, here)


def _schema(version: extensions.CustomResourceDefinitionVersion, here: str) -> Findings:
    if version.schema is None or version.schema.openAPIV3Schema is None:
        yield required(f"{here}.schema.openAPIV3Schema", "schemas are required")
    else:
        yield from faults.find(version.schema.openAPIV3Schema, f"{here}.schema.openAPIV3Schema")
    scale = version.subresources.scale if version.subresources else None
    if scale is not None:
        for name, start in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
            if not getattr(scale, name).startswith(start):
                detail = f"should be a json path under {start[:-1]}"
                yield invalid(f"{here}.subresources.scale.{name}", getattr(scale, name), detail)


def definition_update(
    new: extensions.CustomResourceDefinition, old: extensions.CustomResourceDefinition
) -> Findings:
    yield from definition(new)
    for name in ("group", "scope"):
        yield from unchanged(f"spec.{name}", getattr(new.spec, name), getattr(old.spec, name))
    yield from unchanged("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
    there = {version.name for version in new.spec.versions}
    for index, name in enumerate(old.status.storedVersions):
        if name not in there:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                "spec.versions until a storage migration ensures no data remains persisted in "
                f"{name} and removes {name} from status.storedVersions"
            )
            yield invalid(f"status.storedVersions[{index}]", name, detail)
