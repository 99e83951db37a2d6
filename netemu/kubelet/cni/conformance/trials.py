"""One plugin on a stage: its configuration in any version, containers attached and detached by it.

Knows how a runtime behaves; what a plugin must do about it is in cases.
"""

from __future__ import annotations

import asyncio
import copy
import zlib
from typing import Any, NamedTuple

from netemu.kubelet.cni.conformance import stage, subjects
from netemu.wire import cni, conflists

NAME = "conformance"
_PATIENCE, _LOOK = 20.0, 0.05  # seconds
Document = dict[str, Any]


class Unmet(Exception):
    """The plugin does not do what the specification says; the text says what it did."""


class NotAttached(Unmet):
    """ADD answered with an error, where it should not; a case that needs a container has none."""


class Inapplicable(Exception):
    """This cannot be asked of this plugin; the text says why."""


class Attached(NamedTuple):
    """A container the plugin was asked to attach. `before`: what chained plugins were handed (else None)."""

    container_id: str
    netns: str
    heard: stage.Heard
    before: Document | None

    @property
    def result(self) -> Document:
        """The plugin's result. NotAttached when it answered with an error."""
        if self.heard.code or not isinstance(self.heard.document, dict):
            raise NotAttached(f"ADD failed: {said(self.heard)}")
        return self.heard.document


class Trial:
    """`versions` are those of the specification that the plugin says it supports, oldest first."""

    def __init__(self, where: stage.Stage, subject: subjects.Subject, base: str) -> None:
        self.stage = where
        self.subject = subject
        self.versions: tuple[str, ...] = ()
        self.useless = False  # ADD never works: what is asked of an attached container cannot be asked
        self._base = base  # the executable of what chained plugins come behind
        self._count = 0

    @property
    def version(self) -> str:
        """The newest version of the specification that both sides know."""
        return self.versions[-1] if self.versions else "1.0.0"

    def since(self, version: str) -> str:
        """The newest version, if it is at least that one. Inapplicable otherwise."""
        if not conflists.at_least(self.version, version):
            raise Inapplicable(f"since {version}; it speaks {self.version}")
        return self.version

    def config(
        self, version: str = "", *, previous: Document | None = None, changes: Document | None = None
    ) -> Document:
        """What the plugin reads on standard input."""
        document = {"cniVersion": version or self.version, "name": NAME, **copy.deepcopy(self.subject.plugin)}
        if document.pop("capabilities", None):
            document["runtimeConfig"] = dict(self.subject.offers)
        if previous is not None:
            document["prevResult"] = previous
        return document | (changes or {})

    def parameters(self, about: Attached) -> dict[str, str]:
        """A container as the environment names it."""
        return named(about.container_id, about.netns, self.subject.ifname)

    async def attach(
        self, version: str = "", *, netns: str = "", container_id: str = "", changes: Document | None = None
    ) -> Attached:
        """ADD, behind an ADD of the base plugin for a chained one. `changes` to its configuration."""
        version = version or self.version
        if not netns:
            self.stage.spare()
            netns = self.stage.container()
        self._count += 1
        container_id = container_id or f"{NAME}-{self._count}"
        parameters = named(container_id, netns, self.subject.ifname)
        before = None
        if self.subject.part == subjects.CHAINED:
            heard = await self.stage.call_another(self._base, "ADD", base(version), **parameters)
            if heard.code:
                raise Inapplicable(f"the plugin before it failed: {said(heard)}")
            before = heard.document
        own = self._own(container_id) | (changes or {})
        heard = await self.stage.call("ADD", self.config(version, previous=before, changes=own), **parameters)
        return Attached(container_id, netns, heard, before)

    async def detach(
        self, about: Attached, *, netns: str | None = "", changes: Document | None = None
    ) -> stage.Heard:
        """DEL with the result, then DEL of the base plugin. `netns` None: without a namespace."""
        config = self.again(about, changes=changes)
        version = config["cniVersion"]
        parameters: dict[str, str | None] = dict(self.parameters(about))
        if netns is None or netns:
            parameters["NETNS"] = netns
        heard = await self.stage.call("DEL", config, **parameters)
        if about.before is not None:
            config = base(version) | {"prevResult": about.before}
            await self.stage.call_another(self._base, "DEL", config, **parameters)
        return heard

    def again(self, about: Attached, *, changes: Document | None = None) -> Document:
        """The configuration of a CHECK or DEL of what was attached."""
        document = about.heard.document if not about.heard.code else about.before
        version = (document or {}).get("cniVersion") or self.version
        given = document if conflists.at_least(version, "0.4.0") else None
        return self.config(version, previous=given, changes=self._own(about.container_id) | (changes or {}))

    def _own(self, container_id: str) -> Document:
        """What no two containers can have: a port of the host."""
        if "portMappings" not in self.subject.offers:
            return {}
        port = 10000 + zlib.crc32(container_id.encode()) % 20000
        mapping = {"hostPort": port, "containerPort": 80, "protocol": "tcp"}
        return {"runtimeConfig": {"portMappings": [mapping]}}


