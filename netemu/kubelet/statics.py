"""Static pods: those of a directory of the node, which run whatever the API says, and their mirrors there.

A file's pod has a uid of its own, made from what the file says: a changed file is another pod. Upstream's
pkg/kubelet/config (file.go, common.go) and pkg/kubelet/pod (mirror_client.go).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping

import msgspec

from netemu.api import codec, core, defaults, kinds, meta, schema, wellknown
from netemu.base import clock, errors
from netemu.client import api
from netemu.client import errors as api_errors

_HASH, _SEEN, _SOURCE = (f"kubernetes.io/config.{name}" for name in ("hash", "seen", "source"))
SUFFIXES = (".yaml", ".yml", ".json")
_LOOK_AGAIN = 1.0  # seconds
_EVERYTHING = core.Toleration(operator="Exists", effect="NoExecute")
_log = logging.getLogger("kubelet")


def parse(text: bytes, file: str, node: str, seen: float) -> core.Pod:
    """The pod of one file. Rejected says what is wrong with it."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as problem:
        raise errors.Rejected(f"{file}: not YAML: {str(problem).splitlines()[0]}") from None
    if not isinstance(document, dict) or document.get("kind") != "Pod":
        raise errors.Rejected(f"{file}: not a Pod")
    kind = kinds.of(core.Pod)
    for wrong in schema.problems(kind, document):
        raise errors.Rejected(f"{file}: {wrong.path}: {wrong.message}")
    pod = codec.convert(core.Pod, defaults.apply(kind, document))
    if not pod.metadata.name or not pod.spec.containers:
        raise errors.Rejected(f"{file}: a Pod needs metadata.name and spec.containers")
    uid = hashlib.md5(f"host:{node}file:{file}".encode() + text, usedforsecurity=False).hexdigest()
    notes = {_HASH: uid, _SEEN: clock.rfc3339_micro(seen), _SOURCE: "file"}
    about = msgspec.structs.replace(
        pod.metadata,
        name=f"{pod.metadata.name}-{node}",
        namespace=pod.metadata.namespace or "default",
        uid=uid,
        annotations={**pod.metadata.annotations, **notes},
    )
    spec = msgspec.structs.replace(pod.spec, nodeName=node, tolerations=(*pod.spec.tolerations, _EVERYTHING))
    return msgspec.structs.replace(pod, metadata=about, spec=spec, status=core.PodStatus(phase="Pending"))


def mirror(pod: core.Pod, node: core.Node) -> core.Pod:
    """What stands for a static pod in the API."""
    owner = meta.OwnerReference(
        apiVersion="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )
    about = msgspec.structs.replace(
        pod.metadata,
        uid="",
        annotations={**pod.metadata.annotations, wellknown.MIRROR_POD: pod.metadata.uid},
        ownerReferences=(owner,),
    )
    return msgspec.structs.replace(pod, metadata=about, status=core.PodStatus())


def of_mirror(pod: core.Pod) -> str:
    """The uid of the static pod that a pod of the API mirrors; "" for an ordinary pod."""
    return pod.metadata.annotations.get(wellknown.MIRROR_POD, "")


class Statics:
    """Follows a directory. `changed` hears all static pods by uid whenever they are others."""

    def __init__(
        self,
        client: api.Client,
        clock: clock.Clock,
        directory: str,
        node: Callable[[], core.Node],
        known: Callable[[], Iterable[core.Pod]],
    ) -> None:
        self._client = client
        self._clock = clock
        self._directory = directory
        self._node = node
        self._known = known
        self._texts: dict[str, bytes] = {}
        self._complaint = ""
        self.pods: Mapping[str, core.Pod] = {}

    def look(self) -> bool:
        """Read the directory; whether the static pods are others than before."""
        texts = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(self._directory)):
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    with contextlib.suppress(OSError), open(f"{self._directory}/{name}", "rb") as file:
                        texts[name] = file.read()
        if texts == self._texts:
            return False
        self._texts = texts
        found = {}
        for name, text in texts.items():
            try:
                pod = parse(text, name, self._node().metadata.name, self._clock.now())
            except errors.Rejected as problem:
                _log.warning("static pod left out: %s", problem)
                continue
            found[pod.metadata.uid] = self.pods.get(pod.metadata.uid, pod)
        self.pods = found
        return True

    async def run(self, changed: Callable[[Mapping[str, core.Pod]], None]) -> None:
        """For ever: the directory, then the mirrors."""
        while True:
            if self.look():
                changed(self.pods)
            try:
                await self._mirror()
                self._complaint = ""
            except errors.NetemuError as problem:
                if str(problem) != self._complaint:
                    _log.warning("mirror pods are not as they should be: %s", problem)
                self._complaint = str(problem)
            await self._clock.sleep(_LOOK_AGAIN)

    async def _mirror(self) -> None:
        """One mirror for each static pod. One that somebody deletes goes at once, and comes again."""
        wanted = dict(self.pods)
        for known in self._known():
            uid, about = of_mirror(known), known.metadata
            if not uid:
                continue
            if uid in wanted and about.deletionTimestamp is None:
                del wanted[uid]
                continue
            with contextlib.suppress(api_errors.NotFound, api_errors.Conflict):
                await self._client.delete(core.Pod, about.name, about.namespace, grace=0, uid=about.uid)
        for pod in wanted.values():
            if self._node().metadata.uid:
                with contextlib.suppress(api_errors.AlreadyExists):
                    await self._client.create(mirror(pod, self._node()))
