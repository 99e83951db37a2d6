"""A container's environment variables. Pure: what ConfigMaps and Secrets hold is handed in.

Rules are upstream's (makeEnvironmentVariables, third_party/forked/golang/expansion, envvars.FromServices).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from netemu.api import core
from netemu.base import errors
from netemu.kubelet import downward


class Source(NamedTuple):
    """A ConfigMap or Secret of the pod's namespace, by name."""

    kind: str
    name: str


class Missing(errors.NetemuError):
    """A ConfigMap, Secret or key that a container cannot do without: CreateContainerConfigError."""


Contents = Mapping[Source, Mapping[str, bytes] | None]  # None: there is no such object


def sources(container: core.Container) -> frozenset[Source]:
    """Everything a container's variables come from."""
    found = set()
    for each in container.envFrom:
        if each.configMapRef:
            found.add(Source("ConfigMap", each.configMapRef.name))
        if each.secretRef:
            found.add(Source("Secret", each.secretRef.name))
    for variable in container.env:
        origin = variable.valueFrom
        if origin and origin.configMapKeyRef:
            found.add(Source("ConfigMap", origin.configMapKeyRef.name))
        if origin and origin.secretKeyRef:
            found.add(Source("Secret", origin.secretKeyRef.name))
    return frozenset(found)


def content(thing: core.ConfigMap | core.Secret) -> Mapping[str, bytes]:
    """All keys of a ConfigMap or Secret, decoded."""
    if isinstance(thing, core.Secret):
        return {key: base64.b64decode(value) for key, value in thing.data.items()}
    plain = {key: value.encode() for key, value in thing.data.items()}
    return plain | {key: base64.b64decode(value) for key, value in thing.binaryData.items()}


def compose(
    me: downward.Self, container: core.Container, contents: Contents, services: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The variables of a container, later ones over earlier ones, Services' where nothing else has the name.

    Missing says which ConfigMap, Secret or key is not there.
    """
    namespace = me.pod.metadata.namespace
    found: dict[str, str] = {}
    for each in container.envFrom:
        found |= _all_of(each, contents)
    for variable in container.env:
        if variable.valueFrom is None:
            value: str | None = expand(variable.value, {**services, **found})
        else:
            value = _origin(me, container, variable.valueFrom, contents, namespace)
        if value is not None:
            found[variable.name] = value
    return tuple(({**services, **found}).items())


def _all_of(each: core.EnvFromSource, contents: Contents) -> dict[str, str]:
    for kind, reference in (("ConfigMap", each.configMapRef), ("Secret", each.secretRef)):
        if reference is None:
            continue
        table = contents.get(Source(kind, reference.name))
        if table is None:
            if reference.optional:
                continue
            raise Missing(f'{kind.lower()} "{reference.name}" not found')
        return {each.prefix + key: value.decode(errors="replace") for key, value in sorted(table.items())}
    return {}


def _origin(
    me: downward.Self,
    container: core.Container,
    origin: core.EnvVarSource,
    contents: Contents,
    namespace: str,
) -> str | None:
    if origin.fieldRef:
        return downward.field(me, origin.fieldRef.fieldPath)
    if origin.resourceFieldRef:
        return downward.resource(me, container, origin.resourceFieldRef)
    for kind, key in (("ConfigMap", origin.configMapKeyRef), ("Secret", origin.secretKeyRef)):
        if key is None:
            continue
        table = contents.get(Source(kind, key.name))
        if table is not None and key.key in table:
            return table[key.key].decode(errors="replace")
        if key.optional:
            return None
        if table is None:
            raise Missing(f'{kind.lower()} "{key.name}" not found')
        raise Missing(f"couldn't find key {key.key} in {kind} {namespace}/{key.name}")
    return None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """$(NAME) becomes the variable's value, or stays when there is none; $$(NAME) gives $(NAME)."""
    return _expand(text, lambda name: variables.get(name, f"$({name})"))


def _expand(text: str, value: Callable[[str], str]) -> str:
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        out.append(text[at:dollar])
        following = text[dollar + 1]
        close = text.find(")", dollar)
        if following == "$":
            out.append("$")
            at = dollar + 2
        elif following == "(" and close >= 0:
            out.append(value(text[dollar + 2 : close]))
            at = close + 1
        else:
            out.append("$" + following)
            at = dollar + 2
    out.append(text[at:])
    return "".join(out)


def service_variables(services: Iterable[core.Service], namespace: str, *, links: bool) -> dict[str, str]:
    """{SVC}_SERVICE_HOST and the Docker-link form of the namespace's Services; `kubernetes` in any case."""
    chosen: dict[str, core.Service] = {}
    for service in services:
        about = service.metadata
        master = about.namespace == "default" and about.name == "kubernetes"
        ours = links and about.namespace == namespace
        if service.spec.clusterIP in ("", "None") or not (master or ours):
            continue
        if ours or about.name not in chosen:
            chosen[about.name] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found |= _of_service(name, chosen[name])
    return found


def _of_service(name: str, service: core.Service) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    ip, ports = service.spec.clusterIP, service.spec.ports
    host = f"[{ip}]" if ":" in ip else ip
    found = {f"{prefix}_SERVICE_HOST": ip}
    if ports:
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0].port)
    for port in ports:
        if port.name:
            found[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    for index, port in enumerate(ports):
        protocol = (port.protocol or "TCP").lower()
        url = f"{protocol}://{host}:{port.port}"
        link = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        found |= {link: url, f"{link}_PROTO": protocol, f"{link}_PORT": str(port.port), f"{link}_ADDR": ip}
    return found