def named(container_id: str, netns: str, ifname: str) -> dict[str, str]:
    return {"CONTAINERID": container_id, "NETNS": netns, "IFNAME": ifname, "ARGS": "IgnoreUnknown=1"}


def base(version: str) -> Document:
    """The configuration of the plugin that chained ones come behind."""
    return {"cniVersion": version, "name": NAME, **copy.deepcopy(subjects.BASE)}


def said(heard: stage.Heard) -> str:
    """What a call answered, in a line."""
    if isinstance(heard.document, dict) and "code" in heard.document:
        failure = cni.failure(heard.document)
        return f"code {failure.code}, {failure}"
    text = (heard.stdout or heard.stderr)[-160:].decode(errors="replace").strip().replace("\n", " ")
    return f"exit code {heard.code}" + (f", {text}" if text else ", nothing printed")


def refused(heard: stage.Heard, *codes: int) -> None:
    """It must have answered with an error object (of one of those codes). Unmet."""
    if heard.code == 0:
        raise Unmet(f"accepted: {said(heard)}")
    if heard.error is None:
        raise Unmet(f"no error object on standard output: {said(heard)}")
    if codes and heard.error not in codes:
        raise Unmet(f"not code {' or '.join(map(str, codes))}: {said(heard)}")


def accepted(heard: stage.Heard, *, silent: bool = True) -> None:
    """It must have exited with 0, and (`silent`) printed nothing. Unmet."""
    if heard.code:
        raise Unmet(said(heard))
    if silent and heard.stdout.strip():
        raise Unmet(f"printed {heard.stdout[:80].decode(errors='replace')!r}")


# -- what cases have in common


def read(document: dict[str, Any]) -> Any:
    """A cni.Result. Unmet when the document is none."""
    try:
        return cni.result(document)
    except cni.Failure as failure:
        raise Unmet(f"not a result: {failure}") from None


def traces(on: Trial) -> tuple[frozenset[str], frozenset[str]]:
    """What a plugin may leave on the machine: links and addresses given away."""
    return on.stage.links(), on.stage.leases()


def same(before: tuple[frozenset[str], ...], after: tuple[frozenset[str], ...]) -> None:
    """Nothing may be there afterwards that was not before. Unmet."""
    for old, new in zip(before, after, strict=True):
        if more := sorted(new - old):
            raise Unmet(f"left behind: {', '.join(more)}")


async def until_same(on: Trial, before: tuple[frozenset[str], ...]) -> None:
    """The kernel takes links of a dropped namespace away in its own time, one namespace after another."""
    for _ in range(round(_PATIENCE / _LOOK)):
        try:
            same(before, traces(on))
        except Unmet:
            await asyncio.sleep(_LOOK)
        else:
            return
    same(before, traces(on))


def not_ipam(on: Trial) -> None:
    """Inapplicable for a plugin that only gives addresses."""
    if on.subject.part == subjects.IPAM:
        raise Inapplicable("IPAM plugins do not enter namespaces")


def makes_interface(on: Trial) -> None:
    """Inapplicable for a plugin that makes no interface of its own."""
    if on.subject.part != subjects.INTERFACE or on.subject.kind == "loopback":
        raise Inapplicable("it makes no interface")
